"""`KernelRidgeMap` and `SemanticMatching` against scikit-learn and against the formula written out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xmr_lab.matching import KernelRidgeMap, RidgeMap, SemanticMatching


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def rows(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_kernel_ridge_equals_scikit_learn(rng):
    from sklearn.kernel_ridge import KernelRidge

    x, y, new = rng.normal(size=(40, 7)), rng.normal(size=(40, 3)), rng.normal(size=(9, 7))
    ours = KernelRidgeMap(0.3, gamma=1.5).fit(x, y)
    ready = rows(x - x.mean(0))
    squared = ((ready[:, None] - ready[None]) ** 2).sum(-1)
    theirs = KernelRidge(alpha=0.3, kernel="rbf", gamma=1.5 / squared.mean()).fit(ready, y - y.mean(0))
    assert_allclose(ours.transform(new), rows(theirs.predict(rows(new - x.mean(0)))), atol=1e-6)
    assert_allclose(ours.transform(y, view=1), rows(y - y.mean(0)), atol=1e-6)


def test_a_wide_kernel_makes_the_map_linear(rng):
    """Towards gamma 0 the kernel is 1 - gamma d^2 / s: linear in rows of length 1, with a penalty to match."""
    x = rng.normal(size=(60, 5))
    y = rows(x - x.mean(0)) @ rng.normal(size=(5, 4))
    bent = KernelRidgeMap(1e-9, gamma=1e-4).fit(x, y).transform(x)
    assert_allclose((bent * RidgeMap(1e-9).fit(rows(x - x.mean(0)), y).transform(y, view=1)).sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("change", [lambda x: 5 * x, lambda x: x + 2, lambda x: x @ np.linalg.qr(np.ones((6, 6)))[0]])
def test_kernel_ridge_ignores_scale_shift_and_rotation(rng, change):
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 4))
    want = KernelRidgeMap().fit(x, y).transform(x)
    assert_allclose(KernelRidgeMap().fit(change(x), y).transform(change(x)), want, atol=1e-5)


def test_kernel_ridge_takes_more_columns_than_rows_and_refuses_what_says_nothing(rng):
    x, y = rng.normal(size=(5, 50)), rng.normal(size=(5, 3))
    assert np.isfinite(KernelRidgeMap().fit(x, y).transform(x)).all()
    with pytest.raises(ValueError, match="all alike"):
        KernelRidgeMap().fit(np.ones((5, 3)), y)
    with pytest.raises(ValueError, match="row 2"):
        KernelRidgeMap().fit(np.where(np.arange(5)[:, None] == 2, np.nan, x), y)
    with pytest.raises(ValueError, match="positive"):
        KernelRidgeMap(gamma=0)
    with pytest.raises(RuntimeError, match="not fitted"):
        KernelRidgeMap().transform(x)


def test_semantic_matching_equals_the_formula(rng):
    names, texts, p = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)), rng.dirichlet(np.ones(6), size=3)
    got = SemanticMatching(names, temperature=0.2, sharpness=0.5).scores(p, texts)
    cosines = rows(texts - names.mean(0)) @ rows(names - names.mean(0)).T
    for i in range(3):
        for j in range(5):
            q = np.exp(cosines[j] / 0.2) / np.exp(cosines[j] / 0.2).sum()
            share = np.sqrt(p[i]) / np.sqrt(p[i]).sum()
            assert got[i, j] == pytest.approx(np.log(share @ q), abs=1e-6)
    assert (got <= 0).all()


def test_semantic_matching_stays_finite_where_probabilities_underflow(rng):
    names = np.eye(4)
    scores = SemanticMatching(names, temperature=1e-4).scores(np.eye(4), names)
    assert np.isfinite(scores).all() and (scores.argmax(axis=1) == np.arange(4)).all()


def test_semantic_matching_does_not_care_about_the_order_of_classes(rng):
    names, texts, p = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)), rng.dirichlet(np.ones(6), size=3)
    order = rng.permutation(6)
    want = SemanticMatching(names).scores(p, texts)
    assert_allclose(SemanticMatching(names[order]).scores(p[:, order], texts), want, atol=1e-9)


def test_semantic_matching_refuses_what_is_no_probability(rng):
    matching = SemanticMatching(rng.normal(size=(6, 4)))
    for bad in (-np.ones((1, 6)), np.zeros((1, 6)), np.full((1, 6), np.nan), np.ones((1, 5))):
        with pytest.raises(ValueError):
            matching.scores(bad, np.ones((2, 4)))
    with pytest.raises(ValueError, match="temperature"):
        SemanticMatching(np.eye(3), temperature=0)
