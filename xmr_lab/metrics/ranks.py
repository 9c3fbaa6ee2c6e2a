"""Queries, gallery, relevance -> where the relevant items stand, ties included: all that a metric needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from xmr_lab._tiles import Metric, as_vectors, in_threads, rounding_error, tiles
from xmr_lab.metrics.relevance import Relevance, relevance_matrix
from xmr_lab.retrieval import similarity


@dataclass(frozen=True, eq=False)
class RelevantRanks:
    """For each query, its *tie groups* (items of equal score) that hold a relevant item, best first.

    The groups of query q are ``starts[q]:starts[q + 1]``. They determine the expected value of every metric
    over the random order of ties.

    Attributes:
        n_gallery: number of gallery items.
        starts: (n_queries + 1,) where the groups of each query begin.
        above: (n_groups,) items with a higher score than the group's.
        tied: (n_groups,) items in the group.
        relevant: (n_groups,) relevant items in the group.
        n_candidates: (n_queries,) gallery items that each query is ranked among; None: all of them.
    """

    n_gallery: int
    starts: np.ndarray
    above: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray
    n_candidates: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def query(self) -> np.ndarray:
        """(n_groups,) the query of each group."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @property
    def n_relevant(self) -> np.ndarray:
        """(n_queries,) relevant items in the gallery."""
        return np.bincount(self.query, self.relevant, minlength=len(self)).astype(np.int64)

    def at_random(self) -> RelevantRanks:
        """The same queries with all scores equal: what chance would score."""
        n_relevant = self.n_relevant
        some = n_relevant > 0
        starts = np.concatenate([[0], np.cumsum(some)])
        candidates = np.full(len(self), self.n_gallery) if self.n_candidates is None else self.n_candidates
        return replace(
            self, starts=starts, above=np.zeros(starts[-1], np.int64), tied=candidates[some], relevant=n_relevant[some]
        )


def rank_relevant(
    queries: ArrayLike,
    gallery: ArrayLike,
    relevant: Relevance,
    *,
    metric: Metric = "cosine",
    chunk_size: int | None = None,
) -> RelevantRanks:
    """Where the relevant items stand in the ranking of each query.

    The scores are those of `xmr_lab.retrieval.similarity`, bit by bit, but computed in tiles and never held
    whole: a fast matrix product decides what is clearly above or below a relevant item, and only what is
    within its rounding error is scored again. So identical vectors always tie, and neither ``chunk_size``
    nor the number of threads changes the result.

    Args:
        queries: (n_queries, d) vectors.
        gallery: (n_gallery, d) vectors.
        relevant: as in `relevance_matrix`: a boolean matrix, a tuple of two label arrays, or a list with
            the relevant gallery rows of each query. A query may have none: its metrics are NaN.
        metric: ``"cosine"``, where a vector of zeros scores 0 with everything, or ``"dot"``.
        chunk_size: side of the square tiles of scores; changes memory and speed only.

    Raises:
        ValueError: if a side is empty, not a matrix or not finite, or the sizes differ.

    Examples:
        >>> ranks = rank_relevant([[1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], [[0, 2]])
        >>> ranks.above, ranks.tied, ranks.relevant
        (array([0, 2]), array([2, 1]), array([1, 1]))
    """
    x, y = as_vectors(queries, gallery, metric)
    counter = _Counter(x, y, relevance_matrix(relevant, len(x), len(y)))
    _count([counter], chunk_size)
    return counter.ranks()


def rank_relevant_both(
    x: ArrayLike,
    y: ArrayLike,
    relevant: Relevance,
    *,
    metric: Metric = "cosine",
    chunk_size: int | None = None,
) -> tuple[RelevantRanks, RelevantRanks]:
    """`rank_relevant` from ``x`` to ``y`` and from ``y`` to ``x``, at the cost of one matrix product.

    ``relevant`` is given for queries ``x`` and gallery ``y``; the way back uses its transpose.
    """
    x, y = as_vectors(x, y, metric)
    forth = relevance_matrix(relevant, len(x), len(y))
    counters = [_Counter(x, y, forth), _Counter(y, x, sparse.csr_array(forth.T))]
    _count(counters, chunk_size)
    return counters[0].ranks(), counters[1].ranks()


def rank_relevant_from_scores(scores: ArrayLike, relevant: Relevance) -> RelevantRanks:
    """`rank_relevant` for scores that exist already, whatever made them; equal scores tie.

    Args:
        scores: (n_queries, n_gallery), higher is better.
        relevant: as in `rank_relevant`.

    Raises:
        ValueError: if the scores are empty, not a matrix or hold NaN (infinities are scores like others).
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.size == 0 or scores.dtype.kind not in "fiub":
        raise ValueError(f"scores must be a non-empty matrix of numbers, got {scores.dtype} {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError(f"scores must not be NaN, got {int(np.isnan(scores).sum())} of them")
    single = np.result_type(scores, np.float32) == np.float32
    scores = scores.astype(np.float32 if single else np.float64, order="C")
    x, y = (np.empty((n, 0), scores.dtype) for n in scores.shape)  # there are no vectors
    counter = _Counter(x, y, relevance_matrix(relevant, *scores.shape), scores)
    counter.count(scores, slice(0, scores.shape[0]), slice(0, scores.shape[1]))
    return counter.ranks()


def rank_within(
    x: ArrayLike, relevant: Relevance, groups: ArrayLike | None = None, *, metric: Metric = "cosine"
) -> RelevantRanks:
    """`rank_relevant` of each item among all others: retrieval within one modality, leave-one-out.

    The matrix of scores is held whole.

    Args:
        x: (n, d) vectors, queries and gallery at once.
        relevant: as in `rank_relevant`, for example ``(labels, labels)``.
        groups: (n,) no item is ranked among those of its own group, such as near-duplicates; by default
            each item is a group of its own.
        metric: as in `rank_relevant`.

    Raises:
        ValueError: as `rank_relevant`, if groups do not fit, or an item has nobody outside its group.

    Examples:
        >>> ranks = rank_within([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]], (["a", "b", "a"], ["a", "b", "a"]))
        >>> ranks.above, ranks.query
        (array([0, 0]), array([0, 2]))
    """
    scores = similarity(x, x, metric=metric)  # (n, n)
    n = len(scores)
    names = np.arange(n) if groups is None else np.asarray(groups)
    if names.shape != (n,):
        raise ValueError(f"groups must have one entry for each of {n} items, got shape {names.shape}")
    outside = names[:, None] != names[None, :]  # (n, n)
    if not (n_candidates := outside.sum(axis=1)).all():
        raise ValueError(f"item {int(np.argmin(n_candidates))} has nobody outside its group to be ranked among")
    allowed = relevance_matrix(relevant, n, n).toarray() & outside
    ranks = rank_relevant_from_scores(np.where(outside, scores, -np.inf), allowed)
    return replace(ranks, n_candidates=n_candidates)


class _Counter:
    """Counts, tile by tile, the scores above and equal to those of the relevant items of each query."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, relevant: sparse.csr_array, scores: np.ndarray | None = None
    ) -> None:
        from xmr_lab import _kernels

        self.x, self.y, self.kernels, self.lock = x, y, _kernels, Lock()
        query = np.repeat(np.arange(len(x)), np.diff(relevant.indptr))
        item = relevant.indices.astype(np.int64)
        if scores is None:
            self.slack = rounding_error(x, y)
            values = np.empty(len(query), x.dtype)
            _kernels.score_pairs(x, y, query, item, values)
        else:  # exact as they are
            self.slack = np.zeros(len(x), scores.dtype)
            values = scores[query, item]
        order = np.lexsort((-values, query))  # by query, best first; equal scores side by side
        values, query = values[order], query[order]
        new = np.ones(len(values), bool)
        new[1:] = (values[1:] != values[:-1]) | (query[1:] != query[:-1])
        self.levels = values[new]
        self.relevant = np.diff(np.append(np.flatnonzero(new), len(values)))
        self.starts = np.searchsorted(query[new], np.arange(len(x) + 1))
        self.above = np.zeros(len(self.levels), np.int64)
        self.tied = np.zeros(len(self.levels), np.int64)

    def count(self, scores: np.ndarray, rows: slice, columns: slice) -> None:
        starts = self.starts[rows.start : rows.stop + 1]
        groups = slice(starts[0], starts[-1])
        above, tied = np.zeros((2, groups.stop - groups.start), np.int64)
        self.kernels.count_tile(
            scores, self.x[rows], self.y[columns], starts, self.levels, self.slack[rows], above, tied
        )
        with self.lock:  # tiles of the same rows may end at the same time
            self.above[groups] += above
            self.tied[groups] += tied

    def ranks(self) -> RelevantRanks:
        return RelevantRanks(len(self.y), self.starts, self.above, self.tied, self.relevant)


def _count(counters: list[_Counter], chunk_size: int | None) -> None:
    """One way (one counter) or both (two) from the same tiles."""
    x, y, kernels = counters[0].x, counters[0].y, counters[0].kernels

    def work(tile: tuple[slice, slice]) -> None:
        rows, columns = tile
        scores = x[rows] @ y[columns].T  # (n_rows, n_columns)
        counters[0].count(scores, rows, columns)
        if len(counters) == 2:
            counters[1].count(kernels.transposed(scores), columns, rows)

    in_threads(work, tiles(len(x), len(y), chunk_size))
