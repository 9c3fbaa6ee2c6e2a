"""Importance weighting: density ratios against two Gaussians, the weighted map against scikit-learn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xmr_lab.matching import RidgeMap
from xmr_lab.transfer import WeightedRidgeMap, density_ratio, effective_sample_size


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_density_ratio_of_two_gaussians(rng):
    """N(0, 1) and N(1, 1): the ratio is exp(x - 1/2), whatever the sizes of the samples."""
    source, target = rng.normal(0, 1, size=(4000, 1)), rng.normal(1, 1, size=(1000, 1))
    got = density_ratio(source, target, regularization=1e-3)
    want = np.exp(source[:, 0] - 0.5)
    assert_allclose(np.log(got), np.log(want / want.mean()), atol=0.4)
    assert_allclose(np.corrcoef(np.log(got), np.log(want))[0, 1], 1, atol=1e-6)


def test_weighted_source_has_the_mean_of_the_target(rng):
    source, target = rng.normal(0, 1, size=(5000, 2)), rng.normal([0.7, -0.3], 1, size=(5000, 2))
    weights = density_ratio(source, target)
    assert_allclose(np.average(source, axis=0, weights=weights), target.mean(axis=0), atol=0.1)


def test_equal_domains_have_weights_near_one(rng):
    weights = density_ratio(*rng.normal(size=(2, 500, 3)), regularization=10)
    assert_allclose(weights, 1, atol=0.5)
    assert effective_sample_size(weights) > 480


def test_weights_do_not_depend_on_scale_or_shift(rng):
    source, target = rng.normal(size=(50, 3)), rng.normal(0.5, 1, size=(40, 3))
    assert_allclose(
        density_ratio(source, target), density_ratio(100 * source + 7, 100 * target + 7), rtol=1e-3
    )  # to the solver's precision


def test_a_cap_bounds_the_weights_before_they_are_scaled(rng):
    source, target = rng.normal(0, 1, size=(300, 1)), rng.normal(2, 1, size=(300, 1))
    free, capped = density_ratio(source, target), density_ratio(source, target, largest=2)
    assert capped.max() / capped.mean() < free.max() / free.mean()
    assert_allclose(capped.mean(), 1)
    assert effective_sample_size(capped) > effective_sample_size(free)


def test_domains_that_share_nothing_still_give_finite_weights(rng):
    weights = density_ratio(rng.normal(0, 1, size=(20, 50)), rng.normal(50, 1, size=(20, 50)), regularization=1e-6)
    assert np.isfinite(weights).all() and (weights > 0).all()


@pytest.mark.parametrize("n", [12, 60], ids=["fewer rows than columns (dual)", "more (primal)"])
def test_weighted_ridge_equals_scikit_learn(rng, n):
    from sklearn.linear_model import Ridge

    x, y, weights = rng.normal(size=(n, 20)) + 3, rng.normal(size=(n, 4)), rng.uniform(0, 2, size=n)
    ours = WeightedRidgeMap(0.2).fit(x, y, weights=weights)
    theirs = Ridge(alpha=0.2 * n).fit(x, y, sample_weight=weights / weights.mean())
    assert_allclose(ours.weights_, theirs.coef_.T, atol=1e-8)
    intercept = ours.means_[1] - ours.means_[0] @ ours.weights_
    assert_allclose(intercept, theirs.intercept_, atol=1e-8)


def test_equal_weights_give_the_ridge_map_and_weight_zero_leaves_a_pair_out(rng):
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 2))
    assert_allclose(WeightedRidgeMap(0.1).fit(x, y).weights_, RidgeMap(0.1).fit(x, y).weights_)
    weights = np.repeat([1.0, 0.0], [20, 10])
    assert_allclose(
        WeightedRidgeMap(0.1).fit(x, y, weights=weights).weights_, RidgeMap(0.1).fit(x[:20], y[:20]).weights_
    )


def test_a_map_that_can_fit_every_pair_hardly_heeds_weights(rng):
    """More columns than rows and next to no penalty (Byrd & Lipton 2019, for networks)."""
    x, y, weights = rng.normal(size=(20, 200)), rng.normal(size=(20, 3)), rng.uniform(0.2, 5, size=20)
    wide = [WeightedRidgeMap(1e-8).fit(x, y, weights=w).transform(x) for w in (None, weights)]
    narrow = [WeightedRidgeMap(1e-8).fit(x[:, :4], y, weights=w).transform(x[:, :4]) for w in (None, weights)]
    assert np.abs(wide[0] - wide[1]).max() < 0.2 < np.abs(narrow[0] - narrow[1]).max()


def test_effective_sample_size():
    assert effective_sample_size([2, 2, 2]) == pytest.approx(3)
    assert effective_sample_size([1, 3]) == pytest.approx(16 / 10)


@pytest.mark.parametrize("weights", [[-1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [np.nan, 1.0, 1.0], [[1.0, 1.0, 1.0]]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be finite"):
        WeightedRidgeMap().fit(np.eye(3), np.eye(3), weights=weights)
    with pytest.raises(ValueError, match="weights must be finite"):
        effective_sample_size(weights)


def test_wrong_shapes_are_refused(rng):
    with pytest.raises(ValueError, match="one entry for each of 3 pairs, got 2"):
        WeightedRidgeMap().fit(np.eye(3), np.eye(3), weights=[1, 1])
    with pytest.raises(ValueError, match="same columns"):
        density_ratio(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="must be positive"):
        density_ratio(np.eye(3), np.eye(3), regularization=0)
    with pytest.raises(ValueError, match="NaN"):
        density_ratio(np.full((3, 2), np.nan), np.ones((3, 2)))
