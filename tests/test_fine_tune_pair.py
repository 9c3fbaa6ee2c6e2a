"""Fine-tuning of hub encoders, on tiny untrained models: what is trained, micro-batches, kills, damage."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_models import FAMILIES, build, pictures, sounds
from numpy.testing import assert_allclose, assert_array_equal
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from xmr_lab.encoders import MiniLM, load_encoder
from xmr_lab.matching.losses import info_nce
from xmr_lab.transfer import FineTuneSettings, TunedEncoder, TunedPair, fine_tune_pair, load_tuned_pair
from xmr_lab.transfer.checkpoints import read_checkpoint
from xmr_lab.transfer.fine_tune_modes import set_mode
from xmr_lab.transfer.fine_tune_pair import backward

CASES = [(family, modality) for family, modalities in FAMILIES.items() for modality in modalities]
N = 7
TEXTS = ["a lion", "a red sun", "the rain", "two dogs", "a drum in the rain", "dogs in the sun", "the red drum"]
ITEMS = {"image": pictures(N), "text": TEXTS, "audio": sounds(N)}
SMALL = FineTuneSettings(dim=8, steps=3, batch_size=5, micro_batch=5, rank=2, blocks=1, learning_rate=1e-2)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    for family in FAMILIES:
        build(family, root / "tiny" / family)
    return root


@pytest.fixture(autouse=True)
def offline(mirror, monkeypatch):
    monkeypatch.setenv("XMR_HUB_DIR", str(mirror))


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(family: str, modality: str):
    return load_encoder(f"hub:tiny/{family}", modality=modality)


def state_of(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("mode", ["frozen", "last", "lora", "full"])
@pytest.mark.parametrize(("family", "modality"), CASES)
def test_a_mode_trains_its_part_and_nothing_else(family, modality, mode):
    encoder, partner = load(family, modality), load("bert", "text")
    settings = replace(SMALL, mode=mode)
    if mode == "lora" and family in ("resnet", "vgg"):
        with pytest.raises(ValueError, match="LoRA corrects attention"):
            fine_tune_pair(encoder, partner, ITEMS[modality], TEXTS, settings=settings)
        return
    before = state_of(encoder.network)
    start = TunedEncoder(encoder, settings)
    same = encoder.features([encoder.prepare(ITEMS[modality][0])])
    assert_allclose(start.encoder.features([start.prepare(ITEMS[modality][0])]).detach(), same, atol=2e-6)

    pair = fine_tune_pair(encoder, partner, ITEMS[modality], TEXTS, settings=settings)
    for name, value in state_of(encoder.network).items():
        assert torch.equal(value, before[name])  # the encoder that came in is left alone
    trained = {name.removeprefix("tower.") for name in pair.left.weights() if name.startswith("tower.")}
    every = dict(pair.left.encoder.tower.named_parameters())
    if mode == "full":
        assert trained == set(every)
    elif mode == "lora":
        assert trained and all(".lora_" in name for name in trained)
    else:
        assert bool(trained) == (mode == "last") and len(trained) < len(every)
    moved = {name for name, p in start.weights().items() if not torch.equal(p, pair.left.weights()[name])}
    assert {"map.weight", "map.bias"} <= moved and (mode == "frozen" or moved & {f"tower.{name}" for name in trained})
    for name, p in start.encoder.network.named_parameters():
        if not p.requires_grad:
            assert torch.equal(p, dict(pair.left.encoder.network.named_parameters())[name]), name

    vectors = pair.left.encode(ITEMS[modality], progress=False)
    assert vectors.shape == (N, 8) and len(pair.history) == 3
    assert_allclose(pair.left.encode(ITEMS[modality][::-1], batch_size=1, progress=False)[::-1], vectors, atol=5e-6)


def test_it_learns_to_bring_pairs_together():
    settings = replace(SMALL, mode="full", steps=60, batch_size=N, micro_batch=4, learning_rate=3e-3)
    pair = fine_tune_pair(load("vit", "image"), load("bert", "text"), ITEMS["image"], TEXTS, settings=settings)
    assert pair.history[-1] < pair.history[0] / 4
    scores = pair.left.encode(ITEMS["image"], progress=False) @ pair.right.encode(TEXTS, progress=False).T
    assert_array_equal(scores.argmax(1), np.arange(N))  # by chance in one of 7^7


@pytest.mark.parametrize("mode", ["frozen", "last", "lora", "full"])
@pytest.mark.parametrize("sides", [(("clip", "image"), ("clip", "text")), (("wav2vec2", "audio"), ("gpt2", "text"))])
def test_micro_batches_give_the_gradients_of_the_whole_batch(sides, mode):
    pair, items = untrained(sides, mode)
    same = torch.eye(N, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    want_loss, want = gradients(pair, items, replace(SMALL, micro_batch=N), same)
    for size in (1, 2, 3, N - 1):
        loss, got = gradients(pair, items, replace(SMALL, micro_batch=size), same)
        assert loss == pytest.approx(want_loss, rel=1e-5)
        for name, gradient in want.items():
            assert_allclose(got[name], gradient, atol=2e-5 * max(1.0, float(gradient.abs().max())), err_msg=name)


def test_averaging_the_losses_of_micro_batches_would_be_another_loss():
    pair, items = untrained((("clip", "image"), ("clip", "text")), "full")
    want = gradients(pair, items, replace(SMALL, micro_batch=N), torch.eye(N, dtype=torch.bool))[1]
    for p in pair.weights().values():
        p.grad = None
    for rows in (slice(0, 3), slice(3, N)):
        ends = [t.features(own[rows]) for t, own in zip((pair.left, pair.right), items, strict=True)]
        (info_nce(*ends, SMALL.temperature) * len(ends[0]) / N).backward()
    name = "left.map.weight"
    averaged = pair.weights()[name].grad
    assert (averaged - want[name]).abs().max() > 0.1 * want[name].abs().max()


def untrained(sides, mode: str) -> tuple[TunedPair, list]:
    towers = [TunedEncoder(load(*side), replace(SMALL, mode=mode)) for side in sides]
    rng = torch.Generator().manual_seed(1)
    for tower in towers:
        for name, p in tower.weights().items():
            if "lora_B" in name:  # zero at the start, and A's gradient with it
                p.data = torch.randn(p.shape, generator=rng) / 10
    items = [[tower.prepare(item) for item in ITEMS[tower.modality]] for tower in towers]
    return TunedPair(towers[0], towers[1], []), items


def gradients(pair: TunedPair, items: list, settings: FineTuneSettings, same: torch.Tensor):
    for p in pair.weights().values():
        p.grad = None
    loss = backward(pair, items, settings, same)
    return loss, {name: p.grad.clone() for name, p in pair.weights().items() if p.grad is not None}


def test_mixed_precision_computes_in_bfloat16_and_learns_in_float32():
    settings = replace(SMALL, mode="full", precision="bfloat16", micro_batch=2)
    sides = load("vit", "image"), load("bert", "text")
    exact = fine_tune_pair(*sides, ITEMS["image"], TEXTS, settings=replace(settings, precision="float32"))
    mixed = fine_tune_pair(*sides, ITEMS["image"], TEXTS, settings=settings)
    assert {p.dtype for p in mixed.weights().values()} == {torch.float32}
    assert mixed.history != exact.history
    assert_allclose(mixed.history, exact.history, rtol=0.05)
    seen = []
    layer = next(m for m in mixed.left.encoder.network.modules() if isinstance(m, torch.nn.Linear))
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    assert mixed.left.encode(ITEMS["image"], progress=False).dtype == np.float32
    assert set(seen) == {torch.bfloat16}


def test_the_first_loss_is_that_of_the_vectors_and_concepts_do_not_repel():
    settings = replace(SMALL, steps=1, batch_size=N, micro_batch=N)
    sides = load("clip", "image"), load("clip", "text")
    vectors = [
        torch.tensor(TunedEncoder(side, settings).encode(items, progress=False))
        for side, items in zip(sides, (ITEMS["image"], TEXTS), strict=True)
    ]
    for concepts in (None, [0, 0, 1, 2, 3, 4, 5], ["x", "x", "x", "y", "y", "y", "y"]):
        names = np.arange(N) if concepts is None else np.array(concepts)
        want = info_nce(*vectors, settings.temperature, torch.tensor(names[:, None] == names))
        pair = fine_tune_pair(*sides, ITEMS["image"], TEXTS, settings=settings, concepts=concepts)
        assert pair.history[0] == pytest.approx(float(want), rel=1e-5)


KILLED = """
import sys, time
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from test_fine_tune_pair import LONG, train
torch.set_num_threads(1)
def tell(step, loss):
    print(step, flush=True)
    time.sleep(0.02 if step < 5 else 0.5)
train(Path(sys.argv[2]), LONG, tell)
"""
LONG = replace(SMALL, mode="lora", steps=9, micro_batch=2)


def train(path: Path | None, settings: FineTuneSettings, after_step=None) -> TunedPair:
    return fine_tune_pair(
        load("vit", "image"), load("bert", "text"), ITEMS["image"], TEXTS, settings=settings, checkpoint=path, every=2,
        after_step=after_step,
    )  # fmt: skip


def test_killed_in_the_middle_it_resumes_to_the_same_bits(tmp_path, one_thread):
    path = tmp_path / "run" / "checkpoint.safetensors"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == 5:  # one step after a checkpoint, which is lost
                process.kill()
        assert process.wait() == -signal.SIGKILL
    with safe_open(path, "pt") as file:
        assert len(json.loads(file.metadata()["facts"])["history"]) == 4
    steps: list[int] = []
    resumed = train(path, LONG, lambda step, loss: steps.append(step))
    assert steps == [5, 6, 7, 8, 9]
    whole = train(tmp_path / "whole.safetensors", LONG)
    assert resumed.history == whole.history
    for name, value in whole.weights().items():
        assert torch.equal(value, resumed.weights()[name]), name
    kept, wanted = read_checkpoint(path), read_checkpoint(tmp_path / "whole.safetensors")  # of the optimiser, too
    assert kept.facts == wanted.facts and kept.tensors.keys() == wanted.tensors.keys()
    assert all(torch.equal(value, kept.tensors[name]) for name, value in wanted.tensors.items())


def test_a_finished_training_is_restored_without_training(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    pair = train(path, LONG)
    again = train(path, LONG, lambda step, loss: pytest.fail("trained further"))
    loaded = load_tuned_pair(path, load("vit", "image"), load("bert", "text"))
    for other in (again, loaded):
        assert other.history == pair.history and other.left.fingerprint == pair.left.fingerprint
        assert_array_equal(other.right.encode(TEXTS, progress=False), pair.right.encode(TEXTS, progress=False))
    further = train(path, replace(LONG, steps=11))
    assert further.history[:9] == pair.history and len(further.history) == 11
    with pytest.raises(ValueError, match="has 11 steps, more than 9"):
        train(path, LONG)
    with pytest.raises(ValueError, match="of another training; what differs: models"):
        load_tuned_pair(path, load("vit", "image"), load("gpt2", "text"))
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        load_tuned_pair(tmp_path / "none", load("vit", "image"), load("bert", "text"))


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(path, LONG)
    for changed in ({"seed": 1}, {"mode": "full"}, {"learning_rate": 1e-3}):
        with pytest.raises(ValueError, match="what differs: settings"):
            train(path, replace(LONG, **changed))
    sides = load("vit", "image"), load("bert", "text")
    with pytest.raises(ValueError, match="what differs: items"):
        fine_tune_pair(*sides, ITEMS["image"], TEXTS[::-1], settings=LONG, checkpoint=path)
    with pytest.raises(ValueError, match="what differs: items"):
        fine_tune_pair(*sides, ITEMS["image"], TEXTS, settings=LONG, checkpoint=path, concepts=[0, 0, 1, 1, 2, 2, 2])


def test_damaged_checkpoints(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(path, LONG)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    for damaged in (whole[:-5], whole[:40], b"", bytes(flipped), b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"is damaged, or is none .* delete it"):
            train(path, LONG)
    path.write_bytes(whole)
    tensors = load_file(path)
    for about in (None, {"facts": "{}"}, {"facts": "{", "sha256": "0"}):
        save_file(tensors, path, about)
        with pytest.raises(ValueError, match="is damaged, or is none"):
            train(path, LONG)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    train(path, LONG)
    before = path.read_bytes()

    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        train(path, replace(LONG, steps=11))
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == [path.name]


def test_misuse_is_explained(tmp_path):
    sides = load("vit", "image"), load("bert", "text")
    for wrong in ({"mode": "all"}, {"precision": "float16"}, {"batch_size": 1}, {"micro_batch": 0}, {"temperature": 0}):
        with pytest.raises(ValueError, match=r"must be|need"):
            FineTuneSettings(**wrong)
    with pytest.raises(ValueError, match="as many items on both sides"):
        fine_tune_pair(*sides, ITEMS["image"], TEXTS[:3])
    for concepts in ([0] * N, [0, 1]):
        with pytest.raises(ValueError, match="two different ones"):
            fine_tune_pair(*sides, ITEMS["image"], TEXTS, concepts=concepts)
    with pytest.raises(TypeError, match="of the hub tier, got MiniLM"):
        fine_tune_pair(sides[0], MiniLM(), ITEMS["image"], TEXTS)
    broken = copy.copy(sides[1])
    broken.network = copy.deepcopy(broken.network)
    next(broken.network.parameters()).data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the loss is nan in step 1"):
        fine_tune_pair(sides[0], broken, ITEMS["image"], TEXTS, settings=SMALL)


def test_lora_of_gpt2_starts_from_the_same_network():
    encoder = load("gpt2", "text")
    network = set_mode(encoder, "lora", blocks=1, rank=2, seed=0)
    ids = torch.tensor([[4, 5, 6, 7]])
    assert_allclose(network(ids).last_hidden_state.detach(), encoder.network(ids).last_hidden_state, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(("family", "modality"), CASES)
def test_on_a_gpu(family, modality, tmp_path):
    encoder = load_encoder(f"hub:tiny/{family}", modality=modality, device="cuda")
    want = load(family, modality).encode(ITEMS[modality], progress=False)
    assert_allclose(encoder.encode(ITEMS[modality], progress=False), want, atol=1e-3)
    partner = load_encoder("hub:tiny/bert", modality="text", device="cuda")
    settings = replace(SMALL, mode="full", precision="bfloat16", micro_batch=2)
    path = tmp_path / "checkpoint"
    pair = fine_tune_pair(encoder, partner, ITEMS[modality], TEXTS, settings=settings, checkpoint=path)
    on_cpu = load_tuned_pair(path, load(family, modality), load("bert", "text"))
    there, here = (each.left.encode(ITEMS[modality], progress=False) for each in (pair, on_cpu))
    assert_allclose(here, there, atol=0.05)  # bfloat16 rounds to 3 digits
