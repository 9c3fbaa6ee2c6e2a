"""Matrix factorisation: the views of an item, side by side, as one short row of factors times loadings.

`JointSVD` for complete items, `CollectiveFactorization` for items that lack a view. A new item usually has one view
only: its factors are those that explain this view best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from xmr_lab._validation import check_view, check_views, require_fitted, unit

__all__ = ["CollectiveFactorization", "JointSVD"]


class JointSVD:
    r"""Principal components of the views side by side; latent semantic indexing over modalities.

    Each view is centred and scaled to rows of mean squared length 1, times its weight, and :math:`[X_1, X_2, \dots]
    \approx T [V_1; V_2; \dots]^\top` by a truncated singular value decomposition. A row of view v alone has the factors
    :math:`\arg\min_t \lVert x - V_v t \rVert^2 + \alpha \lVert t \rVert^2 = (V_v^\top V_v + \alpha I)^{-1} V_v^\top x`.
    With ``penalty`` 0 that is least squares over the columns that were observed; an infinite one has the direction of
    :math:`V_v^\top x`, which is what the joint factorisation makes of zeros in place of the other views.

    Args:
        n_components: factors to keep.
        penalty: alpha, at least 0, or ``inf``.
        weights: one positive number a view, multiplied with its squared length; equal by default.
        balance: scale the views to equal length first. Without, the view with the longest rows has the say.

    References:
        Deerwester et al. (1990), Indexing by latent semantic analysis,
        doi:10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9; side by side, for two languages: Dumais et
        al. (1997), Automatic cross-language retrieval using latent semantic indexing, AAAI Spring Symposium.

    Examples:
        >>> hidden = np.random.default_rng(0).normal(size=(50, 2))
        >>> x, y = hidden @ [[1, 2, 0], [0, 1, 3]], hidden @ [[2, 1], [1, 0]]
        >>> matcher = JointSVD(2, penalty=0).fit(x, y)
        >>> bool((matcher.transform(x) * matcher.transform(y, view=1)).sum(axis=1).min() > 0.999)
        True
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        penalty: float = 0.1,
        weights: Sequence[float] | None = None,
        balance: bool = True,
    ) -> None:
        if n_components < 1 or not penalty >= 0:
            raise ValueError(f"need n_components >= 1 and penalty >= 0, got {n_components} and {penalty}")
        self.n_components, self.penalty, self.weights, self.balance = n_components, penalty, weights, balance

    def fit(self, *views: np.ndarray) -> JointSVD:
        """Fit to complete items: ``views`` (n, d_v) each, row i of all describing item i.

        Raises:
            ValueError: for views that do not pair, NaN, a constant view, or more components than rows or columns.
        """
        checked = check_views(*views)
        self.means_ = [view.mean(axis=0) for view in checked]
        self.scales_ = scales_of([v - m for v, m in zip(checked, self.means_, strict=True)], self.weights, self.balance)
        blocks = [(v - m) * s for v, m, s in zip(checked, self.means_, self.scales_, strict=True)]
        stacked = np.hstack(blocks)  # (n, sum of d_v)
        if self.n_components > min(stacked.shape):
            raise ValueError(f"n_components is {self.n_components}, but the views side by side are {stacked.shape}")
        left, sizes, right = linalg.svd(stacked, full_matrices=False)
        self.singular_values_ = sizes[: self.n_components]
        self.factors_ = left[:, : self.n_components] * self.singular_values_  # (n, n_components)
        ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
        self.loadings_ = np.split(right[: self.n_components].T, ends)  # (d_v, n_components) each
        return self

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """The factors of rows that have one view alone, (n, n_components) float32 of length 1."""
        require_fitted(self, "loadings_")
        x = (check_view(x, view, *map(len, self.means_)) - self.means_[view]) * self.scales_[view]
        return unit(fold_in(x, self.loadings_[view], self.penalty))


class CollectiveFactorization:
    r"""Views that share the factors of their items, fitted by alternating least squares; an item may lack views.

    Minimises :math:`\sum_v \lVert M_v (X_v - T V_v^\top) \rVert_F^2 + \alpha (\lVert T \rVert_F^2 + \sum_v \lVert V_v
    \rVert_F^2)` over factors T and loadings V, where :math:`M_v` keeps the items that have view v; views are centred
    and scaled as in `JointSVD`. Each half step has a closed form and cannot raise the objective. For complete items the
    minimum is the joint singular value decomposition with all singular values reduced by :math:`\alpha`.

    Args:
        n_components: factors.
        regularization: alpha relative to the root of the number of items, as which singular values grow; positive.
        weights, balance: as in `JointSVD`.
        n_iterations: steps of factors and loadings, at most.
        tolerance: stop when a step lowers the objective by less than this share.

    References:
        Singh & Gordon (2008), doi:10.1145/1401890.1401969.
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        regularization: float = 0.05,
        weights: Sequence[float] | None = None,
        balance: bool = True,
        n_iterations: int = 100,
        tolerance: float = 1e-5,
    ) -> None:
        if n_components < 1 or not regularization > 0 or n_iterations < 1:
            raise ValueError(
                "need n_components >= 1, regularization > 0 and n_iterations >= 1, "
                f"got {n_components}, {regularization} and {n_iterations}"
            )
        self.n_components, self.regularization = n_components, regularization
        self.weights, self.balance = weights, balance
        self.n_iterations, self.tolerance = n_iterations, tolerance

    def fit(self, *views: np.ndarray) -> CollectiveFactorization:
        """Fit to ``views`` (n, d_v) each; a row of NaN says that the item lacks this view.

        Raises:
            ValueError: for views that do not pair, an item without any view, a constant view, or a row that is
                partly NaN, or more components than items or columns.
        """
        checked = check_views(*views, missing=True)
        present = np.stack([~np.isnan(view[:, 0]) for view in checked])  # (n_views, n)
        self.means_ = [np.nanmean(view, axis=0) for view in checked]
        rows = [view[has] - mean for view, has, mean in zip(checked, present, self.means_, strict=True)]
        self.scales_ = scales_of(rows, self.weights, self.balance)
        blocks = [np.zeros_like(view) for view in checked]
        for block, has, row, scale in zip(blocks, present, rows, self.scales_, strict=True):
            block[has] = row * scale
        n, width = len(blocks[0]), sum(block.shape[1] for block in blocks)
        if self.n_components > min(n, width):
            raise ValueError(f"n_components is {self.n_components}, but the views side by side are {(n, width)}")
        self.penalty_ = self.regularization * np.sqrt(n)
        left, sizes, _ = linalg.svd(np.hstack(blocks), full_matrices=False)  # to start from: zeros where nothing is
        self.factors_ = left[:, : self.n_components] * np.sqrt(sizes[: self.n_components])
        patterns, pattern_of = np.unique(present.T, axis=0, return_inverse=True)
        self.losses_: list[float] = []
        for _ in range(self.n_iterations):
            self.loadings_ = [
                fold_in(block[has].T, self.factors_[has], self.penalty_)
                for block, has in zip(blocks, present, strict=True)
            ]
            for number, pattern in enumerate(patterns):  # items that have the same views are solved together
                at = pattern_of.ravel() == number
                x = np.hstack([block[at] for block, has in zip(blocks, pattern, strict=True) if has])
                loadings = np.vstack([v for v, has in zip(self.loadings_, pattern, strict=True) if has])
                self.factors_[at] = fold_in(x, loadings, self.penalty_)
            self.losses_.append(self._loss(blocks, present))
            if len(self.losses_) > 1 and self.losses_[-2] - self.losses_[-1] < self.tolerance * self.losses_[-2]:
                break
        return self

    def _loss(self, blocks: list[np.ndarray], present: np.ndarray) -> float:
        fit = sum(
            ((block[has] - self.factors_[has] @ loadings.T) ** 2).sum()
            for block, has, loadings in zip(blocks, present, self.loadings_, strict=True)
        )
        return float(fit + self.penalty_ * ((self.factors_**2).sum() + sum((v**2).sum() for v in self.loadings_)))

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """The factors of rows that have one view alone, (n, n_components) float32 of length 1."""
        require_fitted(self, "loadings_")
        x = (check_view(x, view, *map(len, self.means_)) - self.means_[view]) * self.scales_[view]
        return unit(fold_in(x, self.loadings_[view], self.penalty_))


def scales_of(rows: Sequence[np.ndarray], weights: Sequence[float] | None, balance: bool) -> list[float]:
    """The factor of each view: to rows of mean squared length 1 if ``balance``, then by the root of its weight."""
    shares = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(rows),) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(f"need {len(rows)} positive weights, one a view, got {weights}")
    lengths = np.array([(row**2).sum(axis=1).mean() for row in rows])
    tiny = [len(row) * np.finfo(float).eps ** 2 * max(1.0, float(np.abs(row).max())) for row in rows]
    if (constant := lengths <= tiny).any():
        raise ValueError(f"view {int(np.argmax(constant))} has the same numbers in all rows: nothing to factorise")
    return [float(s) for s in np.sqrt(shares / (lengths if balance else 1))]


def fold_in(x: np.ndarray, loadings: np.ndarray, penalty: float) -> np.ndarray:
    """Factors (n, k) that explain rows ``x`` (n, d) best, given loadings (d, k); ridge regression of each row."""
    if np.isinf(penalty):
        return x @ loadings
    gram = loadings.T @ loadings + penalty * np.eye(loadings.shape[1])
    if penalty == 0:  # loadings may lack rank; of all solutions, the shortest
        return x @ loadings @ linalg.pinvh(gram)
    return linalg.solve(gram, loadings.T @ x.T, assume_a="pos").T
