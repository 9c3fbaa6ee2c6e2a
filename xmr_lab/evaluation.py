"""A retrieval judged: every metric of every query, beside chance, and methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xmr_lab import metrics
from xmr_lab._tiles import Metric
from xmr_lab.intervals import bootstrap_interval

__all__ = [
    "Evaluation",
    "comparison",
    "evaluate",
    "evaluate_both",
    "evaluate_pairs",
    "evaluate_ranks",
    "evaluate_within",
    "format_comparison",
]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every metric of every query, and what chance would score.

    Attributes:
        per_query: one row a query, one column a metric; NaN where nothing is relevant.
        chance: the same for scores that are all equal, computed exactly.
        groups: (n_queries,) labels of queries that are not independent, or None.
    """

    per_query: pd.DataFrame
    chance: pd.DataFrame
    groups: np.ndarray | None = None

    @property
    def n_without_relevant(self) -> int:
        """Queries that have no value and count in no mean."""
        return int(self.per_query["average_precision"].isna().sum())

    def summary(
        self, *, n_resamples: int = 2000, confidence: float = 0.95, rng: np.random.Generator | int = 0
    ) -> pd.DataFrame:
        """One row a metric: its mean (median for ``first_rank``), interval, chance and number of queries."""
        rng = np.random.default_rng(rng)
        rows = {}
        for name, values in self.per_query.items():
            statistic: Literal["mean", "median"] = "median" if name == "first_rank" else "mean"
            low, high = bootstrap_interval(
                values,
                self.groups,
                n_resamples=n_resamples,
                confidence=confidence,
                statistic=statistic,
                rng=rng,
            )
            label = "median_rank" if name == "first_rank" else name
            n_queries = int(values.notna().sum())
            rows[label] = (values.agg(statistic), low, high, self.chance[name].agg(statistic), n_queries)
        columns = ["value", "low", "high", "chance", "queries"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def evaluate(
    queries: ArrayLike,
    gallery: ArrayLike,
    relevant: metrics.Relevance,
    *,
    ks: Sequence[int] = (1, 5, 10),
    metric: Metric = "cosine",
    ids: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    chunk_size: int | None = None,
) -> Evaluation:
    """All metrics of a retrieval, query by query.

    Args:
        queries: (n_queries, d) vectors.
        gallery: (n_gallery, d) vectors.
        relevant: as in `xmr_lab.metrics.rank_relevant`.
        ks: cut-offs.
        metric: ``"cosine"`` or ``"dot"``.
        ids: (n_queries,) unique names of the queries; their numbers by default.
        groups: (n_queries,) labels of queries that are not independent.
        chunk_size: as in `xmr_lab.metrics.rank_relevant`.

    Raises:
        ValueError: as `xmr_lab.metrics.rank_relevant`, and if ids repeat or a length does not fit.
    """
    ranks = metrics.rank_relevant(queries, gallery, relevant, metric=metric, chunk_size=chunk_size)
    return evaluate_ranks(ranks, ks=ks, ids=ids, groups=groups)


def evaluate_both(
    x: ArrayLike,
    y: ArrayLike,
    relevant: metrics.Relevance,
    *,
    ks: Sequence[int] = (1, 5, 10),
    metric: Metric = "cosine",
    ids: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
    groups: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
    chunk_size: int | None = None,
) -> tuple[Evaluation, Evaluation]:
    """`evaluate` from ``x`` to ``y`` and from ``y`` to ``x``, at the cost of one matrix product."""
    both = metrics.rank_relevant_both(x, y, relevant, metric=metric, chunk_size=chunk_size)
    forth, back = (evaluate_ranks(both[i], ks=ks, ids=ids[i], groups=groups[i]) for i in range(2))
    return forth, back


def evaluate_pairs(
    x: ArrayLike,
    y: ArrayLike,
    relevant: metrics.Relevance,
    *,
    ks: Sequence[int] = (1, 5, 10),
    ids: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Evaluation:
    """`evaluate_both` in one: every metric of every pair, averaged over its two directions.

    Args:
        x, y: (n, d) vectors, row i of one belonging to row i of the other.
        relevant: as in `xmr_lab.metrics.rank_relevant`, for example ``(concepts, concepts)``.

    Raises:
        ValueError: if they are not paired; otherwise as `evaluate_both`.
    """
    if len(np.asarray(x)) != len(np.asarray(y)):
        raise ValueError(f"x and y must be paired row by row, got {len(np.asarray(x))} and {len(np.asarray(y))} rows")
    forth, back = evaluate_both(x, y, relevant, ks=ks, ids=(ids, ids), groups=(groups, groups))
    return Evaluation((forth.per_query + back.per_query) / 2, (forth.chance + back.chance) / 2, forth.groups)


def evaluate_within(
    x: ArrayLike,
    relevant: metrics.Relevance,
    *,
    groups: ArrayLike | None = None,
    ks: Sequence[int] = (1, 5, 10),
    metric: Metric = "cosine",
    ids: ArrayLike | None = None,
) -> Evaluation:
    """All metrics of each item as a query among all others: retrieval within one modality, leave-one-out.

    Args:
        x: (n, d) vectors.
        relevant: as in `xmr_lab.metrics.rank_relevant`, for example ``(labels, labels)``.
        groups: (n,) items that are not independent, such as near-duplicates: never results of each other.

    Raises:
        ValueError: as `xmr_lab.metrics.rank_within`, and if a cut-off exceeds what some item is ranked among.
    """
    ranks = metrics.rank_within(x, relevant, groups, metric=metric)
    if ranks.n_candidates is not None and max(ks) > (fewest := int(ranks.n_candidates.min())):
        raise ValueError(f"some item is ranked among {fewest} others only; got a cut-off of {max(ks)}")
    return evaluate_ranks(ranks, ks=ks, ids=ids, groups=groups)


def evaluate_ranks(
    ranks: metrics.RelevantRanks,
    *,
    ks: Sequence[int] = (1, 5, 10),
    ids: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Evaluation:
    """`evaluate` for ranks that exist already, as those of a matrix of fused scores."""
    index = pd.Index(np.arange(len(ranks)) if ids is None else np.asarray(ids), name="query")
    labels = None if groups is None else np.asarray(groups)
    if len(index) != len(ranks) or (labels is not None and labels.shape != (len(ranks),)):
        raise ValueError(f"ids and groups must have one entry for each of {len(ranks)} queries")
    if index.has_duplicates:
        raise ValueError(f"query ids must be unique; {index[index.duplicated()][0]!r} is there twice")
    values, chance = (pd.DataFrame(_columns(each, ks), index=index) for each in (ranks, ranks.at_random()))
    return Evaluation(values, chance, labels)


def _columns(ranks: metrics.RelevantRanks, ks: Sequence[int]) -> dict[str, np.ndarray]:
    at_k = (
        metrics.hit_rate_at_k,
        metrics.recall_at_k,
        metrics.precision_at_k,
        metrics.f1_at_k,
        metrics.ndcg_at_k,
    )
    columns = {f"{f.__name__.removesuffix('_at_k')}@{k}": f(ranks, k) for f in at_k for k in ks}
    for f in (metrics.average_precision, metrics.reciprocal_rank, metrics.first_rank):
        columns[f.__name__] = f(ranks)
    return columns


def comparison(
    evaluations: Mapping[str, Evaluation],
    measures: Sequence[str] = ("hit_rate@1", "hit_rate@10", "reciprocal_rank", "median_rank"),
    *,
    rng: int = 0,
) -> pd.DataFrame:
    """Methods beside each other, chance first: one row a (method, metric) with value, low and high.

    Args:
        evaluations: all of the same queries, so that chance is the same for all.
        measures: rows of `Evaluation.summary`.
        rng: seed of the bootstrap.

    Raises:
        ValueError: if chance differs between them.
    """
    summaries = {name: evaluation.summary(rng=rng).loc[list(measures)] for name, evaluation in evaluations.items()}
    chance = next(iter(summaries.values()))["chance"]
    rows = [("chance", metric, value, np.nan, np.nan) for metric, value in chance.items()]
    for name, summary in summaries.items():
        if not np.allclose(summary["chance"], chance):
            raise ValueError(f"chance is another for {name!r}: compare methods on the same queries and gallery")
        rows += [(name, metric, row["value"], row["low"], row["high"]) for metric, row in summary.iterrows()]
    return pd.DataFrame(rows, columns=["method", "metric", "value", "low", "high"])


def format_comparison(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `comparison` for people: methods down, metrics across, each value with its interval."""

    def cell(row: pd.Series) -> str:
        digits = 1 if row["metric"] == "median_rank" else 2
        interval = "" if np.isnan(row["low"]) else f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
        return f"{row['value']:.{digits}f}{interval}"

    wide = table.assign(cell=table.apply(cell, axis=1)).pivot(index="method", columns="metric", values="cell")
    names = {axis: pd.unique(table[axis]) for axis in ("method", "metric")}
    wide = wide.loc[names["method"], names["metric"]]
    return wide.rename_axis(index=None, columns=None).rename(columns=lambda name: name.replace("_", " "))
