"""A linear map from one space into another, by ridge regression."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from xmr_lab._validation import check_pairs, check_view, require_fitted, unit

__all__ = ["RidgeMap"]


class RidgeMap:
    r"""Map the first view into the space of the second.

    Minimises :math:`\lVert XW - Y \rVert_F^2 + \alpha n \lVert W \rVert_F^2` over :math:`W`, both views centred
    on their training means. The fewer pairs, the larger ``alpha`` should be.

    Args:
        alpha: strength of the penalty, relative to the number of pairs.

    References:
        Hoerl & Kennard (1970), doi:10.1080/00401706.1970.10488634.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(50, 8))
        >>> y = x @ np.random.default_rng(1).normal(size=(8, 3))
        >>> matcher = RidgeMap(alpha=1e-6).fit(x, y)
        >>> bool((matcher.transform(x) * matcher.transform(y, view=1)).sum(axis=1).min() > 0.999)
        True
    """

    def __init__(self, alpha: float = 0.01) -> None:
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.alpha = alpha

    def fit(self, x: np.ndarray, y: np.ndarray) -> RidgeMap:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y).

        Raises:
            ValueError: for shapes that do not pair, fewer than two rows, NaN or infinity.
        """
        x, y = check_pairs(x, y)
        self.means_ = x.mean(axis=0), y.mean(axis=0)
        x, y = x - self.means_[0], y - self.means_[1]
        penalty = self.alpha * len(x)
        if len(x) < x.shape[1]:  # the dual is smaller, and gives the same map
            gram = x @ x.T + penalty * np.eye(len(x))  # (n, n)
            self.weights_ = x.T @ linalg.solve(gram, y, assume_a="pos")
        else:
            gram = x.T @ x + penalty * np.eye(x.shape[1])  # (d_x, d_x)
            self.weights_ = linalg.solve(gram, x.T @ y, assume_a="pos")
        return self

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the second view's space, (n, d_y) float32 of length 1."""
        require_fitted(self, "weights_")
        x = check_view(x, view, *map(len, self.means_)) - self.means_[view]
        return unit(x @ self.weights_ if view == 0 else x)
