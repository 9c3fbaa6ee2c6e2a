"""CCA's relatives (PLS, ridge, kernel and generalised CCA) against cca-zoo, scikit-learn and each other."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xmr_lab.matching import CCA, GCCA, KernelCCA, RidgeMap


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def views(rng):
    """Three noisy linear images of the same 4 hidden numbers (small for testing)."""
    hidden = rng.normal(size=(120, 4))
    return [hidden @ rng.normal(size=(4, d)) + 0.5 * rng.normal(size=(120, d)) + d for d in (10, 8, 7)]


def scores(matcher, x, y, views=(0, 1)):
    return matcher.transform(x, views[0]) @ matcher.transform(y, views[1]).T


def aligned(a, b):
    """|correlation| of each column of a with the same column of b."""
    return np.abs([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(a.shape[1])])


def test_without_whitening_cca_is_the_pls_of_scikit_learn(views):
    from sklearn.cross_decomposition import PLSSVD

    x, y = views[:2]
    theirs = PLSSVD(4, scale=False).fit(x, y)
    ours = CCA(4, regularization=1.0, power=0).fit(x, y)
    for mine, other in zip(ours.directions_, (theirs.x_weights_, theirs.y_weights_), strict=True):
        assert_allclose(aligned(mine, other), 1, atol=1e-9)


def test_whitening_one_view_alone_is_ridge_regression(views):
    """All directions, the spectrum on the first view: then both sides are rotated into the second view's space."""
    x, y = views[:2]  # the second view must be the narrower one
    r, width = 0.2, x.shape[1]
    alpha = r / (1 - r) * (x - x.mean(0)).var(axis=0).sum() / width
    ours = CCA(8, regularization=(r, 1.0), power=(1, 0)).fit(x, y)
    assert_allclose(scores(ours, x, y), scores(RidgeMap(alpha).fit(x, y), x, y), atol=1e-5)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_regularised_cca_equals_cca_zoo(views, shrinkage):
    """Their ridge is a multiple of the identity, ours of its mean variance; they divide by n - 1."""
    from cca_zoo.linear import RidgeCCA

    x, y = views[:2]
    ours = CCA(3, regularization=shrinkage, power=0).fit(x, y)
    theirs = RidgeCCA(3, shrinkage=[_theirs(view, shrinkage) for view in (x, y)]).fit([x, y])
    for mine, other in zip(ours.directions_, theirs.weights_, strict=True):
        assert_allclose(aligned(mine, other), 1, atol=1e-6)


def _theirs(view, r):
    """c with (1 - c) S' + c I proportional to (1 - r) S + r tr(S)/d I, where S' = S n / (n - 1)."""
    if r == 1:
        return 1.0
    ratio = r / (1 - r) * view.var(axis=0).sum() / view.shape[1] * len(view) / (len(view) - 1)
    return ratio / (1 + ratio)


def test_kernel_cca_with_a_linear_kernel_is_cca(views):
    x, y = views[:2]
    plain, kernel = CCA(3, regularization=0), KernelCCA(3, kernel="linear", regularization=0)
    assert_allclose(scores(kernel.fit(x, y), x, y), scores(plain.fit(x, y), x, y), atol=1e-5)
    assert_allclose(kernel.correlations_, plain.correlations_)


def test_kernel_cca_equals_cca_zoo(views):
    from cca_zoo.nonparametric import KCCA
    from sklearn.metrics import pairwise_distances, pairwise_kernels
    from sklearn.preprocessing import KernelCenterer

    x, y = views[:2]
    train, new = slice(0, 80), slice(80, 120)
    ours = KernelCCA(3, gamma=0.7, regularization=0.4, power=0).fit(x[train], y[train])
    gammas, shrinkage = [], []
    for view in (x[train], y[train]):
        gammas.append(0.7 / np.mean(pairwise_distances(view, metric="sqeuclidean")))
        kernel = KernelCenterer().fit_transform(pairwise_kernels(view, metric="rbf", gamma=gammas[-1]))
        rank = len(view) - 1
        ratio = 0.4 / 0.6 * np.trace(kernel) / len(view) / rank * len(view) / (len(view) - 1)
        shrinkage.append(ratio / (1 + ratio))
    theirs = KCCA(3, kernel="rbf", gamma=gammas, shrinkage=shrinkage).fit([x[train], y[train]])
    for view, rows in enumerate((x, y)):
        got, want = ours.transform(rows[new], view), theirs.transform([x[new], y[new]])[view]
        ratio = got / want  # the lengths of rows and of directions are free: a product of one number for each
        assert_allclose(np.abs(ratio / ratio[:1]), np.abs((ratio / ratio[:1])[:, :1]) * np.ones(3), rtol=1e-4)


def test_gcca_of_complete_views_equals_cca_zoo(views):
    from cca_zoo.linear import GCCA as ZooGCCA

    ours = GCCA(3, regularization=0, power=0).fit(*views)
    theirs = ZooGCCA(3).fit(views)
    for mine, other in zip(ours.directions_, theirs.weights_, strict=True):
        assert_allclose(aligned(mine, other), 1, atol=1e-6)
        assert_allclose(np.linalg.norm(mine, axis=0) / np.linalg.norm(other, axis=0), np.sqrt(120 / 119), atol=0.02)


def test_gcca_equals_the_eigenvectors_of_the_sum_of_projections(views, rng):
    """With rows missing: the n x n matrix written out."""
    broken = [np.where(rng.random((120, 1)) < 0.2, np.nan, view) for view in views]
    keep = ~np.isnan(np.stack([view[:, 0] for view in broken])).all(axis=0)
    broken = [view[keep] for view in broken]
    ours = GCCA(3, regularization=0.3).fit(*broken)
    total, n = np.zeros((keep.sum(),) * 2), np.zeros(keep.sum())
    for view in broken:
        has = ~np.isnan(view[:, 0])
        x = np.where(has[:, None], view - np.nanmean(view, axis=0), 0)
        covariance = x.T @ x / has.sum()
        covariance = 0.7 * covariance + 0.3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        total += x @ np.linalg.inv(has.sum() * covariance) @ x.T
        n += has
    values, vectors = np.linalg.eigh(total / np.sqrt(n[:, None] * n))
    mine = ours.factors_ * np.sqrt(n)[:, None]
    mine = mine / np.linalg.norm(mine, axis=0)
    overlap = np.abs(vectors.T @ mine)  # each of ours is one of theirs, here among the first
    assert_allclose(overlap.max(axis=0), 1, atol=1e-6)
    assert (overlap.argmax(axis=0) >= len(values) - 6).all()


def test_gcca_of_two_complete_views_is_cca(views):
    x, y = views[:2]
    ours, cca = GCCA(4, regularization=0).fit(x, y), CCA(4, regularization=0).fit(x, y)
    assert_allclose(ours.agreements_, cca.correlations_, atol=1e-9)
    for mine, other in zip(ours.directions_, cca.directions_, strict=True):
        assert_allclose(aligned(mine, other), 1, atol=1e-9)


FAMILY = [CCA(3, regularization=0.2), KernelCCA(3, regularization=0.2), GCCA(3, regularization=0.2)]
IDS = ["cca", "kernel", "gcca"]


@pytest.mark.parametrize("matcher", FAMILY, ids=IDS)
def test_the_order_of_items_a_rotation_a_shift_and_a_scale_change_nothing(views, rng, matcher):
    x, y = views[:2]
    want = scores(matcher.fit(x, y), x, y)
    order = rng.permutation(len(x))
    assert_allclose(scores(matcher.fit(x[order], y[order]), x, y), want, atol=1e-5)
    turned = 7 * x @ np.linalg.qr(rng.normal(size=(10, 10)))[0] + 2
    assert_allclose(scores(matcher.fit(turned, y), turned, y), want, atol=1e-5)


@pytest.mark.parametrize("matcher", [CCA(3, regularization=0), GCCA(3, regularization=0)], ids=["cca", "gcca"])
def test_without_regularisation_any_invertible_map_of_a_view_changes_nothing(views, rng, matcher):
    x, y = views[:2]
    mapped = x @ rng.normal(size=(10, 10))
    assert_allclose(scores(matcher.fit(mapped, y), mapped, y), scores(matcher.fit(x, y), x, y), atol=1e-4)


def test_fewer_items_than_columns_correlate_perfectly_whatever_they_are(rng):
    """Noise against noise: the correlations of 1 mean nothing."""
    x, y = rng.normal(size=(20, 30)), rng.normal(size=(20, 25))
    for matcher in (CCA(19, regularization=0), KernelCCA(19, regularization=0)):
        assert_allclose(matcher.fit(x, y).correlations_, 1, atol=1e-6)
    assert_allclose(GCCA(19, regularization=0).fit(x, y).agreements_, 1, atol=1e-6)


def test_gcca_learns_from_items_that_lack_a_view(views):
    """First and third view never meet; the second is the bridge."""
    x, y, z = (view.copy() for view in views)
    x[60:], z[:60] = np.nan, np.nan
    matcher = GCCA(4, regularization=0.1).fit(x, y, z)
    found = scores(matcher, views[0][60:], views[2][60:], (0, 2)).argmax(axis=1) == np.arange(60)
    assert found.mean() > 0.3  # chance is 0.02


@pytest.mark.parametrize("matcher", FAMILY, ids=IDS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x[:-1], y), "119 rows and y has 120"),
        (lambda x, y: (x[:1], y[:1]), "at least two pairs"),
        (lambda x, y: (np.where(np.eye(120, 10) > 0, np.nan, x), y), "NaN or infinity in row 0"),
    ],
)
def test_bad_views_are_refused(views, matcher, spoil, message):
    with pytest.raises(ValueError, match=message):
        matcher.fit(*spoil(*views[:2]))


def test_bad_settings_are_refused(views):
    x, y = views[:2]
    for wrong in (1.2, (0.1, -1), (0.1, 0.2, 0.3)):
        with pytest.raises(ValueError, match="regularization must"):
            CCA(2, regularization=wrong)
    with pytest.raises(ValueError, match="kernel must be one of"):
        KernelCCA(2, kernel="cubic")
    with pytest.raises(ValueError, match="gamma must be positive"):
        KernelCCA(2, gamma=0)
    with pytest.raises(ValueError, match="one for each of 2 views"):
        GCCA(2, weights=[1, 0]).fit(x, y)
    with pytest.raises(ValueError, match="only 18 directions"):
        GCCA(30).fit(x, y)
    for matcher in (KernelCCA(2), GCCA(2)):
        with pytest.raises(ValueError, match="view 1 has the same numbers in all rows"):
            matcher.fit(x, np.ones((120, 3)))
        with pytest.raises(RuntimeError, match="not fitted yet"):
            type(matcher)().transform(x)
        with pytest.raises(ValueError, match="fitted with 10 columns; got 8"):
            matcher.fit(x, y).transform(y, view=0)


def test_constant_columns_lost_rank_and_more_columns_than_items_stay_finite(rng):
    x = np.hstack([rng.normal(size=(8, 20)), np.ones((8, 3))])
    y = np.repeat(rng.normal(size=(8, 3)), 5, axis=1)  # rank 3
    for r in (0.0, 0.5):
        for matcher in (CCA(3, regularization=r), KernelCCA(3, regularization=r), GCCA(3, regularization=r)):
            matcher.fit(x, y)
            for view, rows in enumerate((x, y)):
                assert np.isfinite(matcher.transform(rows, view)).all()
