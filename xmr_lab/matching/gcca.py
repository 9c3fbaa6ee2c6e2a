"""Generalised canonical correlation analysis: two or more views, of which items may lack some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from xmr_lab._validation import check_view, check_views, require_fitted, unit

__all__ = ["GCCA"]


class GCCA:
    r"""Generalised CCA of the MAXVAR kind: factors of the items that every view can predict.

    Stationary points of :math:`\operatorname{tr}(T^\top \sum_v w_v P_v T)`, where :math:`P_v = X_v (n_v C_v)^{-1}
    X_v^\top` maps the factors to what a regression on view v makes of them, with :math:`C_v = (1-r) \Sigma_v + r
    \tfrac{\operatorname{tr} \Sigma_v}{d_v} I`. An item that lacks a view has zeros in its :math:`P_v`; the factors are
    scaled by :math:`T^\top N T = I`, with N the total weight of each item's views (the passive treatment of missing
    data). View v is mapped by its regression on the factors. For two complete views and r = 0 it is `CCA`.

    Args:
        n_components: factors.
        regularization: r in [0, 1], for all views or one for each.
        weights: :math:`w_v`, one positive number a view; equal by default.
        power: factors are weighted by ``agreement ** power``; 0 weights all alike.

    Attributes:
        agreements_: (n_components,) the part of each eigenvalue that is between views: 0 where one view alone knows
            the factor, 1 where all agree (more is possible with regularisation); the mean correlation of two views.
            The factors of largest agreement are kept.

    References:
        Kettenring (1971), doi:10.1093/biomet/58.3.433; missing rows: van de Velden & Takane (2012),
        doi:10.1007/s00180-011-0276-y; for texts: Rastogi, Van Durme & Arora (2015), doi:10.3115/v1/N15-1058.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> hidden = rng.normal(size=(300, 1))
        >>> views = [np.hstack([hidden, rng.normal(size=(300, 2))]) for _ in range(3)]
        >>> GCCA(2, regularization=0).fit(*views).agreements_.round(1)
        array([1. , 0.1])
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        regularization: float | Sequence[float] = 0.1,
        weights: Sequence[float] | None = None,
        power: float = 1.0,
    ) -> None:
        if n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {n_components}")
        self.n_components, self.regularization, self.weights, self.power = n_components, regularization, weights, power

    def fit(self, *views: np.ndarray) -> GCCA:
        """Fit to ``views`` (n, d_v) each; a row of NaN says that the item lacks this view.

        Raises:
            ValueError: for views that do not pair, an item without any view, a row that is partly NaN, a constant
                view, or more components than the views have directions.
        """
        checked = check_views(*views, missing=True)
        strengths = np.broadcast_to(np.asarray(self.regularization, np.float64), (len(checked),))
        shares = np.ones(len(checked)) if self.weights is None else np.asarray(self.weights, np.float64)
        if not ((strengths >= 0) & (strengths <= 1)).all() or shares.shape != strengths.shape or not (shares > 0).all():
            raise ValueError(
                f"need regularization in [0, 1] and positive weights, one for each of {len(checked)} views, "
                f"got {self.regularization} and {self.weights}"
            )
        present = np.stack([~np.isnan(view[:, 0]) for view in checked])  # (n_views, n)
        self.means_ = [np.nanmean(view, axis=0) for view in checked]
        whitened: list[np.ndarray] = []
        whiteners: list[np.ndarray] = []
        for view, has, mean, r in zip(checked, present, self.means_, strengths, strict=True):
            left, sizes, right = linalg.svd(view[has] - mean, full_matrices=False)
            kept = sizes > sizes[0] * max(view.shape) * np.finfo(float).eps
            if not kept.any():
                raise ValueError(f"view {len(whitened)} has the same numbers in all rows")
            variances = sizes[kept] ** 2 / has.sum()
            root = np.sqrt((1 - r) * variances + r * variances.sum() / view.shape[1])
            whitened.append(np.zeros((len(view), int(kept.sum()))))
            whitened[-1][has] = left[:, kept] * (np.sqrt(variances) / root)  # P_v = H H' for these rows H
            whiteners.append(right[kept].T / root)  # (d_v, rank)
        totals = shares @ present  # (n,)
        blocks = [h * np.sqrt(w / totals)[:, None] for h, w in zip(whitened, shares, strict=True)]
        left, sizes, right = linalg.svd(np.hstack(blocks), full_matrices=False)
        if self.n_components > len(sizes):
            raise ValueError(f"n_components is {self.n_components}, but there are only {len(sizes)} directions")
        parts = np.split(right.T, np.cumsum([block.shape[1] for block in blocks])[:-1])
        own = sum(((block @ part) ** 2).sum(axis=0) for block, part in zip(blocks, parts, strict=True))
        agreements = np.maximum(sizes**2 - own, 0) / (1 - 1 / len(checked))  # what views say about each other
        best = np.argsort(-agreements, kind="stable")[: self.n_components]
        self.agreements_, left = agreements[best], left[:, best]
        self.factors_ = left * np.sqrt(totals.sum() / totals[:, None])  # (n, n_components)
        self.directions_ = [
            w @ (h[has].T @ self.factors_[has]) / np.sqrt(has.sum())
            for w, h, has in zip(whiteners, whitened, present, strict=True)
        ]
        return self

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of any one view in the shared space, (n, n_components) float32 of length 1."""
        require_fitted(self, "directions_")
        x = check_view(x, view, *map(len, self.means_)) - self.means_[view]
        return unit(x @ self.directions_[view] * self.agreements_**self.power)
