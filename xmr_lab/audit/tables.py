"""Checks of printed tables: figures that cannot go together, whatever the experiment was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import pandas as pd

from .evidence import Evidence
from .findings import Finding

__all__ = ["TABLES", "f1_verdict"]

NAMES = {  # how a column may be called
    "precision": r"precision|精确率|查准率",
    "recall": r"recall|召回率|查全率",
    "F1": r"f1|f1[ -]?score|f1[ -]?值|f-?measure",
    "accuracy": r"accuracy|acc\.?|准确率",
    "MRR": r"mrr|mean reciprocal rank",
    "mAP": r"map|mean average precision",
    "median rank": r"medr|med\.? ?r(?:ank)?|median rank",
    "value": r"value|mean",
    "low": r"low|lower|ci low",
    "high": r"high|upper|ci high",
}
CUT = r"(hit ?rate|hits?|recall|r)[ @]*(\d+)"  # "R@10" may be either: what holds for both is asked of it
SETS = ("precision", "recall", "F1")
ALONE = ("accuracy", "MRR", "mAP")


@dataclass(frozen=True)
class Column:
    """A printed column: shares of 1 (ranks and values as they are), and half a unit of the last digit."""

    name: str
    numbers: list[float]
    half: float
    unit: float = 1.0

    def says(self, row: int, system: str) -> str:
        return f"{self.name} of {system} is {self.numbers[row] * self.unit:g}"


Cuts = dict[str, dict[int, Column]]  # by "hit rate", "recall" or "r", and cut-off


def f1_verdict(precision: float, recall: float, f1: float, half: float) -> str:
    """Whether a printed F1 can be the harmonic mean of the printed figures beside it.

    If not, it may be the mean of the F1 of single queries or classes. That is at most the harmonic mean of the mean
    precision and recall, since F1 is concave, and at least their sum minus 1.

    Args:
        precision, recall, f1: as printed, all rounded to the same digit.
        half: half a unit of that digit.

    Returns:
        ``"follows"``, ``"rounding"`` (not from the printed figures, but from some that round to them), ``"mean"`` (too
        low for that, but may be a mean of F1), or ``"impossible"``.

    References:
        Opitz & Burst (2019), Macro F1 and macro F1, arXiv:1911.03347.

    Examples:
        >>> [f1_verdict(0.90, 0.85, f1, 0.005) for f1 in (0.87, 0.88, 0.80, 0.92)]
        ['follows', 'rounding', 'mean', 'impossible']
    """

    def harmonic(p: float, r: float) -> float:
        return 2 * p * r / (p + r) if p + r > 0 else 0.0

    slack = 1e-9
    if abs(harmonic(precision, recall) - f1) <= half + slack:
        return "follows"
    low = harmonic(max(precision - half, 0), max(recall - half, 0)) - half
    high = harmonic(precision + half, recall + half) + half
    if low - slack <= f1 <= high + slack:
        return "rounding"
    return "mean" if precision + recall - 1 - 3 * half - slack <= f1 < low else "impossible"


def tables(evidence: Evidence) -> Iterator[Finding]:
    table = evidence.table
    assert table is not None
    columns, cuts = _read(table)
    names = [str(name) for name in (table.iloc[:, 0] if isinstance(table.index, pd.RangeIndex) else table.index)]
    for row, name in enumerate(names):
        yield from _shares(row, name, columns, cuts)
        yield from _f1(row, name, columns)
        yield from _cuts(row, name, cuts)
        yield from _interval(row, name, columns)
        for measure, at in cuts.items():
            yield from _ranks(row, name, columns, measure, at)
            if measure != "recall" and evidence.n_queries_printed is not None:
                yield from _counts(row, name, at, evidence.n_queries_printed)


def _read(table: pd.DataFrame) -> tuple[dict[str, Column], Cuts]:
    """The columns whose names are known. What goes together is in per cent if any of it is above 1."""
    found: dict[tuple[str, int], Column] = {}
    for title in table.columns:
        texts = [str(value).strip().rstrip("%") for value in table[title]]
        called = str(title).strip().lower()
        cut = re.fullmatch(CUT, called)
        kind = next((kind for kind, pattern in NAMES.items() if re.fullmatch(pattern, called)), None)
        if not (cut or kind) or not all(re.fullmatch(r"[-+]?\d+(\.\d+)?", text) for text in texts):
            continue
        half = min(0.5 * 10.0 ** int(Decimal(text).as_tuple().exponent) for text in texts)
        key = ("hit rate" if cut[1].startswith("h") else cut[1], int(cut[2])) if cut else (str(kind), 0)
        found.setdefault(key, Column(str(title), [float(text) for text in texts], half))
    for together in (
        [key for key in found if key[1]],
        [key for key in found if key[0] in SETS and not key[1]],
        *([(kind, 0)] for kind in ALONE if (kind, 0) in found),
    ):
        if any(max(found[key].numbers, default=0) > 1 for key in together):
            for key in together:
                column = found[key]
                shares = [number / 100 for number in column.numbers]
                found[key] = Column(column.name, shares, column.half / 100, 100.0)
    cuts: Cuts = {}
    for (measure, k), column in sorted(found.items(), key=lambda item: item[0][1]):
        if k:
            cuts.setdefault(measure, {})[k] = column
    return {kind: column for (kind, k), column in found.items() if not k}, cuts


def _shares(row: int, name: str, columns: dict[str, Column], cuts: Cuts) -> Iterator[Finding]:
    shares = [columns[kind] for kind in (*SETS, *ALONE) if kind in columns]
    for column in (*shares, *(column for at in cuts.values() for column in at.values())):
        if not 0 <= column.numbers[row] <= 1:
            yield _impossible(column.says(row, name), f"shares lie between 0 and {column.unit:g}")


def _f1(row: int, name: str, columns: dict[str, Column]) -> Iterator[Finding]:
    if not all(kind in columns for kind in SETS):
        return
    p, r, f = (columns[kind].numbers[row] for kind in SETS)
    verdict = f1_verdict(p, r, f, max(columns[kind].half for kind in SETS))
    unit = columns["F1"].unit
    plain = f"{p * unit:g} and {r * unit:g} have the harmonic mean {2 * p * r / (p + r) * unit if p + r else 0:.4g}"
    if verdict == "impossible":
        yield _impossible(columns["F1"].says(row, name), f"{plain}; neither rounding nor averaging gives that")
    elif verdict == "rounding":
        yield Finding(
            "f1-by-rounding",
            "note",
            "An F1 is not the harmonic mean of the figures beside it, but may be that of unrounded ones.",
            f"{name}: {plain}; printed {f * unit:g}",
            "From what is printed, it cannot be decided.",
            "Print one digit more, or the per-query values.",
        )
    elif verdict == "mean":
        yield Finding(
            "f1-of-parts",
            "note",
            "An F1 is below the harmonic mean of the figures beside it: a mean of single F1, or wrong.",
            f"{name}: {plain}; printed {f * unit:g}",
            "The mean of F1 over queries or classes, and the F1 of mean precision and recall, are two measures.",
            "Say which of the two it is.",
            "Opitz & Burst (2019), Macro F1 and macro F1, arXiv:1911.03347",
        )


def _cuts(row: int, name: str, cuts: Cuts) -> Iterator[Finding]:
    for at in cuts.values():
        for (k, one), (more, other) in pairwise(at.items()):
            if one.numbers[row] > other.numbers[row] + one.half + other.half:
                why = f"among the first {more} there is all that is among the first {k}"
                yield _impossible(f"{one.says(row, name)}, {other.says(row, name)}", why)
    for k, share in cuts.get("recall", {}).items():
        hit = cuts.get("hit rate", {}).get(k)
        if hit and share.numbers[row] > hit.numbers[row] + share.half + hit.half:
            why = "the share of the relevant items that is found is at most 1, and 0 where none is"
            yield _impossible(f"{share.says(row, name)}, {hit.says(row, name)}", why)


def _interval(row: int, name: str, columns: dict[str, Column]) -> Iterator[Finding]:
    if not all(kind in columns for kind in ("value", "low", "high")):
        return
    low, value, high = (columns[kind] for kind in ("low", "value", "high"))
    if (low.numbers[row] > value.numbers[row] + low.half + value.half
            or value.numbers[row] > high.numbers[row] + value.half + high.half):  # fmt: skip
        ends = f"[{low.numbers[row]:g}, {high.numbers[row]:g}]"
        yield _impossible(f"{value.says(row, name)}, its interval {ends}", "a mean lies in its own interval")


def _ranks(row: int, name: str, columns: dict[str, Column], measure: str, at: dict[int, Column]) -> Iterator[Finding]:
    """Of the first right answer. The share of relevant items found is no more than that of queries answered."""
    of_queries = measure != "recall"
    if median := columns.get("median rank"):
        rank = median.numbers[row]
        for k, column in at.items():
            share = column.numbers[row]
            if (rank > k + 0.5 and share - column.half > 0.5) or (
                of_queries and rank <= k and share + column.half < 0.5
            ):
                why = f"a median rank of at most {k} means that half of the queries are answered among the first {k}"
                yield _impossible(f"{median.says(row, name)}, {column.says(row, name)}", why)
    if (mrr := columns.get("MRR")) and (first := at.get(1)):
        half, value, share = mrr.half + first.half, mrr.numbers[row], first.numbers[row]
        if value < share - half or (of_queries and value > (1 + share) / 2 + half):
            why = "MRR lies between the share of first places and half way from there to 1"
            yield _impossible(f"{mrr.says(row, name)}, {first.says(row, name)}", why)


def _counts(row: int, name: str, at: dict[int, Column], n: int) -> Iterator[Finding]:
    for column in at.values():
        share = column.numbers[row]
        if column.half * n < 0.5 and abs(round(share * n) / n - share) > column.half + 1e-9:
            yield _impossible(column.says(row, name), f"no count out of {n} queries gives that")


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


TABLES = {"impossible-table": ("table", tables)}
