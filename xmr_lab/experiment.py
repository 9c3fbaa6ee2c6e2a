"""An experiment: the same seeds for every cell, every query's value kept, and what was predicted beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xmr_lab._progress import progress_bar
from xmr_lab.intervals import bootstrap_interval

__all__ = ["Effect", "effect", "run_trials", "summarize", "values_of"]


def run_trials(
    trial: Callable[..., Mapping[str, ArrayLike]],
    cells: Iterable[Mapping[str, Any]],
    *,
    seeds: int | Sequence[int],
    queries: ArrayLike,
    groups: ArrayLike | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Run every cell of an experiment with the same seeds, and keep the value of every query.

    Args:
        trial: called as ``trial(seed=…, **cell)``; returns (n_queries,) values for each metric. What it draws,
            it must draw from ``seed`` alone: then cells with the same seed see the same draw, and are paired.
        cells: the arguments of each cell, such as ``{"method": "ridge", "pairs": 25}``, with the same keys.
        seeds: how many (0, 1, …), or which.
        queries: (n_queries,) their ids, unique.
        groups: (n_queries,) labels of queries that are not independent; the ids by default.

    Returns:
        one row a (cell, seed, query): the cell's columns, ``seed``, ``query``, ``group``, one column a metric.

    Raises:
        ValueError: if ids repeat, cells differ in their keys, or a trial returns another number of values.

    Examples:
        >>> def trial(method, seed):
        ...     return {"hit": np.random.default_rng(seed).random(3) < (0.9 if method == "good" else 0.1)}
        >>> table = run_trials(trial, [{"method": "good"}, {"method": "bad"}], seeds=5, queries=list("abc"))
        >>> len(table), summarize(table, ["method"], "hit")["value"].round(2).tolist()
        (30, [0.8, 0.13])
    """
    queries = np.asarray(queries)
    groups = queries if groups is None else np.asarray(groups)
    if len(set(queries.tolist())) != len(queries) or groups.shape != queries.shape:
        raise ValueError(f"need unique query ids and a group for each, got {queries.shape} and {groups.shape}")
    numbers = range(seeds) if isinstance(seeds, int) else seeds
    jobs = [(dict(cell), seed) for cell in cells for seed in numbers]
    if not jobs or len({tuple(cell) for cell, _ in jobs}) > 1:
        raise ValueError("need at least one cell and one seed, and the same keys in the same order in every cell")
    parts = []
    with progress_bar(len(jobs), "trials", progress, unit="trial") as bar:
        for cell, seed in jobs:
            values = {name: np.asarray(column, np.float64) for name, column in trial(seed=seed, **cell).items()}
            if wrong := {name: column.shape for name, column in values.items() if column.shape != queries.shape}:
                raise ValueError(f"trial {cell}, seed {seed}: expected {len(queries)} values a metric, got {wrong}")
            parts.append(pd.DataFrame({**cell, "seed": seed, "query": queries, "group": groups, **values}))
            bar.update()
    return pd.concat(parts, ignore_index=True)


def values_of(table: pd.DataFrame, metric: str, **where: Any) -> tuple[np.ndarray, np.ndarray]:
    """The values of one cell of `run_trials`: (n_seeds, n_queries), and the queries' groups, (n_queries,).

    Raises:
        ValueError: if the conditions leave nothing, or more than one cell.
    """
    rows = table
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if not len(rows) or rows.duplicated(["seed", "query"]).any():
        raise ValueError(f"{where} fits {'more than one cell' if len(rows) else 'no cell'} of the table")
    wide = rows.pivot(index="seed", columns="query", values=metric)
    return wide.to_numpy(), rows.drop_duplicates("query").set_index("query")["group"].loc[wide.columns].to_numpy()


def summarize(table: pd.DataFrame, by: Sequence[str], metric: str, *, rng: int = 0) -> pd.DataFrame:
    """One row a cell of `run_trials`: the mean over seeds and queries, its interval, and how many there were."""
    rows = []
    for key in table[list(by)].drop_duplicates().itertuples(index=False, name=None):
        values, groups = values_of(table, metric, **dict(zip(by, key, strict=True)))
        low, high = bootstrap_interval(values, groups, rng=rng)
        rows.append((*key, float(np.nanmean(values)), low, high, *values.shape))
    return pd.DataFrame(rows, columns=[*by, "value", "low", "high", "seeds", "queries"])


@dataclass(frozen=True)
class Effect:
    """A difference that somebody predicted, and what was found.

    Attributes:
        name: the claim in a few words.
        source: who made it: author, year, DOI or arXiv id.
        expected: ``"> 0"``, ``"< 0"``, or a bound such as ``0.05`` within which it should lie on both sides.
        value, low, high: the difference found and its interval.
    """

    name: str
    source: str
    expected: Literal["> 0", "< 0"] | float
    value: float
    low: float
    high: float

    @property
    def prediction(self) -> str:
        return self.expected if isinstance(self.expected, str) else f"within ±{self.expected:g}"

    @property
    def verdict(self) -> str:
        """ "shown", "reversed" (the interval says the contrary) or "open" (the interval allows both)."""
        if isinstance(self.expected, str):
            sign = 1 if self.expected == "> 0" else -1
            near, far = sorted([sign * self.low, sign * self.high])
            return "shown" if near > 0 else "reversed" if far < 0 else "open"
        if -self.expected < self.low and self.high < self.expected:
            return "shown"
        return "reversed" if self.low > self.expected or self.high < -self.expected else "open"


def effect(
    name: str,
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    expected: Literal["> 0", "< 0"] | float,
    source: str,
    rng: int = 0,
) -> Effect:
    """The mean of ``a - b``, paired by query (and by seed), with its interval, beside what was predicted.

    Args:
        name, expected, source: see `Effect`.
        a, b: (n_queries,) or (n_seeds, n_queries) values of two systems.
        groups: (n_queries,) labels of queries that are not independent.

    Raises:
        ValueError: if the shapes differ.

    Examples:
        >>> found = effect("a helps", [1, 1, 1, 0] * 9, [0, 0, 1, 0] * 9, expected="> 0", source="example")
        >>> found.value, found.verdict
        (0.5, 'shown')
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"the two systems need values for the same queries and seeds, got {a.shape} and {b.shape}")
    low, high = bootstrap_interval(a - b, groups, rng=rng)
    return Effect(name, source, expected, float(np.nanmean(a - b)), low, high)
