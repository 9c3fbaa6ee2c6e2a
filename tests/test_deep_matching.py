"""The towers with each loss, and deep CCA against CCA."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab.matching import CCA, DeepCCA, TwoTower, cca_loss, triplet_loss


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pairs(rng):
    """Two noisy linear images of the same 6 hidden numbers (small for testing)."""
    hidden = rng.normal(size=(200, 6))
    x = hidden @ rng.normal(size=(6, 20)) + 0.3 * rng.normal(size=(200, 20)) + 3
    y = hidden @ rng.normal(size=(6, 12)) + 0.3 * rng.normal(size=(200, 12)) - 1
    return x, y


def top1(matcher, x, y):
    scores = matcher.transform(x) @ matcher.transform(y, view=1).T
    return (scores.argmax(axis=1) == np.arange(len(x))).mean()


SETTINGS = {
    "sigmoid": {"loss": "sigmoid"},
    "all": {"loss": "triplet"},
    "semi-hard": {"loss": "triplet", "mining": "semi-hard"},
    "hardest": {"loss": "triplet", "mining": "hardest"},
    "two hidden layers": {"hidden": (16, 16)},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_towers_find_partners_they_have_not_seen_with_each_loss(pairs, name):
    x, y = pairs
    towers = TwoTower(16, epochs=60, learning_rate=0.005, dropout=0.0, **SETTINGS[name]).fit(x[:150], y[:150])
    assert top1(towers, x[150:], y[150:]) > 0.5  # chance is 0.02


def test_the_validation_loss_is_the_loss_that_is_trained(pairs):
    x, y = pairs
    settings = {"loss": "triplet", "mining": "semi-hard", "margin": 0.3}
    towers = TwoTower(8, epochs=4, **settings).fit(x[:150], y[:150], validation=(x[150:], y[150:]))
    ends = [torch.as_tensor(towers.transform(view[150:], i)) for i, view in enumerate(pairs)]
    best = min(epoch["validation_loss"] for epoch in towers.history_)
    assert_allclose(triplet_loss(*ends, margin=0.3, mining="semi-hard").item(), best, rtol=1e-5)


def test_looking_on_changes_nothing(pairs):
    x, y = pairs
    seen = []
    watched = TwoTower(8, epochs=5).fit(x, y, after_epoch=lambda towers: seen.append(towers.transform(x)))
    assert len(seen) == 6  # once before the first
    assert_array_equal(seen[-1], watched.transform(x))
    assert_array_equal(watched.transform(x), TwoTower(8, epochs=5).fit(x, y).transform(x))


def test_one_hidden_layer_may_be_written_either_way(pairs):
    a, b = (TwoTower(8, epochs=2, hidden=hidden).fit(*pairs).transform(pairs[0]) for hidden in (16, (16,)))
    assert_array_equal(a, b)


@pytest.mark.parametrize("bad", [{"loss": "softmax"}, {"mining": "easy"}, {"margin": 0.0}, {"temperature": 0.0}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="got"):
        TwoTower(**bad)


def test_cca_loss_is_minus_the_correlations_of_cca(pairs):
    x, y = pairs
    for regularization in (0.0, 0.3):
        cca = CCA(12, regularization=regularization).fit(x, y)
        got = cca_loss(torch.as_tensor(x), torch.as_tensor(y), regularization=regularization)
        assert_allclose(got.item(), -cca.correlations_.sum(), rtol=1e-8)
    first = cca_loss(torch.as_tensor(x), torch.as_tensor(y), n_components=3, regularization=0.3)
    assert_allclose(first.item(), -cca.correlations_[:3].sum(), rtol=1e-8)


def test_cca_loss_equals_the_formula_with_inverse_square_roots(pairs):
    """As Andrew et al. write it: the trace norm of S_xx^(-1/2) S_xy S_yy^(-1/2)."""
    x, y = (view - view.mean(axis=0) for view in pairs)
    roots = []
    for view in (x, y):
        values, vectors = np.linalg.eigh(view.T @ view / len(view))
        roots.append(vectors / np.sqrt(values) @ vectors.T)
    want = np.linalg.norm(roots[0] @ (x.T @ y / len(x)) @ roots[1], ord="nuc")
    got = cca_loss(torch.as_tensor(pairs[0]), torch.as_tensor(pairs[1]), regularization=0)
    assert_allclose(-got.item(), want, rtol=1e-8)


def test_cca_loss_does_not_see_a_linear_map_of_either_side(pairs, rng):
    x, y = map(torch.as_tensor, pairs)
    mixed = x @ torch.as_tensor(rng.normal(size=(20, 20))) + 5
    assert_allclose(cca_loss(mixed, y, regularization=0).item(), cca_loss(x, y, regularization=0).item(), rtol=1e-8)
    turn = torch.as_tensor(np.linalg.qr(rng.normal(size=(20, 20)))[0])
    assert_allclose(cca_loss(3 * x @ turn, y).item(), cca_loss(x, y).item(), rtol=1e-8)


def test_gradient_of_cca_loss_equals_differences(rng):
    x, y = (torch.as_tensor(rng.normal(size=(9, 3))).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: cca_loss(a, b, regularization=0.1), (x, y))


def test_linear_deep_cca_descends_to_cca(pairs):
    """Without hidden layers, the loss can fall to minus CCA's correlations and no further."""
    x, y = pairs
    closed = CCA(4, regularization=0).fit(x, y).correlations_.sum()
    settings = {"weight_decay": 0.0, "dropout": 0.0, "regularization": 1e-6, "learning_rate": 0.03}
    deep = DeepCCA(4, hidden=(), epochs=400, **settings).fit(x, y)
    losses = [-epoch["loss"] for epoch in deep.history_]
    assert max(losses) <= closed + 1e-4
    assert_allclose(losses[-1], closed, rtol=1e-3)


def test_deep_cca_sees_what_no_line_can(rng):
    """y is the square of x: their correlation is 0, that of |x| and y is not."""
    x = rng.normal(size=(400, 2))
    y = x**2 + 0.05 * rng.normal(size=(400, 2))
    linear = CCA(2, regularization=0.01).fit(x[:300], y[:300])
    settings = {"dropout": 0.0, "regularization": 0.01, "learning_rate": 0.01}
    deep = DeepCCA(2, hidden=(32,), epochs=200, **settings).fit(x[:300], y[:300])
    assert linear.correlations_.max() < 0.3 and deep.cca_.correlations_.min() > 0.9


def test_deep_cca_keeps_its_best_epoch_and_leaves_global_randomness_alone(pairs, rng):
    x, y = pairs
    state = torch.get_rng_state()
    held_out = x[150:], y[150:] + rng.normal(size=(50, 12))
    fits = [DeepCCA(4, epochs=300, learning_rate=0.01, patience=5).fit(x[:40], y[:40], validation=held_out)
            for _ in range(2)]  # fmt: skip
    assert torch.equal(state, torch.get_rng_state())
    assert_array_equal(fits[0].transform(x), fits[1].transform(x))
    losses = [epoch["validation_loss"] for epoch in fits[0].history_]
    assert len(losses) == int(np.argmin(losses)) + 1 + 5 < 300
    outputs = (torch.as_tensor(fits[0]._outputs(view, i)) for i, view in enumerate(held_out))
    assert_allclose(cca_loss(*outputs).item(), min(losses), rtol=1e-4)


def test_deep_cca_of_fewer_pairs_than_columns_or_of_constants_stays_finite(rng):
    matcher = DeepCCA(8, epochs=3).fit(rng.normal(size=(6, 30)), np.ones((6, 20)))
    assert np.isfinite(matcher.transform(rng.normal(size=(5, 30)))).all()


BAD = {
    "no regularization": lambda: DeepCCA(regularization=0),
    "no dimension": lambda: DeepCCA(0),
    "not paired": lambda: DeepCCA().fit(np.ones((3, 2)), np.ones((4, 2))),
    "NaN": lambda: DeepCCA().fit(np.full((3, 2), np.nan), np.ones((3, 2))),
    "one pair": lambda: DeepCCA().fit(np.ones((1, 2)), np.ones((1, 2))),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_a_clear_error(name):
    with pytest.raises(ValueError, match=r"got|holds|has"):
        BAD[name]()


def test_transform_before_fit_says_so():
    with pytest.raises(RuntimeError, match="not fitted"):
        DeepCCA().transform(np.ones((2, 2)))
