"""Fusion: several descriptions of one item, or several scores of one pair, become one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["fuse_scores", "standardize_scores"]


def standardize_scores(scores: ArrayLike, *, axis: int | None = None) -> np.ndarray:
    """Scores with mean 0 and standard deviation 1, so that several score matrices can be summed.

    Args:
        scores: (n_queries, n_gallery).
        axis: None for the whole matrix, 1 for each query on its own, 0 for each gallery item, which takes
            from items that are near to every query ("hubs") their advantage.

    Returns:
        (n_queries, n_gallery) float64; constant scores become 0.

    Raises:
        ValueError: if the scores are empty, not a matrix or not finite.

    Examples:
        >>> standardize_scores([[1.0, 3.0], [1.0, 3.0]])
        array([[-1.,  1.],
               [-1.,  1.]])
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"scores must be a finite, non-empty matrix, got shape {scores.shape}")
    centred = scores - scores.mean(axis=axis, keepdims=True)
    deviation = scores.std(axis=axis, keepdims=True)
    constant = scores.max(axis=axis, keepdims=True) == scores.min(axis=axis, keepdims=True)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def fuse_scores(matrices: Sequence[ArrayLike], weights: Sequence[float] | None = None) -> np.ndarray:
    """The weighted sum of standardised score matrices, all (n_queries, n_gallery).

    Standardising first makes scores comparable that come from different matchers (Montague & Aslam 2001,
    doi:10.1145/502585.502657). Weights are choices: make them on validation data.

    Examples:
        >>> fuse_scores([np.array([[1.0, 3.0]]), np.array([[10.0, 10.0]])])
        array([[-1.,  1.]])
    """
    weights = [1.0] * len(matrices) if weights is None else list(weights)
    if len(weights) != len(matrices) or not matrices:
        raise ValueError(f"one weight for each matrix is needed; got {len(weights)} for {len(matrices)}")
    if len(shapes := {np.shape(matrix) for matrix in matrices}) > 1:
        raise ValueError(f"all matrices must have the same shape; got {sorted(shapes)}")
    return np.sum([w * standardize_scores(m) for w, m in zip(weights, matrices, strict=True)], axis=0)
