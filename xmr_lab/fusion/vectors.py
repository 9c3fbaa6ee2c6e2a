"""Early fusion: several vectors of one item become one, before anything is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from xmr_lab._validation import require_fitted, unit

__all__ = ["Whitening", "concatenate", "mean_fusion", "stacked"]


def concatenate(vectors: Sequence[ArrayLike], weights: Sequence[float] | None = None) -> np.ndarray:
    r"""The vectors of each item end to end, each scaled to length 1 and weighted.

    The inner product of two such rows is the weighted sum of the parts' cosines,
    :math:`\sum_m w_m \cos(x_m, y_m)`: part m is scaled by :math:`\sqrt{w_m}`. A zero row stays zero, and then
    counts as a cosine of 0.

    Args:
        vectors: (n, d_m) for each part; the spaces and their dimensions may differ.
        weights: one for each part, not negative; equal by default. They are made to sum to 1, so that complete
            rows have length 1.

    Returns:
        (n, sum of d_m) float32.

    Raises:
        ValueError: if the numbers of rows differ, a part is not a finite matrix, or weights do not fit.

    Examples:
        >>> concatenate([[[3.0, 4.0]], [[2.0]]], weights=[1, 3]).round(2)
        array([[0.3 , 0.4 , 0.87]], dtype=float32)
    """
    parts = [_matrix(part, i) for i, part in enumerate(vectors)]
    if len({len(part) for part in parts}) != 1:
        raise ValueError(f"need parts with the same number of rows, got {[part.shape for part in parts]}")
    shares = _shares(weights, len(parts))
    return np.hstack([unit(part) * np.float32(share**0.5) for part, share in zip(parts, shares, strict=True)])


def mean_fusion(
    vectors: Sequence[ArrayLike], mask: ArrayLike | None = None, *, weights: Sequence[float] | None = None
) -> np.ndarray:
    """The weighted mean of each item's vectors, those that it has, as a row of length 1.

    All vectors must lie in *one* space. Equal dimensions do not make one: map or align them first.

    Args:
        vectors: (n, d) for each of m modalities, or an array (n, m, d).
        mask: (n, m) true where an item has the modality; what stands elsewhere, NaN even, plays no part.
        weights: one for each modality, not negative; equal by default. Of those present they are made to sum to 1.

    Returns:
        (n, d) float32.

    Raises:
        ValueError: if shapes differ, a vector that is present is not finite, or an item has no modality of
            positive weight.

    Examples:
        >>> pair = [[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [np.nan, np.nan]]]
        >>> mean_fusion(pair, mask=[[True, True], [True, False]]).round(2)
        array([[0.71, 0.71],
               [1.  , 0.  ]], dtype=float32)
    """
    x, present = stacked(vectors, mask)
    shares = present * _shares(weights, x.shape[1])  # (n, m)
    if not (shares.sum(axis=1) > 0).all():
        raise ValueError(f"item {int(np.argmin(shares.sum(axis=1)))} has no modality of positive weight")
    return unit(np.einsum("nm,nmd->nd", shares / shares.sum(axis=1, keepdims=True), x))


class Whitening:
    r"""Make the directions of a space equally long: uncorrelated, with variance 1 over the training rows.

    Rows are centred and multiplied by :math:`V \Lambda^{-1/2}` (``"pca"``), with :math:`V \Lambda V^\top` the
    covariance, or by :math:`V \Lambda^{-1/2} V^\top` (``"zca"``), which rotates back to the old axes. Inner
    products and angles are the same in both. Directions in which the training rows do not vary are dropped.

    Args:
        kind: ``"pca"`` or ``"zca"``.
        n_components: only the directions of largest variance; None for all.
        shrinkage: in [0, 1]; blends the variances with their mean over all columns. With fewer rows than columns
            some is needed: without any, all training rows become equally far from each other.

    References:
        Kessy, Lewin & Strimmer (2018), Optimal whitening and decorrelation, arXiv:1512.00809.
        Jégou & Chum (2012), for retrieval, doi:10.1007/978-3-642-33709-3_55.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(500, 3)) * [1, 10, 100]
        >>> white = Whitening().fit(x).transform(x)
        >>> bool(np.allclose(white.T @ white / 500, np.eye(3), atol=1e-4))
        True
    """

    def __init__(
        self, kind: Literal["pca", "zca"] = "pca", *, n_components: int | None = None, shrinkage: float = 0.0
    ) -> None:
        if kind not in ("pca", "zca") or not 0 <= shrinkage <= 1 or (n_components is not None and n_components < 1):
            raise ValueError(
                "need kind 'pca' or 'zca', shrinkage in [0, 1] and n_components at least 1 or None, "
                f"got {kind!r}, {shrinkage} and {n_components}"
            )
        self.kind, self.n_components, self.shrinkage = kind, n_components, shrinkage

    def fit(self, x: ArrayLike) -> Whitening:
        """Fit to rows ``x`` (n, d), two at least."""
        x = _matrix(x, 0)
        if len(x) < 2:
            raise ValueError(f"at least two rows are needed to fit; got {len(x)}")
        self.mean_ = x.mean(axis=0)
        _, sizes, directions = np.linalg.svd(x - self.mean_, full_matrices=False)
        variances = sizes**2 / len(x)
        kept = int((sizes > sizes[0] * max(x.shape) * np.finfo(float).eps).sum())
        if not kept or not sizes[0]:
            raise ValueError("all rows are equal; nothing varies that could be whitened")
        kept = min(kept, self.n_components or kept)
        blended = (1 - self.shrinkage) * variances[:kept] + self.shrinkage * variances.sum() / x.shape[1]
        self.matrix_ = directions[:kept].T / np.sqrt(blended)  # (d, kept)
        if self.kind == "zca":
            self.matrix_ = self.matrix_ @ directions[:kept]
        return self

    def transform(self, x: ArrayLike) -> np.ndarray:
        """Rows (n, d) whitened, (n, n_components or d) float32, not scaled to length 1."""
        require_fitted(self, "matrix_")
        x = _matrix(x, 0)
        if x.shape[1] != len(self.mean_):
            raise ValueError(f"fitted with {len(self.mean_)} columns; got {x.shape[1]}")
        return ((x - self.mean_) @ self.matrix_).astype(np.float32)


def stacked(vectors: Sequence[ArrayLike], mask: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """(n, m, d) float64 with zeros where an item lacks a modality, and the mask, (n, m)."""
    if isinstance(vectors, np.ndarray) and vectors.ndim == 3:
        vectors = list(vectors.swapaxes(0, 1))
    if len(shapes := {np.shape(each) for each in vectors}) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(
            f"need vectors of one space, (n, d) for each modality, got shapes {sorted(shapes)}. "
            "Map them into one space first, or use concatenate"
        )
    x = np.stack([np.asarray(each, np.float64) for each in vectors], axis=1)
    present = np.ones(x.shape[:2], bool) if mask is None else np.asarray(mask)
    if present.shape != x.shape[:2] or present.dtype != bool:
        raise ValueError(f"mask must be boolean of shape {x.shape[:2]}, got {present.dtype} {present.shape}")
    if not present.any(axis=1).all():
        raise ValueError(f"item {int(np.argmin(present.any(axis=1)))} has no modality at all")
    x = np.where(present[..., None], x, 0.0)
    if not np.isfinite(x).all():
        raise ValueError("a vector that the mask says is present holds NaN or infinity")
    return x, present


def _matrix(x: ArrayLike, position: int) -> np.ndarray:
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"vectors {position} must be a finite, non-empty matrix (n, d), got shape {x.shape}")
    return x


def _shares(weights: Sequence[float] | None, n: int) -> np.ndarray:
    """(n,) weights that sum to 1."""
    shares = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (n,) or not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
        raise ValueError(f"need {n} weights, none negative and one positive at least, got {weights}")
    return shares / shares.sum()
