"""The table of a grid summed up: means with intervals beside chance, each system compared with a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    An item's values are averaged over its directions; then come the mean and its interval over groups: BCa where there
    is one seed, and where there are several, one that draws seeds and groups both (see `bootstrap_interval`).
    ``difference`` with its interval, ``p`` and ``d`` compare with the baseline at the same budget, where there is one:
    p of the paired permutation test over groups, of means over seeds, raised by Holm over the comparisons of the pair;
    d the mean difference of groups over its standard deviation (Cohen's d of paired samples).

    Args:
        metric: a column such as ``"hit@10"``, ``"reciprocal_rank"``.
        baseline: by pair, as ``"method/transfer"``; see `Grid.baselines`.
        costs: of the same run; adds the mean seconds a cell.

    Raises:
        ValueError: if the metric is no column of numbers, or a baseline is not in the table.
    """
    if metric not in table or not pd.api.types.is_float_dtype(table[metric]):
        raise ValueError(f"no metric {metric!r}; columns are {', '.join(table)}")
    groups = table.groupby(["pair", "query"], sort=False)["group"].first()
    values = table.groupby([*KEYS, "seed", "query"])[metric].mean()
    cells = {key: rows.droplevel(KEYS).unstack("query") for key, rows in values.groupby(KEYS, sort=False)}
    chance = table[table["method"] == "chance"].groupby("pair")[metric].mean()
    baseline, there = baseline or {}, {(pair, f"{method}/{transfer}") for pair, _, method, transfer in cells}
    for pair in {pair for pair, _ in there} & set(baseline):
        if (pair, baseline[pair]) not in there:
            raise ValueError(f"the baseline {baseline[pair]!r} of {pair} is not in the table")
    rows = []
    for key, cell in cells.items():  # (n_seeds, n_queries)
        pair, budget, method, transfer = key
        group = groups[pair].loc[cell.columns].to_numpy()
        low, high = _interval(cell.to_numpy(), group, rng)
        row = {**dict(zip(KEYS, key, strict=True)), "value": cell.mean().mean(), "low": low, "high": high}
        row |= {"chance": chance.get(pair, np.nan)}
        row |= dict.fromkeys(("difference", "difference_low", "difference_high", "p", "d"), np.nan)
        row |= {"seeds": len(cell), "queries": cell.shape[1]}
        wanted = baseline.get(pair, "")
        rival = cells.get((pair, budget, *wanted.split("/")))
        if rival is not None and wanted != f"{method}/{transfer}":
            paired = cell.index.equals(rival.index)
            difference = cell - rival if paired else (cell.mean() - rival.mean()).to_frame().T
            by_group = difference.mean().groupby(group).mean()
            spread = by_group.std()
            row["difference"] = difference.mean().mean()
            row["difference_low"], row["difference_high"] = _interval(difference.to_numpy(), group, rng)
            row["p"] = paired_permutation_test(cell.mean(), rival.mean()[cell.columns], group, rng=rng)
            row["d"] = by_group.mean() / spread if spread > 0 else np.nan
        rows.append(row)
    summary = pd.DataFrame(rows)
    for _, at in summary[summary["p"].notna()].groupby("pair").groups.items():
        summary.loc[at, "p"] = holm(summary.loc[at, "p"])
    if costs is not None:
        seconds = costs.groupby(KEYS)["seconds"].mean().rename("seconds").reset_index()
        summary = summary.merge(seconds, on=KEYS, how="left")
    place = {key: i for i, key in enumerate(table[KEYS].drop_duplicates().itertuples(index=False, name=None))}
    pairs = {pair: i for i, pair in enumerate(table["pair"].unique())}
    as_run = [(pairs[row[0]], row[1], place[row]) for row in summary[KEYS].itertuples(index=False, name=None)]
    return summary.iloc[sorted(range(len(summary)), key=as_run.__getitem__)].reset_index(drop=True)


def _interval(values: np.ndarray, groups: np.ndarray, rng: int) -> tuple[float, float]:
    """Of values (n_seeds, n_queries)."""
    alone = len(values) == 1 and len(np.unique(groups)) > 1
    return bootstrap_interval(values[0] if alone else values, groups, method="bca" if alone else "percentile", rng=rng)


def headline_table(
    summary: pd.DataFrame, systems: Sequence[str] = (), *, baseline: Mapping[str, str] | None = None
) -> str:
    """A Markdown table of the smallest and the largest budget of each pair: value, interval, difference, chance.

    What needs no pairs stands under both; a dash, where a system was not run, or there is no baseline with as many.

    Args:
        systems: which to show, as ``"method/transfer"``; all by default.
        baseline: by pair, as for `summarize`; is called so in its row.
    """
    names = summary["method"] + "/" + summary["transfer"]
    summary = summary.assign(system=names)[names.isin(systems)] if systems else summary.assign(system=names)
    lines = [
        "| query → gallery | system | with fewest pairs | difference | with most pairs | difference | chance |",
        "|---|---|---|---|---|---|---|",
    ]
    for pair, rows in summary[summary["method"] != "chance"].groupby("pair", sort=False):
        budgets = rows.loc[rows["budget"] > 0, "budget"]
        ends = [budgets.min(), budgets.max()] if len(budgets) else [0, 0]
        arrow = " → " if "+" in str(pair) else " ↔ "  # both directions, where no side has several modalities
        counts = " or ".join(map(str, dict.fromkeys(ends)))
        first = f"{str(pair).replace('-', arrow).replace('+', ' + ')}, {counts} pairs"
        for name, system in rows.groupby("system", sort=False):
            cells = []
            for budget in ends:
                found = system[system["budget"].isin([0, budget])]
                cells += _cells(found.iloc[0], name == (baseline or {}).get(pair)) if len(found) else ["–", "–"]
            if set(cells) != {"–"}:
                called = str(name).replace("_", " ").replace("/", ", ").removesuffix(", none")
                lines.append(f"| {first} | {called} | {' | '.join(cells)} | {rows['chance'].iloc[0]:.2f} |")
                first = ""
    return "\n".join(lines)


def _cells(row: pd.Series, is_baseline: bool) -> list[str]:
    """The value with its interval, and the difference from the baseline."""
    value = f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    star = "*" if row["p"] < 0.05 else ""
    difference = f"{row['difference']:+.2f}".replace("-0.00", "+0.00").replace("-", "−") + star
    return [value, "baseline" if is_baseline else "–" if np.isnan(row["difference"]) else difference]


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
