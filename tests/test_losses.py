"""Losses against their loops, their gradients against differences, and what `same` leaves out."""

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional as F

from xmr_lab.matching import info_nce, sigmoid_loss, triplet_loss

MINING = ["all", "semi-hard", "hardest"]


@pytest.fixture
def ends():
    """Rows of length 1 of which two, 1 and 4, mean the same (small for testing)."""
    draw = torch.Generator().manual_seed(0)
    q, g = (F.normalize(torch.randn(6, 4, generator=draw, dtype=torch.float64), dim=1) for _ in range(2))
    return q, F.normalize(q + g, dim=1)  # partners are near


@pytest.fixture
def same():
    same = torch.eye(6, dtype=torch.bool)
    same[1, 4] = same[4, 1] = True
    return same


def loop_sigmoid(q, g, temperature, bias, together):
    total = 0.0
    for i, j in itertools.product(range(len(q)), repeat=2):
        z = 1 if together[i, j] else -1
        total += np.log1p(np.exp(-z * (float(q[i] @ g[j]) / temperature + bias)))
    return total / len(q)


def loop_triplet(q, g, margin, mining, together):
    """The mean over anchors and their negatives, each way; then the mean of both ways."""
    ways = []
    for a, b in ((q, g), (g, q)):
        terms = []
        for i in range(len(a)):
            negatives = [float(a[i] @ b[j]) for j in range(len(a)) if not together[i, j]]
            positive = float(a[i] @ b[i])
            if mining == "semi-hard":
                negatives = [s for s in negatives if s < positive]
            if mining != "all":
                negatives = [max(negatives, default=-np.inf)]
            terms += [max(0.0, margin + s - positive) for s in negatives]
        ways.append(np.mean(terms))
    return np.mean(ways)


def test_sigmoid_loss_equals_the_loop(ends, same):
    for known in (None, same):
        together = torch.eye(6, dtype=torch.bool) if known is None else known
        got = sigmoid_loss(*ends, 0.2, -1.5, known)
        assert_allclose(float(got), loop_sigmoid(*ends, 0.2, -1.5, together), rtol=1e-9)


@pytest.mark.parametrize("mining", MINING)
def test_triplet_loss_equals_the_loop(ends, same, mining):
    for known in (None, same):
        together = torch.eye(6, dtype=torch.bool) if known is None else known
        got = triplet_loss(*ends, known, margin=0.5, mining=mining)
        assert_allclose(float(got), loop_triplet(*ends, 0.5, mining, together), rtol=1e-9)


LOSSES = {
    "info_nce": lambda q, g, same: info_nce(q, g, 0.3, same),
    "several partners": lambda q, g, same: info_nce(q, g, 0.3, same, duplicates="partners"),
    "sigmoid": lambda q, g, same: sigmoid_loss(q, g, 0.3, -1.0, same),
    **{name: lambda q, g, same, name=name: triplet_loss(q, g, same, margin=0.6, mining=name) for name in MINING},
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_differences(ends, same, name):
    q, g = (end.clone().requires_grad_() for end in ends)
    assert torch.autograd.gradcheck(lambda a, b: LOSSES[name](a, b, same), (q, g))


@pytest.mark.parametrize("name", LOSSES)
def test_exchanging_the_sides_or_mixing_the_rows_changes_nothing(ends, same, name):
    loss, (q, g) = LOSSES[name], ends
    mixed = torch.tensor([3, 1, 5, 0, 2, 4])
    assert_allclose(float(loss(g, q, same)), float(loss(q, g, same)), rtol=1e-9)
    assert_allclose(float(loss(q[mixed], g[mixed], same[mixed][:, mixed])), float(loss(q, g, same)), rtol=1e-9)


@pytest.mark.parametrize("name", ["info_nce", *MINING])
def test_rows_that_mean_the_same_exert_no_force_on_each_other(ends, name):
    """With nothing but duplicates there is nothing to be told apart."""
    q, g = (end.clone().requires_grad_() for end in ends)
    loss = LOSSES[name](q, g, torch.ones(6, 6, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0 and not q.grad.any() and not g.grad.any()


def test_the_order_of_the_triplet_losses(ends):
    """Of one anchor, the hardest negative costs most, a semi-hard one no more than the margin."""
    q, g = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    q, g = F.normalize(q, dim=1), F.normalize(g, dim=1)
    mean, semi, hardest = (float(triplet_loss(q, g, mining=mining)) for mining in MINING)
    assert mean < hardest and semi <= 0.2 < hardest
    assert all(float(triplet_loss(q, q, mining=mining, margin=1e-3)) == 0 for mining in MINING)


def test_collapse_costs_the_margin():
    """All rows at one point: a triplet loss stands at its margin, which is why hardest negatives can end there."""
    point = F.normalize(torch.ones(5, 3, dtype=torch.float64), dim=1)
    assert_allclose(float(triplet_loss(point, point, mining="hardest")), 0.2)
    assert_allclose(float(info_nce(point, point, 0.1)), np.log(5))


def test_the_bias_with_which_sigmoid_begins_is_the_prior():
    """At cosine 0, minus the logarithm of the number of negatives makes its sum of probabilities 1 a row."""
    probability = torch.sigmoid(-torch.tensor(5.0).log())
    assert_allclose(6 * float(probability), 1, rtol=1e-6)


def test_info_nce_with_several_partners_equals_the_loop(ends, same):
    total = 0.0
    for one, other in (ends, ends[::-1]):
        for i in range(6):
            scores = [float(one[i] @ other[j]) / 0.3 for j in range(6)]
            mine = [scores[j] for j in range(6) if same[i, j]]
            total += np.log(np.sum(np.exp(scores))) - sum(mine) / len(mine)
    assert_allclose(float(info_nce(*ends, 0.3, same, duplicates="partners")), total / 12, rtol=1e-9)
    alone = torch.eye(6, dtype=torch.bool)
    assert_allclose(float(info_nce(*ends, 0.3, alone, duplicates="partners")), float(info_nce(*ends, 0.3)), rtol=1e-9)


def test_unknown_options_are_refused(ends):
    with pytest.raises(ValueError, match="got 'twins'"):
        info_nce(*ends, 0.3, duplicates="twins")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'easy'"):
        triplet_loss(*ends, mining="easy")  # type: ignore[arg-type]
