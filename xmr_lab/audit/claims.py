"""Checks of what is said: differences within the noise, too few seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from xmr_lab.intervals import bootstrap_interval

from .evidence import Evidence
from .findings import Finding

__all__ = ["CLAIMS"]

SEEDS = 5  # fewer say little about how much training varies


def _wide(trials: pd.DataFrame, system: str) -> pd.DataFrame:
    """(n_seeds, n_queries) values of one system."""
    rows = trials[trials["system"] == system]
    seed = rows["seed"] if "seed" in rows else pd.Series(0, index=rows.index)
    return rows.assign(seed=seed).pivot_table(index="seed", columns="query", values="value", aggfunc="mean")


def noise(evidence: Evidence) -> Iterator[Finding]:
    trials = evidence.trials
    assert trials is not None
    for better, worse in evidence.claims:
        a, b = _wide(trials, better), _wide(trials, worse)
        if not len(a) or not len(b):
            missing = better if not len(a) else worse
            yield Finding("claim-without-trials", "error", f"There are no trials of {missing!r}.",
                          f"systems: {', '.join(sorted(set(map(str, trials['system']))))}",
                          "A claim about it cannot be checked.", "Keep the values of every query.")  # fmt: skip
            continue
        if set(a.columns) != set(b.columns):
            yield Finding(
                "different-queries",
                "error",
                f"{better!r} and {worse!r} were judged on different queries.",
                f"{len(set(a.columns) ^ set(b.columns))} queries are of one of them only",
                "The difference of their means is partly one of queries.",
                "Judge both on the same.",
            )
            continue
        seeds = a.index.intersection(b.index) if set(a.index) & set(b.index) else None
        if len(a) > 1 and len(b) > 1 and seeds is not None and len(seeds) == len(a) == len(b):
            difference = a.to_numpy() - b.loc[a.index, a.columns].to_numpy()
        else:
            difference = (a.mean() - b.mean()[a.columns]).to_numpy()[None]
        groups = None
        if "group" in trials:
            groups = trials.drop_duplicates("query").set_index("query")["group"].loc[a.columns].to_numpy()
        keep = ~np.isnan(difference).any(axis=0)
        low, high = bootstrap_interval(difference[:, keep], None if groups is None else groups[keep], rng=0)
        if low <= 0:
            yield Finding(
                "claim-within-noise",
                "warning",
                f"That {better!r} beats {worse!r} may be chance.",
                f"difference {difference[:, keep].mean():+.3f}, 95 % interval [{low:+.3f}, {high:+.3f}], "
                f"{int(keep.sum())} queries",
                "Other queries of the same kind may well show the contrary.",
                "Say that it is open, or judge on more queries.",
                "Smucker, Allan & Carterette (2007), doi:10.1145/1321440.1321528",
            )


def seeds(evidence: Evidence) -> Iterator[Finding]:
    trials = evidence.trials
    assert trials is not None
    if "seed" not in trials:
        return
    numbers = {name: sorted(set(rows["seed"])) for name, rows in trials.groupby("system")}
    varies = {}
    for name in numbers:
        wide = _wide(trials, name)
        varies[name] = len(wide) > 1 and bool((wide.std(axis=0) > 1e-12).any())
    few = [name for name, found in numbers.items() if len(found) < SEEDS and varies[name]]
    if few:
        yield Finding(
            "few-seeds",
            "warning",
            f"Fewer than {SEEDS} seeds of a system that varies by seed.",
            ", ".join(f"{name!r}: {len(numbers[name])}" for name in few),
            "How much the training itself varies is then hardly known.",
            "Run more, with the same seeds for every system.",
            "Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks, arXiv:2103.03098",
        )
    trained = {name: tuple(numbers[name]) for name in numbers if varies[name]}
    if len(set(trained.values())) > 1:
        yield Finding(
            "unpaired-seeds",
            "note",
            "Systems were run with different seeds.",
            "; ".join(f"{name!r}: {', '.join(map(str, found))}" for name, found in trained.items()),
            "What the seed decides (a split, a draw of pairs) then differs between them.",
            "Run all with the same.",
        )
    if same := [name for name, found in numbers.items() if len(found) > 1 and not varies[name]]:
        yield Finding(
            "seeds-do-nothing",
            "note",
            "Several seeds, and the same result to the last digit.",
            ", ".join(map(repr, same)),
            "Either nothing is random there, or the seed is not used; an interval over seeds would be of width 0.",
            "Run such a system once, or look where the seed gets lost.",
        )


CLAIMS = {
    "claim-within-noise": ("trials claims", noise),
    "few-seeds": ("trials", seeds),
}
