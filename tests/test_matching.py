"""Matchers against naive versions, closed forms and other libraries; and what bad input does."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from xmr_lab.fusion import fuse_scores, standardize_scores
from xmr_lab.matching import CCA, ConSE, MaxSimRidge, RidgeMap, TwoTower, info_nce, maxsim

MATCHERS = [RidgeMap(0.1), CCA(4), TwoTower(8, epochs=2)]  # small for testing


@pytest.fixture
def pairs(rng):
    """Two noisy linear images of the same 6 hidden numbers (small for testing)."""
    hidden = rng.normal(size=(200, 6))
    x = hidden @ rng.normal(size=(6, 20)) + 0.3 * rng.normal(size=(200, 20)) + 3
    y = hidden @ rng.normal(size=(6, 12)) + 0.3 * rng.normal(size=(200, 12)) - 1
    return x, y


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def top1(matcher, x, y):
    scores = matcher.transform(x) @ matcher.transform(y, view=1).T
    return (scores.argmax(axis=1) == np.arange(len(x))).mean()


@pytest.mark.parametrize("n", [15, 200], ids=["fewer rows than columns (dual)", "more (primal)"])
def test_ridge_equals_scikit_learn(pairs, n):
    from sklearn.linear_model import Ridge

    x, y = pairs[0][:n], pairs[1][:n]
    ours = RidgeMap(alpha=0.5).fit(x, y)
    theirs = Ridge(alpha=0.5 * n).fit(x, y)
    assert_allclose(ours.weights_, theirs.coef_.T, atol=1e-8)


def test_unregularised_cca_whitens_and_orders_both_views(pairs):
    """Correlations of the transformed views are the singular values, and the views come out white."""
    x, y = pairs
    cca = CCA(6, regularization=0).fit(x, y)
    left = (x - x.mean(0)) @ cca.directions_[0]
    right = (y - y.mean(0)) @ cca.directions_[1]
    assert_allclose(left.T @ left / len(x), np.eye(6), atol=1e-8)
    assert_allclose(np.diag(left.T @ right / len(x)), cca.correlations_, atol=1e-8)


def test_unregularised_cca_equals_scikit_learn(pairs):
    from sklearn.cross_decomposition import CCA as SklearnCCA

    x, y = pairs
    theirs = SklearnCCA(n_components=3, max_iter=5000, tol=1e-10).fit(x, y)
    left, right = theirs.transform(x, y)
    want = [np.corrcoef(left[:, i], right[:, i])[0, 1] for i in range(3)]
    assert_allclose(CCA(3, regularization=0).fit(x, y).correlations_, want, atol=1e-6)


def test_cca_with_more_columns_than_rows_stays_finite(rng):
    cca = CCA(4, regularization=0).fit(rng.normal(size=(10, 30)), rng.normal(size=(10, 30)))
    assert np.isfinite(cca.transform(rng.normal(size=(5, 30)))).all()


def test_conse_equals_the_formula_written_out(rng):
    names = rng.normal(size=(7, 3))
    probabilities = rng.dirichlet(np.ones(7), size=4)
    got = ConSE(names, top=2, center=False).transform(probabilities)
    for row, vector in zip(probabilities, got, strict=True):
        best = np.argsort(row)[-2:]
        want = sum(row[c] * names[c] for c in best)
        assert_allclose(vector, want / np.linalg.norm(want), atol=1e-6)


def test_conse_places_a_certain_picture_at_its_class_name(rng):
    names = rng.normal(size=(7, 3))
    conse = ConSE(names, top=3)
    scores = conse.transform(np.eye(7)) @ conse.transform(names, view=1).T
    assert_allclose(np.diag(scores), 1, atol=1e-6)


def test_info_nce_equals_the_loop(rng):
    q, g = (torch.nn.functional.normalize(torch.tensor(rng.normal(size=(6, 4)))) for _ in range(2))
    total = 0.0
    for i in range(6):
        for a, b in ((q, g), (g, q)):
            scores = [float(a[i] @ b[j]) / 0.1 for j in range(6)]
            total -= scores[i] - np.log(np.sum(np.exp(scores)))
    assert_allclose(float(info_nce(q, g, 0.1)), total / 12, rtol=1e-6)


def test_info_nce_leaves_out_rows_of_the_same_concept(rng):
    """Rows 0 and 3 mean the same: each then competes only with the other concepts."""
    q, g = (torch.tensor(rng.normal(size=(4, 4))) for _ in range(2))
    same = torch.eye(4, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    total = 0.0
    for i in range(4):
        rivals = [j for j in range(4) if j == i or not same[i, j]]
        for a, b in ((q, g), (g, q)):
            total -= float(a[i] @ b[i]) - np.log(sum(np.exp(float(a[i] @ b[j])) for j in rivals))
    assert_allclose(float(info_nce(q, g, 1.0, same)), total / 8, rtol=1e-6)


@pytest.mark.parametrize("matcher", [RidgeMap(0.01), CCA(6, regularization=0.01), TwoTower(16, epochs=60, dropout=0.0)])
def test_matchers_find_partners_they_have_not_seen(pairs, matcher):
    x, y = pairs
    matcher.fit(x[:150], y[:150])
    assert top1(matcher, x[150:], y[150:]) > 0.5  # chance is 0.02


def test_two_tower_is_repeatable_and_leaves_global_randomness_alone(pairs):
    state = torch.get_rng_state()
    a, b = (TwoTower(8, epochs=3, seed=1).fit(*pairs).transform(pairs[0]) for _ in range(2))
    assert np.array_equal(a, b) and torch.equal(state, torch.get_rng_state())
    assert not np.array_equal(a, TwoTower(8, epochs=3, seed=2).fit(*pairs).transform(pairs[0]))


def test_two_tower_keeps_its_best_epoch_on_validation(pairs, rng):
    x, y = pairs
    held_out = x[150:], y[150:] + 0.3 * rng.normal(size=(50, 12))
    long = TwoTower(8, epochs=200, patience=5, dropout=0.0, learning_rate=0.03).fit(x[:40], y[:40], validation=held_out)
    losses = [epoch["validation_loss"] for epoch in long.history_]
    assert len(losses) == int(np.argmin(losses)) + 1 + 5 < 200  # it waited five epochs after the best
    ends = (torch.as_tensor(long.transform(view, i)) for i, view in enumerate(held_out))
    assert_allclose(info_nce(*ends, long.temperature_).item(), min(losses), rtol=1e-5)


@pytest.mark.parametrize("matcher", MATCHERS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x[:-1], y), "199 rows and y has 200"),
        (lambda x, y: (x[0], y), "must have the shape"),
        (lambda x, y: (np.where(np.arange(200)[:, None] == 7, np.nan, x), y), "row 7"),
        (lambda x, y: (x[:1], y[:1]), "at least two pairs"),
    ],
)
def test_bad_pairs_are_refused(pairs, matcher, spoil, message):
    with pytest.raises(ValueError, match=message):
        matcher.fit(*spoil(*pairs))


def test_an_unfitted_matcher_and_a_wrong_width_say_what_to_do(pairs):
    with pytest.raises(RuntimeError, match="call fit"):
        RidgeMap().transform(pairs[0])
    with pytest.raises(ValueError, match="fitted with 20 columns; got 12"):
        RidgeMap().fit(*pairs).transform(pairs[1], view=0)


def test_standardised_scores_do_not_depend_on_scale_or_shift(rng):
    scores = rng.normal(size=(5, 7))
    assert_allclose(standardize_scores(scores), standardize_scores(3 * scores + 2), atol=1e-12)
    assert_allclose(fuse_scores([scores, 100 * scores]), 2 * standardize_scores(scores), atol=1e-12)


def test_scores_that_cannot_be_fused_are_refused(rng):
    with pytest.raises(ValueError, match="same shape"):
        fuse_scores([np.zeros((2, 3)), np.zeros((3, 2))])
    with pytest.raises(ValueError, match="finite"):
        standardize_scores(np.array([[np.nan]]))


def test_maxsim_equals_the_loop(rng):
    a, b = ([rng.normal(size=(int(n), 3)) for n in rng.integers(1, 6, size=4)] for _ in range(2))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            cosine = (x / np.linalg.norm(x, axis=1)[:, None]) @ (y / np.linalg.norm(y, axis=1)[:, None]).T
            want = (np.mean([max(row) for row in cosine]) + np.mean([max(row) for row in cosine.T])) / 2
            assert_allclose(maxsim(a, b)[i, j], want, atol=1e-6)


def test_maxsim_ridge_finds_sequences_that_share_words_in_another_order(rng):
    """Two-word phrases; the unseen ones are the seen ones with their words swapped (small for testing)."""
    words, meanings = rng.normal(size=(12, 16)), rng.normal(size=(12, 8))
    pairs = rng.permutation(12).reshape(6, 2)
    phrases = [words[pair] + 0.1 * rng.normal(size=(2, 16)) for pair in pairs]
    meaning = np.stack([meanings[pair].sum(axis=0) for pair in pairs])
    swapped = [frames[::-1] for frames in phrases]
    assert top1(MaxSimRidge().fit(phrases, meaning), swapped, meaning) == 1


def test_maxsim_refuses_an_empty_sequence():
    with pytest.raises(ValueError, match="sequence 1 must be finite"):
        maxsim([np.eye(2)], [np.eye(2), np.empty((0, 2)), np.eye(2)])


def test_concepts_must_fit_the_pairs(pairs):
    with pytest.raises(ValueError, match="one entry for each of 200 pairs, got 201"):
        TwoTower(8, epochs=1).fit(*pairs, concepts=np.arange(201))


def test_maxsim_ridge_refuses_an_empty_sequence_and_a_wrong_width(rng):
    with pytest.raises(ValueError, match="sequence 1 must be finite"):
        MaxSimRidge().fit([np.ones((2, 3)), np.ones((0, 3))], np.ones((2, 2)))
    fitted = MaxSimRidge().fit(list(rng.normal(size=(4, 2, 3))), rng.normal(size=(4, 2)))
    with pytest.raises(ValueError, match="frames of 3 columns; got 1"):
        fitted.transform([np.ones((2, 1))])


@pytest.mark.parametrize("seed", range(4))
def test_cca_of_far_fewer_pairs_than_columns(seed):
    """Most eigenvalues of the regularised covariance are then equal, on which some eigensolvers fail."""
    x = np.random.default_rng(seed).normal(size=(10, 1280))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    matcher = CCA(4, regularization=0.8).fit(x, x[:, :384])
    assert np.isfinite(matcher.transform(x)).all() and (np.diff(matcher.correlations_) <= 1e-9).all()
