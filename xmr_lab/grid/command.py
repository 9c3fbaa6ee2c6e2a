"""`xmr-lab experiment`: run a grid, show its summary, and write the headline table where it is wanted."""

from __future__ import annotations

import sys
from pathlib import Path

from xmr_lab._files import write

from .methods import METHODS, TRANSFERS
from .run import run_grid
from .settings import Grid, read_grid
from .summary import headline_table, rewrite_block, summarize

__all__ = ["experiment_command"]


def experiment_command(path: Path, *, out: Path | None, processes: int, markdown: Path | None) -> int:
    """Returns the exit status: 1 if a cell failed."""
    grid = read_grid(path)
    out = out or Path("out") / "experiments" / grid.name
    run = run_grid(grid, out=out, processes=processes)
    there = set(run.table["pair"] + ":" + run.table["method"] + "/" + run.table["transfer"])
    baselines = {pair: name for pair, name in grid.baselines.items() if f"{pair}:{name}" in there}
    summary = summarize(run.table, baseline=baselines, costs=run.costs)
    write(summary.to_csv(index=False), out / "summary.csv")
    print(summary.round(3).to_string(index=False, na_rep="–"))
    print(f"hit@10; p by Holm within a pair; split {run.table['split_hash'].iat[0]}, grid {grid.config_hash}")
    print(f"{len(run.costs)} cells, {run.kept} of them kept from before; in {out.resolve()}")
    if markdown:
        shown = headline_table(summary, grid.headline, baseline=baselines)
        command = f"`python3 lab.py experiment {path} --markdown {markdown}`"
        rewrite_block(markdown, f"{shown}\n\n{caption(grid)} Made by {command}.\n\n{legend(grid)}")
    for row in run.failures.to_dict("records"):
        where = ", ".join(f"{key} {value}" for key, value in row.items() if key != "error")
        print(f"xmr-lab: failed: {where}: {row['error']}", file=sys.stderr)
    return 1 if len(run.failures) else 0


def caption(grid: Grid) -> str:
    """What the numbers of the headline table are."""
    return (
        f"Hit rate @10 (is a right answer among the first ten?) on the {grid.judged} split, for ↔ the mean of both "
        "directions, with 95 % bootstrap intervals over groups of similar items. * is p < 0.05 after Holm's correction "
        "for all comparisons of a pair, at every budget. What is drawn at random was run with "
        f"{grid.seeds} seeds, and the intervals draw seeds as well; with all pairs, most systems draw nothing."
    )


def legend(grid: Grid) -> str:
    """What the systems of the headline table are, as a Markdown list."""
    shown = [name.split("/") for name in grid.headline] or [[cell.method, cell.transfer] for cell in grid.cells()]
    methods, transfers = (list(dict.fromkeys(column)) for column in zip(*shown, strict=True))
    lines = [f"- *{name.replace('_', ' ')}*: {METHODS[name].about}" for name in methods if name != "chance"]
    return "\n".join([*lines, *(f"- *{name}*: {TRANSFERS[name]}" for name in transfers if name != "none")])
