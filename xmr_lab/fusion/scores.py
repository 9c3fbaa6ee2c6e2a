"""Late fusion of scores: first made comparable, then added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from xmr_lab._validation import check_scores

__all__ = ["fuse_scores", "normalize_scores", "same_shape", "standardize_scores"]


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
    scores = check_scores(scores)
    centred = scores - scores.mean(axis=axis, keepdims=True)
    deviation = scores.std(axis=axis, keepdims=True)
    constant = scores.max(axis=axis, keepdims=True) == scores.min(axis=axis, keepdims=True)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def normalize_scores(
    scores: ArrayLike, kind: Literal["min-max", "z-score", "rank"] = "z-score", *, axis: int | None = 1
) -> np.ndarray:
    """Scores on a common scale: from 0 to 1, or with mean 0 and deviation 1, or by their order alone.

    Args:
        scores: (n_queries, n_gallery).
        kind: ``"min-max"`` sends the worst to 0 and the best to 1; ``"z-score"`` is `standardize_scores`;
            ``"rank"`` spaces the items evenly from 0 to 1, equal scores at their mean place.
        axis: 1 for each query on its own, 0 for each gallery item, None for the whole matrix.

    Returns:
        (n_queries, n_gallery) float64; constant scores become 0 (``"rank"``: one half).

    Raises:
        ValueError: as `standardize_scores`, and for another kind.

    References:
        Montague & Aslam (2001), Relevance score normalization for metasearch, doi:10.1145/502585.502657.

    Examples:
        >>> for kind in ("min-max", "rank"):
        ...     normalize_scores([[0.1, 0.2, 0.9]], kind)
        array([[0.   , 0.125, 1.   ]])
        array([[0. , 0.5, 1. ]])
    """
    if kind == "z-score":
        return standardize_scores(scores, axis=axis)
    scores = check_scores(scores)
    if kind == "min-max":
        low, high = scores.min(axis=axis, keepdims=True), scores.max(axis=axis, keepdims=True)
        return (scores - low) / np.where(high > low, high - low, 1.0)
    if kind != "rank":
        raise ValueError(f"unknown normalisation {kind!r}; expected 'min-max', 'z-score' or 'rank'")
    places = rankdata(scores, axis=axis).reshape(scores.shape)  # 1 for the worst
    compared = scores.size if axis is None else scores.shape[axis]
    return (places - 1) / (compared - 1) if compared > 1 else np.full(scores.shape, 0.5)


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
    same_shape(matrices)
    return np.sum([w * standardize_scores(m) for w, m in zip(weights, matrices, strict=True)], axis=0)


def same_shape(matrices: Sequence[ArrayLike]) -> None:
    if not len(matrices):
        raise ValueError("at least one matrix of scores is needed; got none")
    if len(shapes := {np.shape(matrix) for matrix in matrices}) > 1:
        raise ValueError(f"all matrices must have the same shape; got {sorted(shapes)}")
