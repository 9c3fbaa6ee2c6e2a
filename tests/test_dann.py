"""The networks against plain training written out, gradients by hand, and principal components."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.nn import functional as F

from xmr_lab.transfer import DANN, DenoisingAutoencoder, mmd, reverse_gradient


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def domains(rng):
    """Three classes, and a target that lies elsewhere (small for testing)."""
    y = np.repeat(["a", "b", "c"], 20)
    centres = {"a": [4, 0, 0, 0, 0], "b": [0, 4, 0, 0, 0], "c": [0, 0, 4, 0, 0]}
    source = np.array([centres[name] for name in y]) + rng.normal(size=(60, 5))
    target = np.array([centres[name] for name in y]) + rng.normal(size=(60, 5)) + [0, 0, 0, 0, 6]
    return source, y, target


def test_gradient_reversal(rng):
    x = torch.tensor(rng.normal(size=(4, 3)), requires_grad=True)
    weights = torch.tensor(rng.normal(size=(3, 2)))
    plain = torch.autograd.grad((x @ weights).sin().sum(), x)[0]
    out = reverse_gradient(x, 0.7)
    assert torch.equal(out, x)
    assert torch.allclose(torch.autograd.grad((out @ weights).sin().sum(), x)[0], -0.7 * plain)


@pytest.mark.parametrize("penalty", ["adversarial", "mmd"])
def test_strength_zero_is_plain_training(domains, penalty):
    source, y, target = domains
    net = DANN(penalty, strength=0, hidden=8, steps=30, batch_size=100, seed=3).fit(source, y, target)
    both = np.vstack([source, target])
    x = torch.tensor((source - both.mean(axis=0)) / both.std(axis=0).mean(), dtype=torch.float32)
    codes = torch.tensor(np.unique(y, return_inverse=True)[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        plain = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(plain(x), codes).backward()
        optimizer.step()
        schedule.step()
    assert_allclose(net.features_[0].weight.detach(), plain[0].weight.detach(), atol=1e-4)
    assert_allclose(net.head_.weight.detach(), plain[2].weight.detach(), atol=1e-4)


@pytest.mark.parametrize("penalty", ["adversarial", "mmd"])
def test_the_penalty_brings_the_domains_together(domains, penalty):
    source, y, target = domains
    plain, adapted = (DANN(penalty, strength=s, hidden=16, steps=200).fit(source, y, target) for s in (0, 3))
    before, after = (mmd(net.transform(source), net.transform(target)) for net in (plain, adapted))
    assert after < before / 2
    assert (adapted.predict(target) == y).mean() > 0.9


def test_vectors_are_learned_by_their_cosine(rng):
    x = rng.normal(size=(200, 4))
    y = x @ rng.normal(size=(4, 3)) + 5
    net = DANN(strength=0, steps=200).fit(x, y, x)
    out = net.predict(x)
    assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)
    cosines = (out * (y - net.y_mean_)).sum(axis=1) / np.linalg.norm(y - net.y_mean_, axis=1)
    assert np.median(cosines) > 0.95


def test_seeds_repeat_and_leave_the_global_generator_alone(domains, rng):
    source, y, target = domains
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (DANN(steps=5, seed=s).fit(source, y, target).transform(target) for s in (1, 1, 2))
    codes = [DenoisingAutoencoder(2, steps=5, seed=1).fit(source).transform(source) for _ in range(2)]
    assert torch.equal(torch.rand(3), want)
    assert_array_equal(first, again)
    assert_array_equal(*codes)
    assert not np.allclose(first, other)


def test_linear_autoencoder_finds_the_principal_components(rng):
    from scipy.linalg import subspace_angles
    from sklearn.decomposition import PCA

    x = rng.normal(size=(300, 6)) * [5, 4, 3, 1, 0.5, 0.2] @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 2
    linear = DenoisingAutoencoder(3, noise=0, steps=1500, batch_size=300).fit(x)
    pca = PCA(3).fit(x)
    angles = subspace_angles(linear.decoder_.weight.detach().numpy(), pca.components_.T)
    assert np.cos(angles).min() > 0.999
    assert_allclose(linear.reconstruct(x), pca.inverse_transform(pca.transform(x)), atol=0.1)


def test_a_denoiser_denoises(rng):
    x = np.tanh(rng.normal(size=(400, 2)) @ rng.normal(size=(2, 20)))
    denoiser = DenoisingAutoencoder(2, hidden=32, noise=0.5, steps=600).fit(x[:300])
    spoiled = x[300:] + 0.5 * denoiser.scale_ * rng.normal(size=(100, 20))
    assert np.mean((denoiser.reconstruct(spoiled) - x[300:]) ** 2) < np.mean((spoiled - x[300:]) ** 2) / 3


def test_bad_input_is_named(domains):
    source, y, target = domains
    net = DANN(steps=2)
    with pytest.raises(ValueError, match="one entry for each of 60 source rows, got 59"):
        net.fit(source, y[:-1], target)
    with pytest.raises(ValueError, match="at least two labels"):
        net.fit(source, np.repeat("a", 60), target)
    with pytest.raises(ValueError, match="y holds NaN"):
        net.fit(source, np.full((60, 2), np.nan), target)
    with pytest.raises(ValueError, match="'adversarial' or 'mmd', got 'coral'"):
        DANN("coral")
    with pytest.raises(ValueError, match="strength >= 0"):
        DANN(strength=-1)
    with pytest.raises(RuntimeError, match="not fitted yet"):
        DANN().transform(source)
    with pytest.raises(ValueError, match="fitted with 5 columns, got 4"):
        net.fit(source, y, target).predict(source[:, :4])
    with pytest.raises(ValueError, match=r"narrower than the rows, got \(60, 5\)"):
        DenoisingAutoencoder(5).fit(source)
    with pytest.raises(RuntimeError, match="not fitted yet"):
        DenoisingAutoencoder(2).transform(source)
    with pytest.raises(ValueError, match="fitted with 5 columns, got 4"):
        DenoisingAutoencoder(2, steps=2).fit(source).transform(source[:, :4])
    with pytest.raises(ValueError, match="noise of at least 0"):
        DenoisingAutoencoder(2, noise=-1)
