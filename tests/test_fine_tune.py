"""Linear probe, adapter, fine-tuning: against scikit-learn, autograd and each other."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from xmr_lab.encoders import EfficientNetLite0
from xmr_lab.transfer.adapter import ResidualAdapter
from xmr_lab.transfer.fine_tune import all_cores, fine_tune, image_layers, outputs, trainable
from xmr_lab.transfer.probe import linear_probe


@pytest.fixture
def classes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    return rng.normal(size=(90, 5)) + 0.8 * np.eye(5)[y], y  # three overlapping clouds, small for testing


@pytest.fixture
def tensors(classes) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = classes
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


@pytest.fixture(scope="module")
def layers() -> nn.Sequential:
    return image_layers(EfficientNetLite0().network)


def small(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


# --- linear probe


@pytest.mark.parametrize("penalty", [1e-3, 1e-1])
def test_probe_equals_scikit_learn(classes, penalty):
    x, y = classes
    head = linear_probe(x, y, penalty=penalty)
    theirs = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-10, max_iter=10_000).fit(x, y)
    ours = F.softmax(head(torch.tensor(x, dtype=torch.float32)), dim=1).detach()
    assert_allclose(ours, theirs.predict_proba(x), atol=1e-4)


def test_probe_with_more_features_than_rows_equals_scikit_learn():
    x, y = np.random.default_rng(0).normal(3.0, 1.0, size=(24, 60)), np.arange(24) % 3  # far from the origin
    theirs = LogisticRegression(C=1 / (24 * 0.05), tol=1e-10, max_iter=10_000).fit(x, y)
    ours = F.softmax(linear_probe(x, y, penalty=0.05)(torch.tensor(x, dtype=torch.float32)), dim=1).detach()
    assert_allclose(ours, theirs.predict_proba(x), atol=1e-4)


def test_weighted_probe_equals_scikit_learn(classes):
    x, y = classes[0][:70], np.minimum(classes[1][:70], 1)
    balanced = len(y) / (2 * np.bincount(y))
    head = linear_probe(x, y, penalty=0.01, weights=balanced)
    theirs = LogisticRegression(C=2 / (70 * 0.01), class_weight="balanced", tol=1e-10, max_iter=10_000).fit(x, y)
    ours = F.softmax(head(torch.tensor(x, dtype=torch.float32)), dim=1).detach()
    assert_allclose(ours, theirs.predict_proba(x), atol=1e-4)


def test_strong_penalty_leaves_the_class_frequencies(classes):
    x, y = classes[0], np.minimum(classes[1], 1)
    probabilities = F.softmax(linear_probe(x, y, penalty=1e6)(torch.tensor(x, dtype=torch.float32)), dim=1)
    assert_allclose(probabilities.detach(), np.tile([1 / 3, 2 / 3], (90, 1)), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (np.where(x == x[0, 0], np.nan, x), y), "finite features"),
        (lambda x, y: (x, y[:-1]), "shapes"),
        (lambda x, y: (x, y + 1), "return_inverse"),
        (lambda x, y: (x, np.where(y == 1, 3, y)), "none of them left out"),
        (lambda x, y: (x, y * 0), "at least two"),
        (lambda x, y: (x, y.astype(float)), "return_inverse"),
    ],
)
def test_probe_errors(classes, change, message):
    with pytest.raises(ValueError, match=message):
        linear_probe(*change(*classes))


def test_probe_option_errors(classes):
    with pytest.raises(ValueError, match="penalty must be positive"):
        linear_probe(*classes, penalty=0)
    with pytest.raises(ValueError, match="3 positive weights"):
        linear_probe(*classes, weights=[1, 1])


# --- adapter


def test_adapter_starts_as_the_identity_and_learns(tensors):
    x, y = tensors
    network = nn.Sequential(ResidualAdapter(5, hidden=4), nn.Linear(5, 3))
    assert torch.equal(network[0](x), x)
    done = fine_tune(network, x, y, learning_rate=0.05, epochs=10)
    assert not torch.equal(done.network[0](x), x)
    assert done.history["loss"].iloc[-1] < done.history["loss"].iloc[1]


def test_adapter_seed_and_errors():
    assert torch.equal(ResidualAdapter(5, seed=1).down.weight, ResidualAdapter(5, seed=1).down.weight)
    with pytest.raises(ValueError, match="at least 1"):
        ResidualAdapter(5, hidden=0)


# --- fine-tuning


def test_learning_rate_zero_changes_nothing(tensors):
    x, y = tensors
    network = small()
    done = fine_tune(network, x, y, validation=(x, y), learning_rate=0.0, weight_decay=0.1, epochs=3)
    for a, b in zip(network.parameters(), done.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert done.best_epoch == 0


def test_network_handed_in_is_not_changed(tensors):
    x, y = tensors
    network = small()
    before = [p.clone() for p in network.parameters()]
    fine_tune(network, x, y, learning_rate=0.1, epochs=2)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_equals_a_loop_written_out(tensors):
    x, y = tensors
    done = fine_tune(small(), x, y, learning_rate=0.01, weight_decay=0.1, epochs=3, batch_size=32, seed=7)
    network = small()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for _ in range(3):
            for rows in torch.randperm(90).split(32):
                optimizer.zero_grad()
                F.cross_entropy(network(x[rows]), y[rows]).backward()
                optimizer.step()
    for a, b in zip(network.parameters(), done.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_early_stopping_restores_the_best_epoch(tensors):
    x, y = tensors
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 3, (30,), generator=rng)  # labels that cannot be learned: validation gets worse
    train, held_out = (x[:60], y[:60]), (x[60:], noise)
    done = fine_tune(small(), *train, validation=held_out, learning_rate=0.05, epochs=40, patience=4)
    assert len(done.history) == done.best_epoch + 5 < 41
    assert done.best_epoch == done.history["validation_loss"].idxmin()
    kept = F.cross_entropy(done.network(held_out[0]), held_out[1]).item()
    assert kept == pytest.approx(done.history["validation_loss"].min(), abs=1e-6)
    stopped = fine_tune(small(), *train, learning_rate=0.05, epochs=done.best_epoch)  # the same path, cut there
    for a, b in zip(stopped.network.parameters(), done.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_seed_decides_and_global_state_stays(tensors):
    x, y = tensors
    state = torch.random.get_rng_state()
    first, again, other = (fine_tune(small(), x, y, epochs=2, learning_rate=0.01, seed=s) for s in (1, 1, 2))
    same = [torch.equal(a, b) for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True)]
    assert all(same) and not torch.equal(next(first.network.parameters()), next(other.network.parameters()))
    assert torch.equal(state, torch.random.get_rng_state())


def test_frozen_parts_stay(tensors):
    x, y = tensors
    network = small()
    network[0].requires_grad_(False)
    done = fine_tune(network, x, y, learning_rate=0.1, epochs=2)
    assert torch.equal(network[0].weight, done.network[0].weight)
    assert not torch.equal(network[2].weight, done.network[2].weight)
    assert trainable(network) == 8 * 3 + 3


def test_watch_is_kept(tensors):
    x, y = tensors
    done = fine_tune(small(), x, y, epochs=2, watch=lambda network: {"training": float(network.training)})
    assert_array_equal(done.history["training"], [0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(3, 5)}, "must pair"),
        ({"x": torch.full((90, 5), torch.nan)}, "NaN"),
        ({"patience": 0}, "patience"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"network": small().requires_grad_(False)}, "every parameter is frozen"),
        ({"learning_rate": 1e30}, "smaller learning_rate"),
        ({"validation": (torch.zeros(0, 5), torch.zeros(0, dtype=torch.long))}, "one at least"),
    ],
)
def test_fine_tune_errors(tensors, change, message):
    given = {"network": small(), "x": tensors[0], "y": tensors[1], "epochs": 3} | change
    with pytest.raises(ValueError, match=message):
        fine_tune(**given)


# --- the picture network


def pictures(n: int = 3, side: int = 32) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_image_layers_are_the_encoder(layers):
    network, x = EfficientNetLite0().network, pictures(side=64)
    with torch.inference_mode():
        want = network.extract_features(x).mean((2, 3))
    assert_allclose(outputs(layers, x), want, atol=1e-5)
    assert all(p.requires_grad for p in layers.parameters())
    assert not any(p.requires_grad for p in network.parameters())
    assert not list(layers.buffers())  # nothing that a forward pass in training mode would change


def test_last_block_on_cached_activations_has_the_same_gradient(layers):
    x, y = pictures(), torch.tensor([0, 1, 1])
    head = nn.Linear(1280, 2)
    activations = outputs(layers[:-2], x)
    gradients = []
    for network, inputs in ((nn.Sequential(*layers, head), x), (nn.Sequential(*layers[-2:], head), activations)):
        network.zero_grad()
        F.cross_entropy(network(inputs), y).backward()
        gradients.append([p.grad.clone() for p in [*layers[-2:].parameters(), *head.parameters()]])
    for through, cached in zip(*gradients, strict=True):
        assert_allclose(cached, through, atol=1e-6, rtol=1e-4)


def test_all_layers_are_reached(layers):
    layers.zero_grad()
    layers(pictures()).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layers.parameters())
    layers.zero_grad()


def test_all_cores_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), all_cores():
        assert torch.get_num_threads() == min(8, os.cpu_count())
        raise KeyError
    assert torch.get_num_threads() == before
