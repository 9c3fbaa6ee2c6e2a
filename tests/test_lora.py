"""LoRA on MiniLM: it starts as MiniLM, learns only its own numbers, and can be merged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.nn import functional as F

import xmr_lab  # noqa: F401  (before peft: repairs torchaudio)
from xmr_lab.encoders import MiniLM
from xmr_lab.transfer.fine_tune import fine_tune, outputs, trainable
from xmr_lab.transfer.lora import SentenceNetwork, add_lora, token_ids, with_network

TEXTS = ["A frog.", "Ein Frosch.", "A red bicycle with three wheels.", "Et tog."]  # small for testing


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM()


@pytest.fixture(scope="module")
def ids(encoder: MiniLM) -> torch.Tensor:
    return token_ids(encoder, TEXTS)


@pytest.fixture(scope="module")
def trained(encoder: MiniLM, ids: torch.Tensor) -> nn.Module:
    target = torch.from_numpy(encoder.encode(TEXTS[::-1], progress=False))
    network = SentenceNetwork(add_lora(encoder.network, rank=2))
    return fine_tune(network, ids, target, loss=F.mse_loss, learning_rate=1e-2, epochs=3, batch_size=4).network


def test_sentence_network_is_the_encoder(encoder, ids):
    ours = outputs(SentenceNetwork(encoder.network), ids).numpy()
    assert_allclose(ours, encoder.encode(TEXTS, normalize=False, progress=False), atol=1e-5)


def test_untrained_lora_changes_nothing(encoder, ids):
    network = SentenceNetwork(add_lora(encoder.network, rank=2))
    assert_array_equal(outputs(network, ids), outputs(SentenceNetwork(encoder.network), ids))


def test_only_lora_learns(encoder, ids):
    network = SentenceNetwork(add_lora(encoder.network, rank=2, targets=["query", "value"]))
    network(ids).square().mean().backward()
    with_gradient = {name for name, p in network.named_parameters() if p.grad is not None}
    assert with_gradient and all("lora_" in name for name in with_gradient)
    assert trainable(network) == 6 * 2 * (384 * 2 + 2 * 384)  # layers x (query, value) x (A and B)
    assert not any(p.requires_grad for p in encoder.network.parameters())


def test_training_moves_lora_and_nothing_else(encoder, trained, ids):
    before = dict(encoder.network.named_parameters())
    for name, p in trained.network.base_model.model.named_parameters():
        if "lora_" not in name:
            assert_array_equal(p, before[name.replace(".base_layer", "")].numpy())
    moved = outputs(trained, ids) - outputs(SentenceNetwork(encoder.network), ids)
    assert moved.abs().max() > 0.01


def test_merged_equals_unmerged(encoder, trained, ids):
    want = outputs(trained, ids).numpy()
    merged = trained.network.merge_and_unload()
    assert not any("lora_" in name for name, _ in merged.named_parameters())
    assert_allclose(outputs(SentenceNetwork(merged), ids).numpy(), want, atol=1e-5)
    changed = with_network(encoder, merged)
    assert_allclose(changed.encode(TEXTS, normalize=False, progress=False), want, atol=1e-5)
    assert changed.fingerprint != encoder.fingerprint


def test_delta_is_the_scaled_product(encoder):
    adapted = add_lora(encoder.network, rank=2, alpha=6.0, seed=3)
    layer = adapted.base_model.model.encoder.layer[0].attention.self.query
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_(generator=torch.Generator().manual_seed(0))
    x = torch.ones(1, 384)
    correction = 6.0 / 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight @ x.T
    assert_allclose((layer(x) - layer.base_layer(x)).detach().T, correction.detach(), atol=1e-5)


def test_seed_decides_and_global_state_stays(encoder):
    state = torch.random.get_rng_state()
    adapted = [add_lora(encoder.network, rank=2, seed=seed) for seed in (1, 1, 2)]
    layers = [each.base_model.model.encoder.layer[0].attention.self.query for each in adapted]
    first, again, other = (layer.lora_A["default"].weight for layer in layers)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_token_ids_cut_and_fill(encoder):
    ids = token_ids(encoder, ["A frog.", "word " * 50], max_tokens=8)
    assert ids.shape == (2, 8) and (ids[1] != 0).all()
    separator = encoder.tokenizer.sep_token_id
    assert ids[1, -1] == separator and (ids[0] == separator).sum() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rank": 0}, "rank must be"), ({"alpha": -1.0}, "alpha positive"), ({"targets": ["nose"]}, "dense, key, query")],
)
def test_errors_say_what_to_do(encoder, options, message):
    with pytest.raises(ValueError, match=message):
        add_lora(encoder.network, **options)


def test_empty_rows_are_refused():
    with pytest.raises(ValueError, match="no tokens"):
        SentenceNetwork(nn.Identity())(torch.zeros(1, 4, dtype=torch.long))


def test_vectors_are_finite_for_one_text(encoder):
    assert np.isfinite(outputs(SentenceNetwork(encoder.network), token_ids(encoder, ["x"])).numpy()).all()
