"""The hub tier: every family, tiny and untrained, saved as the hub saves it, loaded offline through XMR_HUB_DIR."""

from __future__ import annotations

import json
import re
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from hub_models import FAMILIES, TEXTS, build, pictures, sounds
from numpy.testing import assert_allclose
from PIL import Image
from safetensors.torch import load_file, save_file

from xmr_lab.data.audio import Audio
from xmr_lab.encoders import Encoder, load_encoder
from xmr_lab.encoders.unpooled import patches, tokens

CASES = [(family, modality) for family, modalities in FAMILIES.items() for modality in modalities]
ITEMS = {"image": pictures(4), "text": TEXTS, "audio": sounds(4)}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    for family in FAMILIES:
        build(family, root / "tiny" / family / "v1")
    return root


@pytest.fixture(autouse=True)
def offline(mirror, monkeypatch):
    monkeypatch.setenv("XMR_HUB_DIR", str(mirror))


@pytest.mark.parametrize(("family", "modality"), CASES)
def test_every_family_encodes_whatever_the_batch_and_order(family, modality):
    encoder = load_encoder(f"hub:tiny/{family}@v1", modality=modality)
    items = ITEMS[modality]
    vectors = encoder.encode(items, progress=False)
    assert isinstance(encoder, Encoder) and encoder.modality == modality
    assert vectors.shape == (len(items), encoder.dim) and np.isfinite(vectors).all()
    assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-5  # it looks at the item
    assert_allclose(encoder.encode(items[::-1], batch_size=1, progress=False)[::-1], vectors, atol=2e-6)
    again = load_encoder(f"hub:tiny/{family}@v1", modality=modality)
    assert again.fingerprint == encoder.fingerprint
    assert_allclose(again.encode(items, batch_size=3, progress=False), vectors, atol=2e-6)


def plain(family: str, modality: str, folder: Path, item):
    """One item's vector by transformers alone, the few lines of a model card."""
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    if modality == "image":
        square = Image.new("RGB", (max(item.size),) * 2, "white")
        square.paste(item, ((square.width - item.width) // 2, (square.height - item.height) // 2))
        inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(square, return_tensors="pt")
    elif modality == "audio":
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        samples = item.resample(extractor.sampling_rate).samples
        inputs = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        length = model.config.get_text_config().max_position_embeddings
        padding = {"padding": "max_length", "padding_side": "right"} if family.startswith("siglip") else {}
        inputs = tokenizer(item, return_tensors="pt", truncation=True, max_length=length, **padding)
        if padding:
            inputs.pop("attention_mask")
    with torch.inference_mode():
        if family == "whisper":
            hidden = model.encoder(inputs["input_features"]).last_hidden_state[0]
            return hidden[: -(-len(samples) // 320)].mean(0)  # 20 ms each
        if hasattr(model, f"get_{modality}_features"):
            return getattr(model, f"get_{modality}_features")(**inputs).pooler_output[0]
        output = model(**inputs)
    if family == "resnet":
        return output.pooler_output.flatten()
    return output.last_hidden_state[0, 0] if family == "vit" else output.last_hidden_state[0].mean(0)


@pytest.mark.parametrize(("family", "modality"), [case for case in CASES if case[0] != "vgg"])
def test_the_same_as_transformers_alone(family, modality, mirror):
    vectors = load_encoder(f"hub:tiny/{family}@v1", modality=modality).encode(
        ITEMS[modality][:3], normalize=False, progress=False
    )
    for item, vector in zip(ITEMS[modality], vectors, strict=False):
        want = plain(family, modality, mirror / "tiny" / family / "v1", item).numpy()
        assert_allclose(vector / np.linalg.norm(vector), want / np.linalg.norm(want), atol=2e-6)


def test_vgg_is_the_same_as_its_layers_one_by_one(mirror):
    encoder = load_encoder("hub:tiny/vgg@v1", modality="image")
    weights = load_file(mirror / "tiny" / "vgg" / "v1" / "model.safetensors")
    square = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    x = torch.tensor(np.array(square) / 255).permute(2, 0, 1)[None]
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    for n in (0, 2, 5):
        x = torch.nn.functional.conv2d(
            x.float(), weights[f"features.{n}.weight"], weights[f"features.{n}.bias"], padding=1
        )
        x = x.relu() if n == 0 else torch.nn.functional.max_pool2d(x.relu(), 2)
    assert_allclose(encoder.encode([square], normalize=False)[0], x.mean((0, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2", "clap"])
def test_two_towers_share_a_space(family):
    one, two = (load_encoder(f"hub:tiny/{family}@v1", modality=modality) for modality in FAMILIES[family])
    assert one.dim == two.dim and one.fingerprint != two.fingerprint


def test_whisper_looks_at_frames_that_hold_sound_only():
    encoder = load_encoder("hub:tiny/whisper@v1", modality="audio")
    rate, window = 16_000, encoder.window
    sound = sounds(1)[0]
    frames = encoder.frames([sound], progress=False)[0]
    assert len(frames) == -(-len(sound.samples) // 320)  # 20 ms each
    assert_allclose(encoder.encode([sound], normalize=False, progress=False)[0], frames.mean(0), atol=1e-5)
    long = Audio(np.tile(sound.samples, 40)[: 2 * window], rate)
    assert len(encoder.frames([long], progress=False)[0]) == 2 * window // 320


def test_a_long_sound_is_not_cropped_at_random_by_clap():
    encoder = load_encoder("hub:tiny/clap@v1", modality="audio")
    long = [Audio(np.random.default_rng(0).normal(0, 0.1, 40_000).astype("float32"), 16_000)]
    assert encoder.window < 3 * 40_000
    assert_allclose(encoder.encode(long, progress=False), encoder.encode(long, progress=False), atol=0)


def test_bert_leaves_padding_out_of_its_mean():
    encoder = load_encoder("hub:tiny/bert@v1", modality="text")
    by_hand = [own.mean(0) for own in tokens(encoder, TEXTS, progress=False)]
    assert_allclose(encoder.encode(TEXTS, normalize=False, progress=False), by_hand, atol=1e-5)


@pytest.mark.parametrize("family", ["resnet", "vit", "vgg"])
def test_places_of_a_picture(family):
    encoder = load_encoder(f"hub:tiny/{family}@v1", modality="image")
    places = patches(encoder, pictures(2), progress=False)
    assert places.shape[0] == 2 and places.shape[2] == encoder.dim
    if family != "vit":
        vectors = encoder.encode(pictures(2), normalize=False, progress=False)
        assert_allclose(places.mean(1), vectors, atol=1e-5)


@pytest.mark.parametrize(("family", "wrong"), [("resnet", "text"), ("bert", "audio"), ("clap", "image")])
def test_the_wrong_modality(family, wrong):
    with pytest.raises(ValueError, match=f"{family} model, which encodes"):
        load_encoder(f"hub:tiny/{family}@v1", modality=wrong)


def test_no_such_model_and_paths_that_lead_out(mirror, tmp_path):
    commit = "0" * 40
    with pytest.raises(
        FileNotFoundError, match=rf"no folder tiny/none/{commit} in XMR_HUB_DIR \(.*--revision {commit}"
    ):
        load_encoder(f"hub:tiny/none@{commit}", modality="text")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_encoder("hub:tiny/bert", modality="text")  # a name without a revision: the folder itself
    for name in ("hub:../tiny@v1", "hub:tiny/..@v1", "hub:tiny/bert@../../x", "hub:tiny/bert@/etc", "hub:a@b", "hub:x"):
        with pytest.raises(ValueError, match="cannot read"):
            load_encoder(name, modality="text")
    (tmp_path / "config.json").write_text("{}")
    (mirror / "tiny" / "linked").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of XMR_HUB_DIR"):
        load_encoder("hub:tiny/linked", modality="text")


@pytest.fixture
def bert(mirror, tmp_path, monkeypatch) -> Path:
    """A copy to be damaged, ``hub:own/bert``."""
    monkeypatch.setenv("XMR_HUB_DIR", str(tmp_path))
    return Path(shutil.copytree(mirror / "tiny" / "bert" / "v1", tmp_path / "own" / "bert"))


def load_bert():
    return load_encoder("hub:own/bert", modality="text").encode(TEXTS, progress=False)


def change(folder: Path, name: str = "config.json", **settings) -> None:
    path = folder / name
    held = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(held | settings))


def rewrite(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_weights_that_are_cut_short_or_of_another_kind(bert):
    weights = bert / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:-7], whole[:100], b"", b"\xff" * 50):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
            load_bert()
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"none is there.*Take a revision"):
        load_bert()
    for name in ("pytorch_model.bin", "model.pkl"):
        (bert / name).write_bytes(b"pickle")
    with pytest.raises(FileNotFoundError, match=r"model\.pkl, pytorch_model\.bin, .* is refused"):
        load_bert()


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"a": "model-1.safetensors"}, FileNotFoundError, r"lacks model-1\.safetensors"),
        ({"a": "../../elsewhere.safetensors"}, ValueError, "outside of its folder"),
        ({"a": "/etc/hostname"}, ValueError, "outside of its folder"),
        ({"a": ["model.safetensors"]}, ValueError, "expected file names"),
        ({"a": 3}, ValueError, "expected file names"),
        ("model.safetensors", ValueError, "expected file names"),
    ],
)
def test_an_index_of_parts(bert, parts, error, message):
    (bert / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(error, match=message):
        load_bert()


def test_weights_in_parts_are_read(bert):
    want = load_bert()
    weights = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    names = {key: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, key in enumerate(weights)}
    for part in set(names.values()):
        save_file({key: weights[key] for key in weights if names[key] == part}, bert / part, {"format": "pt"})
    (bert / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert_allclose(load_bert(), want)


@pytest.mark.parametrize("content", ["", "{", "[]", '"bert"', "\x00\x01"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_settings_that_are_damaged(bert, name, content):
    (bert / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name} is damaged|Tokenizer, or they are damaged"):
        load_bert()


def test_files_that_are_missing(bert):
    (bert / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="no vocabulary"):
        load_bert()  # transformers alone would take every word as unknown
    (bert / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"should have a config\.json"):
        load_bert()


def test_a_picture_model_without_its_preprocessor(mirror, tmp_path, monkeypatch):
    shutil.copytree(mirror / "tiny" / "resnet" / "v1", tmp_path / "own" / "resnet")
    (tmp_path / "own" / "resnet" / "preprocessor_config.json").unlink()
    monkeypatch.setenv("XMR_HUB_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="lacks the files of its ImageProcessor"):
        load_encoder("hub:own/resnet", modality="image")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_hidden_layers": 3}, "lack 16 weights"),  # they are not drawn at random
        ({"hidden_size": 32}, "cannot load"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"num_attention_heads": 0}, "cannot load"),
        ({"model_type": "nonsense"}, "cannot load"),
        ({"model_type": None}, "no model_type"),
    ],
)
def test_settings_that_do_not_fit_the_weights(bert, settings, message):
    change(bert, **settings)
    with pytest.raises(ValueError, match=message):
        load_bert()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize("known", [True, False])
def test_code_in_a_folder_is_never_run(bert, name, known):
    change(bert, name, auto_map={"AutoConfig": "mine.C", "AutoModel": "mine.M", "AutoTokenizer": ["mine.T", None]})
    if not known:
        change(bert, model_type="mine")
    (bert / "mine.py").write_text(f"open({str(bert / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match=rf"{name} asks for code .* never run; take"):
        load_bert()
    assert not (bert / "ran").exists()


def test_half_precision_is_read_as_float32(bert):
    weights = {key: value.half() for key, value in load_file(bert / "model.safetensors").items()}
    rewrite(bert, {key: value.float() for key, value in weights.items()})
    want = load_bert()
    rewrite(bert, weights)
    change(bert, dtype="float16")
    encoder = load_encoder("hub:own/bert", modality="text")
    assert {p.dtype for p in encoder.network.parameters()} == {torch.float32}
    assert_allclose(encoder.encode(TEXTS, progress=False), want, atol=1e-6)


def test_names_of_weights_as_they_were_uploaded_long_ago(bert, mirror, tmp_path):
    """BERT's and wav2vec 2.0's first files: a head's prefix, gamma and beta, no vector for masked frames."""
    want = load_bert()
    old = {}
    for key, value in load_file(bert / "model.safetensors").items():
        if not key.startswith("pooler."):
            key = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            old[f"bert.{key}"] = value
    rewrite(bert, {**old, "cls.predictions.bias": torch.zeros(14)})
    change(bert, architectures=["BertForMaskedLM"])
    assert_allclose(load_bert(), want, atol=1e-6)

    speech = Path(shutil.copytree(mirror / "tiny" / "wav2vec2" / "v1", tmp_path / "own" / "speech"))
    want = load_encoder("hub:own/speech", modality="audio").encode(sounds(2), progress=False)
    old = {f"wav2vec2.{key}": value for key, value in load_file(speech / "model.safetensors").items()}
    old.pop("wav2vec2.masked_spec_embed")
    rewrite(speech, {**old, "lm_head.weight": torch.zeros(3, 16)})
    change(speech, architectures=["Wav2Vec2ForCTC"])
    assert_allclose(load_encoder("hub:own/speech", modality="audio").encode(sounds(2), progress=False), want, atol=1e-6)


@pytest.mark.parametrize("family", ["siglip", "siglip2"])
def test_siglip_reads_small_letters_and_always_as_many_tokens(family):
    encoder = load_encoder(f"hub:tiny/{family}@v1", modality="text")
    assert_allclose(encoder.encode(["A Red LION"], progress=False), encoder.encode(["a red lion"], progress=False))
    assert encoder.width == encoder.max_tokens == {"siglip": 24, "siglip2": 64}[family]  # positions of the tiny models


def test_siglip_2_of_one_size_reads_small_letters(mirror, tmp_path, monkeypatch):
    """Its config.json says siglip, and its tokenizer is Gemma's, which tells capitals apart."""
    from transformers import AutoTokenizer, GemmaTokenizer

    folder = shutil.copytree(mirror / "tiny" / "siglip" / "v1", tmp_path / "own" / "siglip2")
    letters = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"lionLION"]
    GemmaTokenizer(vocab={token: i for i, token in enumerate(letters)}, merges=[]).save_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)(["lion", "LION"]).input_ids
    assert ids[0] != ids[1]
    monkeypatch.setenv("XMR_HUB_DIR", str(tmp_path))
    encoder = load_encoder("hub:own/siglip2", modality="text")
    assert encoder.tokenize(["LION"]) == encoder.tokenize(["lion"]) == [ids[0]]


def test_texts_longer_than_the_positions_are_cut_with_a_warning():
    for family, longest in (("bert", 32), ("gpt2", 32), ("clip", 32), ("clap", 32), ("siglip2", 64)):
        encoder = load_encoder(f"hub:tiny/{family}@v1", modality="text")
        with pytest.warns(UserWarning, match=f"longer than {longest} tokens"):
            assert np.isfinite(encoder.encode(["lion " * 100], progress=False)).all()


def test_a_download_needs_a_commit(monkeypatch):
    monkeypatch.delenv("XMR_HUB_DIR")
    for loose in ("main", "v1.0", "3d74acf", "refs/pr/3", "0" * 39, "0" * 41, "A" * 40):
        with pytest.raises(ValueError, match=r"not pinned.*40 hexadecimal"):
            load_encoder(f"hub:owner/name@{loose}", modality="text")
    with pytest.raises(ValueError, match=r"owner/name@revision.*model_info"):
        load_encoder("hub:owner/name", modality="text")


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download by commit needs: one repository, ``owner/name``, and what was asked for."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.asked.append(path)
        if path == f"/api/models/owner/name/tree/{COMMIT}":
            files = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in self.files()]
            self.answer(json.dumps(files).encode(), {"Content-Type": "application/json"})
        elif (name := path.removeprefix(f"/owner/name/resolve/{COMMIT}/")) in {f.name for f in self.files()}:
            self.answer((self.folder / name).read_bytes(), {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT})
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound")
            self.end_headers()

    do_HEAD = do_GET

    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def answer(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


COMMIT = "0123456789abcdef" * 2 + "01234567"


def test_a_download_is_pinned_kept_and_brings_no_code(mirror, bert, tmp_path, monkeypatch):
    import huggingface_hub.constants as client

    want = load_bert()
    (bert / "pytorch_model.bin").write_bytes(b"pickle")
    (bert / "modeling.py").write_text("1 / 0")
    Hub.folder, Hub.asked = bert, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        template = client.HUGGINGFACE_CO_URL_TEMPLATE.replace(client.ENDPOINT, address)
        monkeypatch.delenv("XMR_HUB_DIR")
        monkeypatch.setattr(client, "ENDPOINT", address)
        monkeypatch.setattr(client, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(client, "HF_HUB_CACHE", str(tmp_path / "cache"))
        encoder = load_encoder(f"hub:owner/name@{COMMIT}", modality="text")
        assert_allclose(encoder.encode(TEXTS, progress=False), want)
        assert encoder.folder.name == COMMIT
        assert not {"pytorch_model.bin", "modeling.py"} & {path.rpartition("/")[2] for path in Hub.asked}
        with pytest.raises(ConnectionError, match="cannot download owner/name at revision f"):
            load_encoder(f"hub:owner/name@{'f' * 40}", modality="text")
        server.shutdown()
    monkeypatch.setattr(client, "HF_HUB_OFFLINE", True)
    assert_allclose(load_encoder(f"hub:owner/name@{COMMIT}", modality="text").encode(TEXTS, progress=False), want)
    with pytest.raises(ConnectionError, match=r"needs a network .* XMR_HUB_DIR"):
        load_encoder(f"hub:owner/other@{COMMIT}", modality="text")


def test_vgg_16s_layout_is_read_from_its_weights():
    from xmr_lab.encoders.hub_vgg import VggNetwork

    numbers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]  # VGG-16's convolutions
    n_in, weights = 3, {}
    for n in numbers:
        weights |= {f"features.{n}.weight": torch.zeros(4, n_in, 3, 3), f"features.{n}.bias": torch.zeros(4)}
        n_in = 4
    network = VggNetwork(weights)
    assert len(network.features) == 31 and network(torch.zeros(1, 3, 64, 64)).shape == (1, 4, 2, 2)
    with pytest.raises(ValueError, match=r"(?s)no whole VGG network.*features\.28\.bias"):
        VggNetwork({key: value for key, value in weights.items() if key != "features.28.bias"})
    with pytest.raises(ValueError, match="batch normalisation"):
        VggNetwork({"features.0.weight": torch.zeros(4, 3, 3, 3), "features.1.weight": torch.zeros(4)})


def test_notebooks_name_models_by_commit():
    named = {
        name
        for notebook in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb")
        for name in re.findall(r"hub:[\w.-]+/[\w.-]+@[\w./-]+", notebook.read_text("utf-8"))
    } - {"hub:owner/name@commit"}
    assert named and not {name for name in named if not re.fullmatch(r".*@[0-9a-f]{40}", name)}
