"""Joint and collective factorisations against scikit-learn, closed forms and each other; and what bad input does."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import nnls

from xmr_lab.matching import CollectiveFactorization, JointNMF, JointSVD, nmf

JOINT = [JointSVD(4), CollectiveFactorization(4, regularization=0.05), JointNMF(4, n_iterations=30)]
IDS = ["svd", "collective", "nmf"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def views(rng):
    """Two noisy linear images of the same 4 hidden numbers (small for testing)."""
    hidden = rng.normal(size=(90, 4))
    x = hidden @ rng.normal(size=(4, 12)) + 0.2 * rng.normal(size=(90, 12)) + 3
    y = hidden @ rng.normal(size=(4, 9)) + 0.2 * rng.normal(size=(90, 9)) - 1
    return x, y


def balanced(*views):
    """The views side by side as the classes see them, written out."""
    centred = [view - view.mean(axis=0) for view in views]
    return np.hstack([view / np.sqrt((view**2).sum(axis=1).mean()) for view in centred])


def scores(matcher, x, y):
    return matcher.transform(x) @ matcher.transform(y, view=1).T


def test_joint_svd_is_the_pca_of_the_concatenation(views):
    from sklearn.decomposition import PCA

    matcher = JointSVD(3).fit(*views)
    theirs = PCA(3, svd_solver="full").fit(balanced(*views))
    assert_allclose(np.abs(matcher.factors_), np.abs(theirs.transform(balanced(*views))), atol=1e-9)
    assert_allclose(matcher.singular_values_, theirs.singular_values_)


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_fold_in_is_least_squares_on_the_observed_columns(views, penalty):
    """Every row's factors by `lstsq`, with rows of the penalty below the loadings."""
    x, y = views
    matcher = JointSVD(3, penalty=penalty).fit(x[:70], y[:70])
    for view, rows in enumerate((x[70:], y[70:])):
        loadings = matcher.loadings_[view]
        padded = np.vstack([loadings, np.sqrt(penalty) * np.eye(3)])
        for row, got in zip(rows, matcher.transform(rows, view), strict=True):
            target = (row - matcher.means_[view]) * matcher.scales_[view]
            want = np.linalg.lstsq(padded, np.concatenate([target, np.zeros(3)]), rcond=None)[0]
            assert_allclose(got, want / np.linalg.norm(want), atol=1e-6)


def test_an_infinite_penalty_is_what_zeros_in_the_missing_half_give(views):
    x, y = views
    matcher = JointSVD(3, penalty=np.inf).fit(x, y)
    half = np.hstack([(x - x.mean(axis=0)) * matcher.scales_[0], np.zeros_like(y)])
    want = half @ np.vstack(matcher.loadings_)
    assert_allclose(matcher.transform(x), want / np.linalg.norm(want, axis=1, keepdims=True), atol=1e-6)
    almost = JointSVD(3, penalty=1e9).fit(x, y)
    assert_allclose(almost.transform(x), matcher.transform(x), atol=1e-6)


def test_nmf_equals_scikit_learn_step_by_step(rng):
    """The same start and the same number of multiplicative updates."""
    from sklearn.decomposition import NMF

    x = rng.uniform(size=(30, 12))
    start_t, start_h = nmf(x, 3, n_iterations=1, seed=1)
    model = NMF(3, init="custom", solver="mu", max_iter=20, tol=0)
    theirs = model.fit_transform(x, W=start_t.copy(), H=start_h.copy())
    ours, ours_h = nmf(x, 3, n_iterations=21, seed=1)
    assert_allclose(ours, theirs, rtol=1e-5)
    assert_allclose(ours_h, model.components_, rtol=1e-5)


def test_nmf_never_raises_the_error_and_stays_non_negative(rng):
    x = rng.uniform(size=(20, 8))
    errors = []
    for steps in range(1, 30):
        t, h = nmf(x, 3, n_iterations=steps)
        errors.append(((x - t @ h) ** 2).sum())
        assert (t >= 0).all() and (h >= 0).all()
    assert (np.diff(errors) <= 1e-12).all()


def test_joint_nmf_splits_signs_and_folds_in_exactly(views):
    x, y = np.abs(views[0]), views[1]
    matcher = JointNMF(4, center=False, n_iterations=50).fit(x, y)
    assert matcher.signed_ == [False, True] and matcher.components_[1].shape == (4, 18)
    for row, got in zip(y[:5], matcher.transform(y[:5], view=1), strict=True):
        target = np.concatenate([np.maximum(row, 0), np.maximum(-row, 0)]) * matcher.scales_[1]
        want = nnls(matcher.components_[1].T, target)[0]
        assert_allclose(got, want / np.linalg.norm(want), atol=1e-5)
    assert (matcher.transform(x) >= 0).all()


def test_collective_factorisation_of_complete_items_is_the_svd_with_smaller_singular_values(views):
    x, y = views
    matcher = CollectiveFactorization(3, regularization=0.1, n_iterations=2000, tolerance=0).fit(x, y)
    left, sizes, right = np.linalg.svd(balanced(x, y), full_matrices=False)
    kept = np.maximum(sizes[:3] - 0.1 * np.sqrt(len(x)), 0)
    want = left[:, :3] * kept @ right[:3]
    assert_allclose(matcher.factors_ @ np.vstack(matcher.loadings_).T, want, atol=1e-6)


def test_no_step_raises_the_objective_though_items_lack_views(views, rng):
    x, y, z = *views, views[0][:, :5] ** 2
    for number, view in enumerate((x, y, z)):
        view[rng.permutation(90)[:20] if number else slice(0, 20)] = np.nan
    alone = np.isnan(np.stack([x[:, 0], y[:, 0], z[:, 0]])).all(axis=0)
    matcher = CollectiveFactorization(3, regularization=0.02).fit(x[~alone], y[~alone], z[~alone])
    assert (np.diff(matcher.losses_) <= 1e-9).all() and np.isfinite(matcher.factors_).all()
    for view, rows in enumerate((x, y, z)):
        rows = rows[~np.isnan(rows[:, 0])]
        assert_allclose(np.linalg.norm(matcher.transform(rows, view), axis=1), 1, atol=1e-5)


def test_a_missing_half_is_filled_in_where_the_truth_has_low_rank(rng):
    hidden = rng.normal(size=(80, 2))
    x, y = hidden @ rng.normal(size=(2, 6)), hidden @ rng.normal(size=(2, 5))
    broken = np.where(np.arange(80)[:, None] < 25, np.nan, y)
    matcher = CollectiveFactorization(2, regularization=1e-7, n_iterations=1000, tolerance=0).fit(x, broken)
    guess = matcher.factors_[:25] @ matcher.loadings_[1].T / matcher.scales_[1] + matcher.means_[1]
    assert np.abs(guess - y[:25]).mean() < 0.1 * np.abs(y).mean()


@pytest.mark.parametrize("matcher", JOINT[:2], ids=IDS[:2])
def test_the_order_of_items_a_rotation_and_a_scale_change_nothing(views, rng, matcher):
    x, y = views
    want = scores(matcher.fit(x, y), x, y)
    order = rng.permutation(len(x))
    assert_allclose(scores(matcher.fit(x[order], y[order]), x, y), want, atol=1e-4)
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    turned = 7 * x @ turn + 2
    assert_allclose(scores(matcher.fit(turned, y), turned, y), want, atol=1e-4)


def test_joint_nmf_does_not_depend_on_scale(views):
    x, y = np.abs(views[0]), views[1]
    matcher = JointNMF(4, n_iterations=30)
    assert_allclose(scores(matcher.fit(x, y), x, y), scores(matcher.fit(7 * x, y), 7 * x, y), atol=1e-5)


def test_without_balance_the_longer_view_has_the_say(views):
    x, y = views
    lengths = [(v**2).sum() for v in JointSVD(3, balance=False).fit(1000 * x, y).loadings_]
    assert lengths[0] > 2.99 > 0.01 > lengths[1]
    even = JointSVD(3, balance=False).fit(*np.split(balanced(x, y), [12], axis=1))
    assert_allclose(np.abs(even.factors_), np.abs(JointSVD(3).fit(x, y).factors_), atol=1e-9)


@pytest.mark.parametrize("matcher", JOINT, ids=IDS)
def test_partners_that_were_not_seen_are_found(views, matcher):
    x, y = views
    x = np.abs(x) if isinstance(matcher, JointNMF) else x
    found = scores(matcher.fit(x[:60], y[:60]), x[60:], y[60:]).argmax(axis=1) == np.arange(30)
    assert found.mean() > (0.1 if isinstance(matcher, JointNMF) else 0.5)  # chance is 0.03


@pytest.mark.parametrize("matcher", JOINT, ids=IDS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x[:-1], y), "89 rows and y has 90"),
        (lambda x, y: (x,), "at least two views"),
        (lambda x, y: (x[:1], y[:1]), "at least two pairs"),
        (lambda x, y: (np.where(np.eye(90, 12) > 0, np.nan, x), y), "NaN or infinity in row 0"),
        (lambda x, y: (0 * x, y), "view 0 has the same numbers in all rows"),
    ],
)
def test_bad_views_are_refused(views, matcher, spoil, message):
    with pytest.raises(ValueError, match=message):
        matcher.fit(*spoil(*views))


def test_bad_settings_are_refused(views):
    with pytest.raises(ValueError, match="side by side are"):
        JointSVD(40).fit(*views)
    with pytest.raises(ValueError, match="2 positive weights"):
        CollectiveFactorization(2, weights=[1, 0]).fit(*views)
    with pytest.raises(ValueError, match="penalty >= 0"):
        JointSVD(2, penalty=-1)
    with pytest.raises(ValueError, match="regularization > 0"):
        CollectiveFactorization(2, regularization=0)
    with pytest.raises(ValueError, match="without negative numbers"):
        nmf(-np.ones((2, 2)), 1)
    with pytest.raises(ValueError, match="it has now"):
        JointNMF(2, n_iterations=2).fit(np.abs(views[0]), views[1]).transform(-np.abs(views[0]))
    with pytest.raises(ValueError, match="item 3 is missing in every view"):
        CollectiveFactorization(2).fit(*(np.where(np.arange(90)[:, None] == 3, np.nan, v) for v in views))


def test_more_columns_than_items_constant_columns_and_lost_rank_stay_finite(rng):
    x = np.hstack([rng.normal(size=(8, 20)), np.ones((8, 3))])
    y = np.repeat(rng.normal(size=(8, 1)), 15, axis=1)  # rank 1
    for matcher in (JointSVD(5, penalty=0), CollectiveFactorization(5), JointNMF(5)):
        matcher.fit(np.abs(x), y)
        for view, rows in enumerate((np.abs(x), y)):
            assert np.isfinite(matcher.transform(rows, view)).all()
