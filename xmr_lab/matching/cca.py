"""Canonical correlation analysis: the directions in which two views agree most."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from xmr_lab._validation import check_pairs, check_view, require_fitted, unit

__all__ = ["CCA"]


class CCA:
    r"""Regularised canonical correlation analysis.

    Maximises :math:`\operatorname{corr}(XA_i, YB_i)` for one pair of directions after another, each
    uncorrelated with those before. ``regularization`` blends each covariance with a multiple of the identity,
    :math:`(1-r)\Sigma + r \tfrac{\operatorname{tr}\Sigma}{d} I`; without it, more features than pairs give
    correlations of 1 that mean nothing. Directions are weighted by ``correlation ** power``.

    One family: r = 0 is CCA, r = 1 does not whiten and is partial least squares (maximal covariance), and whitening
    the first view alone, ``regularization=(r, 1), power=(1, 0)`` with all directions, is ridge regression.
    ``power=0.5`` weights a product of two rows by the correlation, as canonical similarity analysis does.

    Args:
        n_components: directions to keep, at most the width of the narrower view.
        regularization: r in [0, 1], for both views or one for each.
        power: 0 weights all directions alike; for both views or one for each.

    References:
        Hotelling (1936), doi:10.1093/biomet/28.3-4.321; Hardoon et al. (2004), doi:10.1162/0899766042321814;
        the regularisation: Vinod (1976), doi:10.1016/0304-4076(76)90010-5; the weighting: Gong et al. (2014),
        arXiv:1212.4522; canonical similarity: Li, Chinchali & Topcu (2025), arXiv:2410.07610.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> shared = rng.normal(size=(500, 2))
        >>> x, y = np.hstack([shared, rng.normal(size=(500, 3))]), np.hstack([rng.normal(size=(500, 2)), shared])
        >>> CCA(n_components=3, regularization=0).fit(x, y).correlations_.round(1)
        array([1. , 1. , 0.1])
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        regularization: float | tuple[float, float] = 0.1,
        power: float | tuple[float, float] = 1.0,
    ) -> None:
        if not all(0 <= r <= 1 for r in _pair(regularization, "regularization")):
            raise ValueError(f"regularization must lie in [0, 1], got {regularization}")
        _pair(power, "power")
        if n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {n_components}")
        self.n_components, self.regularization, self.power = n_components, regularization, power

    def fit(self, x: np.ndarray, y: np.ndarray) -> CCA:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y).

        Raises:
            ValueError: for shapes that do not pair, NaN, or more components than a view has columns.
        """
        x, y = check_pairs(x, y)
        if self.n_components > min(x.shape[1], y.shape[1]):
            raise ValueError(
                f"n_components is {self.n_components}, but the views have {x.shape[1]} and {y.shape[1]} columns"
            )
        self.means_ = x.mean(axis=0), y.mean(axis=0)
        x, y = x - self.means_[0], y - self.means_[1]
        strengths = _pair(self.regularization, "regularization")
        whiten_x, whiten_y = (self._whitener(v, r) for v, r in zip((x, y), strengths, strict=True))  # (d, d) each
        between = whiten_x.T @ (x.T @ y / len(x)) @ whiten_y  # (d_x, d_y)
        left, correlations, right = linalg.svd(between, full_matrices=False)
        self.correlations_ = correlations[: self.n_components]
        self.directions_ = whiten_x @ left[:, : self.n_components], whiten_y @ right[: self.n_components].T
        return self

    def _whitener(self, x: np.ndarray, regularization: float) -> np.ndarray:
        """A matrix W with W' S W = I for the regularised covariance S; directions without variance are left out."""
        covariance = x.T @ x / len(x)
        ridge = regularization * np.trace(covariance) / len(covariance)
        regularized = (1 - regularization) * covariance + ridge * np.eye(len(covariance))
        values, vectors = linalg.eigh(regularized, driver="evd")  # others may fail if many eigenvalues are equal
        keep = values > values[-1] * 1e-10
        return vectors * np.where(keep, 1 / np.sqrt(np.where(keep, values, 1)), 0)

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the shared space, (n, n_components) float32 of length 1."""
        require_fitted(self, "directions_")
        x = check_view(x, view, *map(len, self.means_)) - self.means_[view]
        return unit(x @ self.directions_[view] * self.correlations_ ** _pair(self.power, "power")[view])


def _pair(value: float | tuple[float, float], name: str) -> tuple[float, float]:
    """One number for each of the two views."""
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be a number, or a pair with one for each view, got {value}")
    return pair
