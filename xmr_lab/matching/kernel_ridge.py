"""Ridge regression with an RBF kernel: a map that bends, from one space into another."""

from __future__ import annotations

import numpy as np
from scipy import linalg
from scipy.spatial.distance import cdist

from xmr_lab._validation import check_pairs, check_view, require_fitted, unit

__all__ = ["KernelRidgeMap"]


class KernelRidgeMap:
    r"""Map the first view into the space of the second, nearby training rows having the most to say.

    Kernel ridge regression with :math:`k(a, b) = e^{-\gamma \lVert a - b \rVert^2 / s}`, s the mean squared distance
    between training rows, so that gamma does not depend on scale. A row is centred and scaled to length 1 first.
    Far from all training rows the kernel vanishes, and so does the map: such a row lies at the mean.

    Args:
        alpha: strength of the penalty; the diagonal of the kernel matrix is 1.
        gamma: how narrow the kernel is; towards 0 the map becomes linear.

    References:
        Saunders et al. (1998), Ridge regression learning algorithm in dual variables, ICML.

    Examples:
        >>> angle = np.linspace(0, 3, 60)[:, None]
        >>> x, y = np.hstack([np.cos(angle), np.sin(angle)]), np.hstack([np.cos(3 * angle), np.sin(3 * angle)])
        >>> matcher = KernelRidgeMap(alpha=1e-3).fit(x[::2], y[::2])
        >>> bool((matcher.transform(x[1::2]) * matcher.transform(y[1::2], view=1)).sum(axis=1).min() > 0.99)
        True
    """

    def __init__(self, alpha: float = 0.1, *, gamma: float = 2.0) -> None:
        if not (alpha > 0 and gamma > 0):
            raise ValueError(f"alpha and gamma must be positive, got {alpha} and {gamma}")
        self.alpha, self.gamma = alpha, gamma

    def fit(self, x: np.ndarray, y: np.ndarray) -> KernelRidgeMap:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y).

        Raises:
            ValueError: for shapes that do not pair, fewer than two rows, NaN or infinity, or rows that are all alike.
        """
        x, y = check_pairs(x, y)
        self.means_ = x.mean(axis=0), y.mean(axis=0)
        self.rows_ = unit(x - self.means_[0]).astype(np.float64)
        self.scale_ = 2 * float(self.rows_.var(axis=0).sum())  # the mean squared distance
        if not self.scale_ > 0:
            raise ValueError("the rows of x are all alike; nothing can be learnt from them")
        kernel = self._kernel(self.rows_)
        self.weights_ = linalg.solve(kernel + self.alpha * np.eye(len(x)), y - self.means_[1], assume_a="pos")
        return self

    def _kernel(self, rows: np.ndarray) -> np.ndarray:
        return np.exp(-self.gamma * cdist(rows, self.rows_, "sqeuclidean") / self.scale_)  # (m, n)

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the second view's space, (n, d_y) float32 of length 1."""
        require_fitted(self, "weights_")
        x = check_view(x, view, *map(len, self.means_)) - self.means_[view]
        return unit(self._kernel(unit(x).astype(np.float64)) @ self.weights_ if view == 0 else x)
