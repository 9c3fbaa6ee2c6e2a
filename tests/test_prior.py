"""The map pulled towards a source: its minimum, its two limits, when it helps, and what bad input does."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from xmr_lab.matching import RidgeMap
from xmr_lab.transfer import PriorRidge


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def domains(rng):
    """A source with many pairs and a target with few; their maps differ a little (small for testing)."""
    w = rng.normal(size=(6, 3))
    x = rng.normal(size=(300, 6)) + 2
    near = rng.normal(size=(300, 6)) - 1
    source = x, x @ w + 0.1 * rng.normal(size=(300, 3))
    target = near, near @ (w + 0.2 * rng.normal(size=w.shape)) + 0.5 * rng.normal(size=(300, 3)) + 5
    return source, target


@pytest.mark.parametrize("n", [4, 40], ids=["fewer rows than columns", "more"])
def test_equals_a_numerical_minimiser(domains, n):
    source = RidgeMap(0.01).fit(*domains[0])
    x, y = (view[:n] for view in domains[1])
    prior = PriorRidge(0.3).fit(x, y, source=source)

    def objective(flat):
        w, b = flat[:18].reshape(6, 3), flat[18:]  # a free intercept instead of centring
        return ((x @ w + b - y) ** 2).sum() + 0.3 * n * ((w - source.weights_) ** 2).sum()

    best = minimize(objective, np.zeros(21), method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000})
    assert_allclose(prior.weights_, best.x[:18].reshape(6, 3), atol=1e-4)


def test_between_the_source_map_and_the_target_map(domains):
    source = RidgeMap(0.01).fit(*domains[0])
    assert_allclose(PriorRidge(1e9).fit(*domains[1], source=source).weights_, source.weights_, atol=1e-6)
    alone = RidgeMap(1e-9).fit(*domains[1])
    pulled = PriorRidge(1e-9).fit(*domains[1], source=source)
    assert_allclose(pulled.weights_, alone.weights_, atol=1e-6)
    assert_allclose(pulled.transform(domains[1][0]), alone.transform(domains[1][0]), atol=1e-5)


def test_a_source_of_zeros_is_ridge_regression(domains):
    nothing = RidgeMap().fit(domains[0][0], 0 * domains[0][1])
    x, y = domains[1]
    prior, ridge = PriorRidge(0.2).fit(x, y, source=nothing), RidgeMap(0.2).fit(x, y)
    assert_allclose(prior.weights_, ridge.weights_, atol=1e-12)
    assert_allclose(prior.transform(y, view=1), ridge.transform(y, view=1), atol=1e-12)


def test_a_shift_of_the_target_costs_nothing(domains):
    source = RidgeMap(0.01).fit(*domains[0])
    x, y = domains[1]
    here, there = (PriorRidge(0.2).fit(x + d, y - d, source=source).transform(x + d) for d in (0, 100))
    assert_allclose(here, there, atol=1e-5)


def test_a_related_source_helps_and_an_opposite_one_hurts(domains):
    x, y = domains[1]
    good = RidgeMap(0.01).fit(*domains[0])
    bad = RidgeMap(0.01).fit(domains[0][0], -domains[0][1])

    def error(matcher):
        return ((matcher.transform(x[50:]) - matcher.transform(y[50:], view=1)) ** 2).mean()

    alone = error(RidgeMap(0.5).fit(x[:5], y[:5]))
    assert error(PriorRidge(0.5).fit(x[:5], y[:5], source=good)) < alone
    assert error(PriorRidge(0.5).fit(x[:5], y[:5], source=bad)) > alone


def test_a_pulled_map_can_be_a_source(domains):
    source = RidgeMap(0.01).fit(*domains[0])
    first = PriorRidge(0.2).fit(*domains[1], source=source)
    assert_allclose(PriorRidge(1e9).fit(*domains[1], source=first).weights_, first.weights_, atol=1e-6)


def test_bad_input(domains):
    source = RidgeMap(0.01).fit(*domains[0])
    x, y = domains[1]
    for alpha in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="alpha must be positive"):
            PriorRidge(alpha)
    with pytest.raises(RuntimeError, match="not fitted"):
        PriorRidge().fit(x, y, source=RidgeMap())
    with pytest.raises(ValueError, match="same encoders"):
        PriorRidge().fit(x[:, :5], y, source=source)
    with pytest.raises(ValueError, match="row by row"):
        PriorRidge().fit(x[:9], y, source=source)
    with pytest.raises(ValueError, match="at least two"):
        PriorRidge().fit(x[:1], y[:1], source=source)
    with pytest.raises(ValueError, match="NaN"):
        PriorRidge().fit(x * np.nan, y, source=source)
    with pytest.raises(RuntimeError, match="not fitted"):
        PriorRidge().transform(x)
