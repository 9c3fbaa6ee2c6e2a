"""Kernel canonical correlation analysis: CCA of what kernels make of the views."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy import linalg
from scipy.spatial.distance import cdist

from xmr_lab._validation import check_pairs, check_view, require_fitted

from .cca import CCA

__all__ = ["KernelCCA"]

Kernel = Literal["linear", "rbf"]


class KernelCCA:
    r"""Regularised CCA between the feature spaces of two kernels.

    The centred kernel matrix of the training rows is :math:`U \Lambda U^\top`; the rows of :math:`U \Lambda^{1/2}` are
    coordinates in feature space, and `CCA` of these coordinates is kernel CCA. A new row has the coordinates
    :math:`k U \Lambda^{-1/2}`, with k its centred kernel values with the training rows. Without regularisation any two
    views of n items correlate perfectly, as there are n coordinates.

    Args:
        n_components: directions to keep, at most the rank of the narrower kernel (one less than the rows, or fewer).
        kernel: ``"linear"``, :math:`x^\top y`, or ``"rbf"``, :math:`e^{-\gamma \lVert x - y \rVert^2 / s}` with s the
            mean squared distance between training rows, so that gamma does not depend on scale; or one for each view.
        gamma: how narrow the RBF kernel is; or one for each view.
        regularization, power: as in `CCA`.

    References:
        Hardoon, Szedmak & Shawe-Taylor (2004), doi:10.1162/0899766042321814; Bach & Jordan (2002), Kernel independent
        component analysis, JMLR 3.
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        kernel: Kernel | tuple[Kernel, Kernel] = "rbf",
        gamma: float | tuple[float, float] = 1.0,
        regularization: float | tuple[float, float] = 0.1,
        power: float | tuple[float, float] = 1.0,
    ) -> None:
        self.kernels = (kernel, kernel) if isinstance(kernel, str) else tuple(kernel)
        self.gammas = tuple(gamma) if isinstance(gamma, tuple) else (gamma, gamma)
        if len(self.kernels) != 2 or not set(self.kernels) <= set(get_args(Kernel)):
            raise ValueError(f"kernel must be one of {get_args(Kernel)}, or a pair of them, got {kernel!r}")
        if len(self.gammas) != 2 or not all(g > 0 for g in self.gammas):
            raise ValueError(f"gamma must be positive, or a pair of positive numbers, got {gamma}")
        self.cca = CCA(n_components, regularization=regularization, power=power)

    def fit(self, x: np.ndarray, y: np.ndarray) -> KernelCCA:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y).

        Raises:
            ValueError: for shapes that do not pair, NaN, a constant view, or more components than a kernel's rank.
        """
        self.views_ = check_pairs(x, y)
        self.scales_ = [2 * float(view.var(axis=0).sum()) for view in self.views_]  # mean squared distance
        if 0 in self.scales_:
            raise ValueError(f"view {self.scales_.index(0)} has the same numbers in all rows")
        self.kernel_means_, self.projections_, coordinates = [], [], []
        for number, view in enumerate(self.views_):
            kernel = self._kernel(view, number)
            self.kernel_means_.append(kernel.mean(axis=0))  # (n,)
            values, vectors = linalg.eigh(self._centred(kernel, number))
            kept = values > values[-1] * len(values) * np.finfo(float).eps
            self.projections_.append(vectors[:, kept] / np.sqrt(values[kept]))  # (n, rank)
            coordinates.append(vectors[:, kept] * np.sqrt(values[kept]))
        self.cca.fit(*coordinates)
        self.correlations_ = self.cca.correlations_
        return self

    def _kernel(self, x: np.ndarray, view: int) -> np.ndarray:
        if self.kernels[view] == "linear":
            return x @ self.views_[view].T
        squared = cdist(x, self.views_[view], "sqeuclidean")
        return np.exp(-self.gammas[view] * squared / self.scales_[view])

    def _centred(self, kernel: np.ndarray, view: int) -> np.ndarray:
        """Kernel values (m, n) after the training mean has been subtracted in feature space."""
        means = self.kernel_means_[view]
        return kernel - kernel.mean(axis=1, keepdims=True) - means + means.mean()

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the shared space, (n, n_components) float32 of length 1."""
        require_fitted(self, "correlations_")
        x = check_view(x, view, *(each.shape[1] for each in self.views_))
        return self.cca.transform(self._centred(self._kernel(x, view), view) @ self.projections_[view], view)
