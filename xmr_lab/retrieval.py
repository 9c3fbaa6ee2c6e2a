"""Queries x gallery -> ranking: exact search by cosine or dot product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from xmr_lab._tiles import Metric, as_vectors, in_threads, rounding_error, slices

__all__ = ["Ranking", "retrieve", "similarity"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best gallery items of each query, best first.

    Attributes:
        ids: (n_queries, k) int64, rows of the gallery.
        scores: (n_queries, k), descending.
    """

    ids: np.ndarray
    scores: np.ndarray


def similarity(queries: ArrayLike, gallery: ArrayLike, *, metric: Metric = "cosine") -> np.ndarray:
    """The score of every query with every gallery item.

    For score matrices that are to be shown or combined. Each score is computed in float64 with a fixed order
    of additions and rounded once, so identical vectors score the same, which a bare matrix product does not
    promise and takes a tenth of the time for. `retrieve` and `rank_relevant` see the very same scores, never
    hold them whole, and cost little more than the product.

    Args:
        queries: (n_queries, d) vectors.
        gallery: (n_gallery, d) vectors.
        metric: ``"cosine"``, where a vector of zeros scores 0 with everything, or ``"dot"``.

    Returns:
        (n_queries, n_gallery) scores, float32, or float64 if a side is.

    Raises:
        ValueError: if a side is empty, not a matrix or not finite, or the dimensions differ.

    Examples:
        >>> similarity([[2.0, 0.0]], [[1.0, 0.0], [0.0, 3.0]])
        array([[1., 0.]])
    """
    from xmr_lab import _kernels

    x, y = as_vectors(queries, gallery, metric)
    rounding_error(x, y)  # for its check that no score overflows
    scores = np.empty((len(x), len(y)), x.dtype)
    in_threads(lambda rows: _kernels.score_all(x[rows], y, scores[rows]), slices(len(x), 16))
    return scores


def retrieve(
    queries: ArrayLike,
    gallery: ArrayLike,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    chunk_size: int | None = None,
) -> Ranking:
    """The ``k`` best gallery items of each query, by exhaustive search.

    Among equal scores the lower gallery row comes first. The matrix product is computed in tiles and serves
    as a filter: what may belong to the top ``k`` is scored again as in `similarity`, so neither
    ``chunk_size`` nor the number of threads changes the result.

    Args:
        queries: (n_queries, d) vectors.
        gallery: (n_gallery, d) vectors.
        k: how many, at least 1; larger than the gallery means the whole gallery.
        metric: as in `similarity`.
        chunk_size: side of the square tiles of scores; changes memory and speed only.

    Raises:
        ValueError: as `similarity`, and if ``k`` or ``chunk_size`` is below 1.

    Examples:
        >>> retrieve([[1.0, 0.2]], [[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]], k=2).ids
        array([[1, 2]])
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    from xmr_lab import _kernels

    x, y = as_vectors(queries, gallery, metric)
    slack = rounding_error(x, y)
    k = min(k, len(y))
    scores = np.full((len(x), k), -np.inf, x.dtype)
    ids = np.full((len(x), k), len(y))

    def search(rows: slice) -> None:
        for columns in slices(len(y), chunk_size):
            tile = x[rows] @ y[columns].T  # (n_rows, n_columns)
            _kernels.top_tile(tile, x[rows], y[columns], slack[rows], columns.start, scores[rows], ids[rows])

    in_threads(search, slices(len(x), chunk_size))
    order = np.lexsort((ids, -scores))
    return Ranking(np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1))
