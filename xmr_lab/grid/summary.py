"""The table of a grid summed up: means with intervals beside chance, each system compared with a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from xmr_lab._files import write
from xmr_lab.intervals import bootstrap_interval, holm, paired_permutation_test

__all__ = ["headline_table", "rewrite_block", "summarize"]

KEYS = ["pair", "budget", "method", "transfer"]
MARKS = "<!-- headline -->", "<!-- /headline -->"


def summarize(
    table: pd.DataFrame,
    metric: str = "hit@10",
    *,
    baseline: Mapping[str, str] | None = None,
    costs: pd.DataFrame | None = None,
    rng: int = 0,
) -> pd.DataFrame:
    """One row a (pair, budget, method, transfer) of a grid's table.

    A query's values are averaged over seeds, an item's over its directions; then come the mean, and its BCa
    interval over groups. ``difference``, ``p`` and ``d`` compare with the baseline at the same budget, where there is
    one: p of the paired permutation test over groups, raised by Holm over the comparisons of the pair; d the mean
    difference of groups over its standard deviation (Cohen's d of paired samples).

    Args:
        metric: a column such as ``"hit@10"``, ``"reciprocal_rank"``.
        baseline: by pair, as ``"method/transfer"``; see `Grid.baselines`.
        costs: of the same run; adds the mean seconds a cell.

    Raises:
        ValueError: if the metric is no column of numbers, or a baseline is not in the table.
    """
    if metric not in table or not pd.api.types.is_float_dtype(table[metric]):
        raise ValueError(f"no metric {metric!r}; columns are {', '.join(table)}")
    values = table.groupby([*KEYS, "query", "group"], sort=False)[metric].mean().reset_index()
    cells = {key: rows.set_index("query") for key, rows in values.groupby(KEYS, sort=False)}
    seeds = table.groupby(KEYS, sort=False)["seed"].nunique()
    chance = table[table["method"] == "chance"].groupby("pair")[metric].mean()
    rows = []
    for key, cell in cells.items():
        pair, budget, method, transfer = key
        low, high = bootstrap_interval(cell[metric], cell["group"], method="bca", rng=rng)
        row = {**dict(zip(KEYS, key, strict=True)), "value": cell[metric].mean(), "low": low, "high": high}
        row |= {"chance": chance.get(pair, np.nan), "difference": np.nan, "p": np.nan, "d": np.nan}
        row |= {"seeds": seeds[key], "queries": len(cell)}
        wanted = (baseline or {}).get(pair, "")
        rival = cells.get((pair, budget, *wanted.split("/")))
        if wanted and not ((table["pair"] == pair) & (table["method"] + "/" + table["transfer"] == wanted)).any():
            raise ValueError(f"the baseline {wanted!r} of {pair} is not in the table")
        if rival is not None and wanted != f"{method}/{transfer}":
            other = rival.loc[cell.index, metric]
            by_group = (cell[metric] - other).groupby(cell["group"]).mean()
            spread = by_group.std()
            row["difference"] = (cell[metric] - other).mean()
            row["p"] = paired_permutation_test(cell[metric], other, cell["group"], rng=rng)
            row["d"] = by_group.mean() / spread if spread > 0 else np.nan
        rows.append(row)
    summary = pd.DataFrame(rows)
    for _, at in summary[summary["p"].notna()].groupby("pair").groups.items():
        summary.loc[at, "p"] = holm(summary.loc[at, "p"])
    if costs is not None:
        seconds = costs.groupby(KEYS)["seconds"].mean().rename("seconds").reset_index()
        summary = summary.merge(seconds, on=KEYS, how="left")
    return summary.sort_values(["pair", "budget"], kind="stable", ignore_index=True)


def headline_table(summary: pd.DataFrame) -> str:
    """A Markdown table of the largest budget of each pair: value, interval, difference from the baseline, chance."""
    lines = ["| pair | method | transfer | pairs | value | difference | chance |", "|---|---|---|---|---|---|---|"]
    for pair, rows in summary[summary["method"] != "chance"].groupby("pair", sort=False):
        for row in rows[rows["budget"].isin([0, rows["budget"].max()])].to_dict("records"):
            against = "–"
            if not np.isnan(row["difference"]):
                star = "*" if row["p"] < 0.05 else ""
                against = f"{row['difference']:+.2f}{star}"
            value = f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            lines.append(
                f"| {pair} | {row['method'].replace('_', ' ')} | {row['transfer']} | {row['budget']} | {value} "
                f"| {against} | {row['chance']:.2f} |"
            )
    return "\n".join(lines)


def rewrite_block(path: Path, content: str) -> None:
    """Replace what stands between the two marks of a Markdown file.

    Raises:
        ValueError: if the file does not hold each mark once, in order; it stays as it was.
    """
    text = path.read_text(encoding="utf-8")
    start, end = (text.find(mark) for mark in MARKS)
    if any(text.count(mark) != 1 for mark in MARKS) or start > end:
        raise ValueError(f"{path} must hold the lines {MARKS[0]} and {MARKS[1]}, once each and in this order")
    write(f"{text[: start + len(MARKS[0])]}\n\n{content}\n\n{text[end:]}", path)
