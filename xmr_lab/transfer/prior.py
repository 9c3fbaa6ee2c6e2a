"""Transfer by model: a linear map learned from few target pairs, pulled towards one learned elsewhere."""

from __future__ import annotations

import numpy as np

from xmr_lab._validation import check_pairs, check_view, require_fitted, unit
from xmr_lab.matching import RidgeMap

__all__ = ["PriorRidge"]


class PriorRidge:
    r"""Ridge regression that is pulled towards a source map instead of towards zero.

    Minimises :math:`\lVert XW - Y \rVert_F^2 + \alpha n \lVert W - W_\text{source} \rVert_F^2` over :math:`W`, both
    views centred on their means over the target pairs, so a shift between the domains costs nothing. What the
    source map leaves unexplained is itself a ridge problem, so there is a closed form. With growing ``alpha``
    the weights become the source's; as ``alpha`` goes to 0 the source is forgotten, but for directions
    in which the target pairs do not vary.

    Args:
        alpha: strength of the pull, relative to the number of pairs.

    References:
        Kuzborskij & Orabona (2013), Stability and hypothesis transfer learning, ICML; for networks Li, Grandvalet
        & Davoine (2018), arXiv:1802.01483.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x, w = rng.normal(size=(200, 8)), rng.normal(size=(8, 3))
        >>> source = RidgeMap(0.001).fit(x, x @ w)  # many pairs of a task that is nearly the target's
        >>> few = slice(0, 4)
        >>> matcher = PriorRidge(alpha=0.1).fit(x[few], x[few] @ (w + 0.1), source=source)
        >>> bool(np.abs(matcher.weights_ - w).max() < 0.2)
        True
    """

    means_: tuple[np.ndarray, np.ndarray]
    weights_: np.ndarray

    def __init__(self, alpha: float = 0.01) -> None:
        if not 0 < alpha < np.inf:
            raise ValueError(f"alpha must be positive and finite, got {alpha}; for the source map alone, use it itself")
        self.alpha = alpha

    def fit(self, x: np.ndarray, y: np.ndarray, *, source: RidgeMap | PriorRidge) -> PriorRidge:
        """Fit to paired target rows ``x`` (n, d_x) and ``y`` (n, d_y), near the fitted map ``source``.

        Raises:
            ValueError: for shapes that do not pair, fewer than two rows, NaN or infinity, or a source map between
                spaces of other widths.
            RuntimeError: if ``source`` is not fitted.
        """
        require_fitted(source, "weights_")
        x, y = check_pairs(x, y)
        if source.weights_.shape != (x.shape[1], y.shape[1]):
            raise ValueError(
                f"the source map is of shape {source.weights_.shape}, the target pairs ask for "
                f"{(x.shape[1], y.shape[1])}; encode both domains with the same encoders"
            )
        self.means_ = x.mean(axis=0), y.mean(axis=0)
        unexplained = y - x @ source.weights_  # (n, d_y); the map below centres it
        self.weights_ = source.weights_ + RidgeMap(self.alpha).fit(x, unexplained).weights_
        return self

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the second view's space, (n, d_y) float32 of length 1."""
        require_fitted(self, "weights_")
        x = check_view(x, view, *map(len, self.means_)) - self.means_[view]
        return unit(x @ self.weights_ if view == 0 else x)
