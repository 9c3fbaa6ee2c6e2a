"""What a shared space looks like, apart from rankings: how far two clouds stand apart, how they spread, who is a hub.

`modality_gap`, `alignment` and `uniformity` look at directions: rows are scaled to length 1 first.
`k_occurrence` counts how often each gallery item is retrieved, and `hubness` says how unevenly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from xmr_lab._tiles import Metric, as_vectors, tiles
from xmr_lab.retrieval import retrieve

__all__ = ["alignment", "hubness", "k_occurrence", "k_occurrence_from_scores", "modality_gap", "uniformity"]


def modality_gap(x: ArrayLike, y: ArrayLike) -> float:
    r"""Distance between the centres of two clouds, :math:`\lVert \bar x - \bar y \rVert`, rows of length 1.

    0 if the centres coincide, 2 if every row of one points away from every row of the other. Two small samples
    of the *same* cloud do not give 0 either; compare with halves of one cloud.

    Args:
        x: (n, d) vectors of one modality.
        y: (m, d) vectors of the other, not necessarily paired.

    Raises:
        ValueError: if a side is empty, not a matrix or not finite, has a row of zeros, or the dimensions differ.

    References:
        Liang et al. (2022), Mind the gap, arXiv:2203.02053.

    Examples:
        >>> modality_gap([[1.0, 0.0], [3.0, 0.0]], [[-1.0, 0.0]])
        2.0
    """
    x, y = _directions(x, y)
    return float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0)))


def alignment(x: ArrayLike, y: ArrayLike, *, power: float = 2.0) -> float:
    r"""How far partners are from each other: the mean of :math:`\lVert x_i - y_i \rVert^\alpha`, rows of length 1.

    Args:
        x, y: (n, d) vectors, row i of one belonging to row i of the other.
        power: the exponent :math:`\alpha`.

    Raises:
        ValueError: as `modality_gap`, and if the rows do not pair or ``power`` is not positive.

    References:
        Wang & Isola (2020), arXiv:2005.10242.

    Examples:
        >>> alignment([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]])
        2.0
    """
    x, y = _directions(x, y)
    if len(x) != len(y):
        raise ValueError(f"x and y must be paired row by row, got {len(x)} and {len(y)} rows")
    if not power > 0:
        raise ValueError(f"power must be positive, got {power}")
    return float(np.mean(np.linalg.norm(x - y, axis=1) ** power))


def uniformity(x: ArrayLike, *, t: float = 2.0, chunk_size: int | None = None) -> float:
    r"""How evenly a cloud covers the sphere: :math:`\log \operatorname{mean}_{i<j} e^{-t \lVert x_i - x_j \rVert^2}`.

    Lower is more even; 0 if all rows point the same way. Distances are computed in tiles, never held whole.

    Args:
        x: (n, d) vectors, at least two.
        t: how quickly a pair's say falls with its distance.
        chunk_size: side of the tiles; changes memory and speed only.

    Raises:
        ValueError: as `modality_gap`, and for fewer than two rows, or ``t`` or ``chunk_size`` out of range.

    References:
        Wang & Isola (2020), arXiv:2005.10242.

    Examples:
        >>> uniformity([[1.0, 0.0], [-1.0, 0.0]])
        -8.0
    """
    x, _ = _directions(x, x)
    if len(x) < 2 or not t > 0:
        raise ValueError(f"need at least two rows and t > 0, got {len(x)} rows and t = {t}")
    parts = []
    for rows, columns in tiles(len(x), len(x), chunk_size):
        if columns.start < rows.start:
            continue  # its mirror image is counted
        exponents = 2 * t * (x[rows] @ x[columns].T - 1)  # (n_rows, n_columns): -t times the squared distance
        if rows == columns:
            exponents = exponents[np.triu_indices(len(exponents), k=1)]
        if exponents.size:
            parts.append(logsumexp(exponents))
    return float(logsumexp(parts) - np.log(len(x) * (len(x) - 1) / 2))


def k_occurrence(
    queries: ArrayLike,
    gallery: ArrayLike | None = None,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    chunk_size: int | None = None,
) -> np.ndarray:
    """How often each gallery item is among the ``k`` best of a query.

    Args:
        queries: (n_queries, d) vectors.
        gallery: (n_gallery, d) vectors; None if the queries are the gallery, where no item is its own result.
        k: how many results count.
        metric, chunk_size: as in `xmr_lab.retrieval.retrieve`.

    Returns:
        (n_gallery,) counts; their mean is ``k * n_queries / n_gallery``.

    Raises:
        ValueError: as `xmr_lab.retrieval.retrieve`, and if the gallery has no ``k`` items to return.

    References:
        Radovanović, Nanopoulos & Ivanović (2010), Hubs in space, JMLR 11, 2487-2531.

    Examples:
        >>> k_occurrence([[1.0, 0.1], [1.0, -0.1]], [[1.0, 0.0], [0.0, 1.0]], k=1)
        array([2, 0])
    """
    alone = gallery is None
    items = queries if gallery is None else gallery
    n = len(np.asarray(items))
    _check_k(k, n - alone)
    ids = retrieve(queries, items, k + alone, metric=metric, chunk_size=chunk_size).ids
    if alone:  # drop each item from its own results; if copies of it took its place, the last result
        own = ids == np.arange(n)[:, None]
        own[~own.any(axis=1), -1] = True
        ids = ids[~own]
    return np.bincount(ids.ravel(), minlength=n)


def k_occurrence_from_scores(scores: ArrayLike, k: int = 10) -> np.ndarray:
    """`k_occurrence` for scores that exist already, (n_queries, n_gallery); among equals the lower row comes first.

    Raises:
        ValueError: if the scores are empty, not a matrix, NaN, or have fewer than ``k`` columns.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or not scores.size or np.isnan(scores).any():
        raise ValueError(f"scores must be a non-empty matrix without NaN, got shape {scores.shape}")
    _check_k(k, scores.shape[1])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # (n_queries, k)
    return np.bincount(best.ravel(), minlength=scores.shape[1])


def hubness(occurrences: ArrayLike) -> float:
    r"""The skewness :math:`\operatorname{E}(N - \mu)^3 / \sigma^3` of `k_occurrence`: large if a few items take all.

    Args:
        occurrences: (n_gallery,) counts. If all are equal there are no hubs: 0.

    Raises:
        ValueError: if there are fewer than two, or one is not finite.

    References:
        Radovanović, Nanopoulos & Ivanović (2010), Hubs in space, JMLR 11, 2487-2531.

    Examples:
        >>> round(hubness([0, 0, 0, 4]), 3), hubness([1, 1, 1, 1])
        (1.155, 0.0)
    """
    counts = np.asarray(occurrences, np.float64)
    if counts.ndim != 1 or len(counts) < 2 or not np.isfinite(counts).all():
        raise ValueError(f"occurrences must be at least two finite counts in a row, got shape {counts.shape}")
    if (counts == counts[0]).all():
        return 0.0
    return float(np.mean(((counts - counts.mean()) / counts.std()) ** 3))


def _directions(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as float64 rows of length 1."""
    sides = as_vectors(np.asarray(x, np.float64), np.asarray(y, np.float64), "cosine")
    for name, side in zip("xy", sides, strict=True):
        if len(zero := np.flatnonzero(~side.any(axis=1))):
            raise ValueError(f"row {zero[0]} of {name} is all zeros and points nowhere: leave such rows out")
    return sides


def _check_k(k: int, available: int) -> None:
    if not 1 <= k <= available:
        raise ValueError(f"k must lie between 1 and the {available} items that a query can find, got {k}")
