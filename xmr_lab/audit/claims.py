"""Checks of what is said: differences within the noise, too few seeds, printed figures that cannot go together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from xmr_lab.intervals import bootstrap_interval

from .evidence import Evidence
from .findings import Finding

__all__ = ["CLAIMS", "f1_verdict"]

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


# -- printed tables -------------------------------------------------------------------------------

COLUMNS = (  # how a column may be called
    ("precision", r"precision|accuracy|p|acc\.?|准确率|精确率"),
    ("recall", r"recall|r|召回率"),
    ("f1", r"f1|f1[ -]?score|f1[ -]?值|f-?measure"),
    ("mrr", r"mrr|mean reciprocal rank"),
    ("median rank", r"medr|med\.? ?r(?:ank)?|median rank"),
    ("map", r"map|mean average precision"),
)
CUT = r"(?:hit ?rate|hits?|recall|r)[ @]*@? ?(\d+)"


def _printed(table: pd.DataFrame) -> dict[Any, tuple[list[float], float, float]]:
    """By column: its numbers as shares, half a unit of the last printed digit, and what they were divided by."""
    result = {}
    for column in table.columns:
        texts = [str(value).strip().rstrip("%") for value in table[column]]
        if not all(re.fullmatch(r"-?\d+(\.\d+)?", text) for text in texts):
            continue
        digits = max(-int(Decimal(text).as_tuple().exponent) for text in texts)
        result[column] = ([float(text) for text in texts], 0.5 * 10.0**-digits, 1.0)
    return result


def f1_verdict(precision: float, recall: float, f1: float, half: float) -> str:
    """Whether a printed F1 is the harmonic mean of the printed figures beside it.

    Args:
        precision, recall, f1: as printed, all rounded to the same digit.
        half: half a unit of that digit.

    Returns:
        ``"follows"``, ``"rounding"`` (not from the printed figures, but from some that round to them), or
        ``"impossible"``.

    Examples:
        >>> f1_verdict(0.90, 0.85, 0.87, 0.005), f1_verdict(0.90, 0.85, 0.88, 0.005), f1_verdict(0.5, 0.5, 0.6, 0.005)
        ('follows', 'rounding', 'impossible')
    """

    def harmonic(p: float, r: float) -> float:
        return 2 * p * r / (p + r) if p + r > 0 else 0.0

    slack = 1e-9
    if abs(harmonic(precision, recall) - f1) <= half + slack:
        return "follows"
    low = harmonic(max(precision - half, 0), max(recall - half, 0)) - half
    high = harmonic(precision + half, recall + half) + half
    return "rounding" if low - slack <= f1 <= high + slack else "impossible"


def tables(evidence: Evidence) -> Iterator[Finding]:
    table = evidence.table
    assert table is not None
    columns = _printed(table)
    by_kind = {kind: column for kind, pattern in COLUMNS for column in columns
               if re.fullmatch(pattern, str(column).strip().lower())}  # fmt: skip
    cuts = sorted((int(found[1]), column) for column in columns
                  if (found := re.fullmatch(CUT, str(column).strip().lower())))  # fmt: skip
    shares = [by_kind[kind] for kind in ("precision", "recall", "f1", "mrr", "map") if kind in by_kind]
    shares += [column for _, column in cuts]
    largest = max((max(columns[column][0]) for column in shares), default=0.0)
    whole = 100.0 if largest > 1 else 1.0
    row_names = [str(name) for name in (table.index if table.index.dtype == object else table.iloc[:, 0])]

    for column in shares:
        for name, value in zip(row_names, columns[column][0], strict=True):
            if not 0 <= value <= whole:
                yield _impossible(f"{column} of {name} is {value:g}", f"shares lie between 0 and {whole:g}")
    if {"precision", "recall", "f1"} <= set(by_kind):
        half = max(columns[by_kind[kind]][1] for kind in ("precision", "recall", "f1")) / whole
        rows = zip(*(columns[by_kind[kind]][0] for kind in ("precision", "recall", "f1")), strict=True)
        for name, (p, r, f) in zip(row_names, rows, strict=True):
            verdict = f1_verdict(p / whole, r / whole, f / whole, half)
            plain = 2 * p * r / (p + r) if p + r else 0.0
            if verdict == "impossible":
                why = f"the harmonic mean of {p:g} and {r:g} is {plain:.4g}, beyond any rounding"
                yield _impossible(f"F1 of {name} is {f:g}", why)
            elif verdict == "rounding":
                yield Finding(
                    "f1-by-rounding",
                    "note",
                    "An F1 is not the harmonic mean of the figures beside it, but may be that of unrounded ones.",
                    f"{name}: {p:g} and {r:g} give {plain:.4g}; printed {f:g}",
                    "From what is printed, it cannot be decided.",
                    "Print one digit more, or the per-query values.",
                )
    for (k, one), (more, other) in pairwise(cuts):
        for name, low, high in zip(row_names, columns[one][0], columns[other][0], strict=True):
            if low > high + columns[one][1] + columns[other][1]:
                yield _impossible(f"{one} of {name} is {low:g}, {other} is {high:g}",
                                  f"among the first {more} there is all that is among the first {k}")  # fmt: skip
    if "median rank" in by_kind:
        medians = columns[by_kind["median rank"]][0]
        for k, column in cuts:
            for name, share, median in zip(row_names, columns[column][0], medians, strict=True):
                enough, half = share / whole, columns[column][1] / whole
                if (median > k + 0.5 and enough - half > 0.5) or (median <= k and enough + half < 0.5):
                    yield _impossible(
                        f"median rank of {name} is {median:g}, {column} is {share:g}",
                        f"a median rank of at most {k} means that half of the queries are answered among the first {k}",
                    )
    if "mrr" in by_kind and cuts and cuts[0][0] == 1:
        half = columns[by_kind["mrr"]][1] + columns[cuts[0][1]][1]
        for name, first, mrr in zip(row_names, columns[cuts[0][1]][0], columns[by_kind["mrr"]][0], strict=True):
            if mrr < first - half or mrr > (whole + first) / 2 + half:
                why = "MRR lies between the share of first places and half way from there to 1"
                yield _impossible(f"MRR of {name} is {mrr:g}, {cuts[0][1]} is {first:g}", why)
    if (n := evidence.n_queries_printed) is not None:
        for _, column in cuts:
            half = columns[column][1] / whole
            if half * n >= 0.5:
                continue  # any share is possible
            for name, value in zip(row_names, columns[column][0], strict=True):
                share = value / whole
                if abs(round(share * n) / n - share) > half + 1e-9:
                    yield _impossible(f"{column} of {name} is {value:g}", f"no count out of {n} queries gives that")


def _impossible(what: str, why: str) -> Finding:
    return Finding(
        "impossible-table",
        "error",
        "Printed figures cannot go together.",
        f"{what}; {why}",
        "At least one of them is wrong, or is not what its column says.",
        "Compute the table by a program, from values that are kept.",
        "after Brown & Heathers (2017), The GRIM test, doi:10.1177/1948550616673876",
    )


CLAIMS = {
    "claim-within-noise": ("trials claims", noise),
    "few-seeds": ("trials", seeds),
    "impossible-table": ("table", tables),
}
