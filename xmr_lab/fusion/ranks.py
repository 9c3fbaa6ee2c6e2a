"""Late fusion of ranked lists: reciprocal ranks, which need no scale, and CombSUM and CombMNZ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from xmr_lab._validation import check_scores

from .scores import same_shape

__all__ = ["comb_mnz", "comb_sum", "reciprocal_rank_fusion"]


def reciprocal_rank_fusion(
    matrices: Sequence[ArrayLike], *, k: float = 60.0, weights: Sequence[float] | None = None
) -> np.ndarray:
    r"""Fuse rankings by :math:`\sum_m w_m / (k + r_m)`, with :math:`r_m` = 1 for the best item of system m.

    Only the order counts, so no scale has to be made comparable; what is lost is by how much an item wins.
    Equal scores share their mean rank. A score of minus infinity means "not in this system's list", and adds
    nothing.

    Args:
        matrices: scores of each system, (n_queries, n_gallery) each, higher is better.
        k: the larger, the less the first places stand out; 60 is the authors' choice.
        weights: one for each system; equal by default.

    Returns:
        (n_queries, n_gallery) fused scores.

    Raises:
        ValueError: for shapes that differ, NaN, a negative ``k``, or not one weight for each system.

    References:
        Cormack, Clarke & Büttcher (2009), doi:10.1145/1571941.1572114.

    Examples:
        >>> reciprocal_rank_fusion([[[9.0, 5.0, 1.0]], [[0.2, 0.3, 0.1]]], k=1).round(2)
        array([[0.83, 0.83, 0.5 ]])
    """
    same_shape(matrices)
    if not k >= 0:
        raise ValueError(f"k must be at least 0, got {k}")
    if weights is not None and len(weights) != len(matrices):
        raise ValueError(f"one weight for each system is needed; got {len(weights)} for {len(matrices)}")
    fused = np.zeros(np.shape(matrices[0]))
    for weight, scores in zip([1.0] * len(matrices) if weights is None else weights, matrices, strict=True):
        scores = np.asarray(scores, np.float64)
        if scores.ndim != 2 or np.isnan(scores).any():
            raise ValueError(f"scores must be a matrix without NaN, got shape {scores.shape}")
        fused += np.where(scores > -np.inf, weight / (k + rankdata(-scores, axis=1)), 0.0)
    return fused


def comb_sum(matrices: Sequence[ArrayLike], *, depth: int | None = None) -> np.ndarray:
    """The sum of each query's scores, scaled from 0 to 1 over the first ``depth`` items of each system.

    Args:
        matrices: scores of each system, (n_queries, n_gallery) each.
        depth: how long each system's list is; what is not in it adds 0. None for the whole gallery.

    Returns:
        (n_queries, n_gallery) fused scores.

    Raises:
        ValueError: for shapes that differ, scores that are not finite, or a depth below 1.

    References:
        Fox & Shaw (1994), Combination of multiple searches, TREC-2, NIST SP 500-215.

    Examples:
        >>> comb_sum([[[4.0, 3.0, 2.0]], [[0.0, 1.0, 0.5]]])
        array([[1. , 1.5, 0.5]])
    """
    return np.sum([scores for scores, _ in _lists(matrices, depth)], axis=0)


def comb_mnz(matrices: Sequence[ArrayLike], *, depth: int) -> np.ndarray:
    """`comb_sum`, times the number of systems that have the item in their list.

    Without an end of the lists that number is the same for all items, and so is the order of `comb_sum`.

    References:
        Fox & Shaw (1994), as above; Lee (1997), doi:10.1145/258525.258587.

    Examples:
        >>> comb_mnz([[[4.0, 3.0, 2.0]], [[0.0, 1.0, 0.5]]], depth=2)
        array([[1., 2., 0.]])
    """
    lists = _lists(matrices, depth)
    return np.sum([scores for scores, _ in lists], axis=0) * np.sum([found for _, found in lists], axis=0)


def _lists(matrices: Sequence[ArrayLike], depth: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores from 0 to 1 over each query's list, and whether an item is in it."""
    same_shape(matrices)
    if depth is not None and depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    lists = []
    for scores in map(check_scores, matrices):
        found = np.ones(scores.shape, bool) if depth is None else rankdata(-scores, method="min", axis=1) <= depth
        high = scores.max(axis=1, keepdims=True)
        low = np.where(found, scores, np.inf).min(axis=1, keepdims=True)
        scaled = (scores - low) / np.where(high > low, high - low, 1.0)
        lists.append((np.where(found, np.where(high > low, scaled, 1.0), 0.0), found))
    return lists
