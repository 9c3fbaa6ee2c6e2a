"""`xmr-lab experiment`: run a grid, show its summary, and write the headline table where it is wanted."""

from __future__ import annotations

import sys
from pathlib import Path

from xmr_lab._files import write

from .run import run_grid
from .settings import read_grid
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
        command = f"`python3 lab.py experiment {path} --markdown {markdown}`"
        rewrite_block(markdown, f"{headline_table(summary)}\n\n{caption(grid.seeds, grid.judged)} Made by {command}.")
    for row in run.failures.to_dict("records"):
        where = ", ".join(f"{key} {value}" for key, value in row.items() if key != "error")
        print(f"xmr-lab: failed: {where}: {row['error']}", file=sys.stderr)
    return 1 if len(run.failures) else 0


def caption(seeds: int, judged: str) -> str:
    """What the numbers of the headline table are."""
    return (
        f"Hit rate @10 on the {judged} split, mean of {seeds} seeds and of both directions, with 95 % BCa intervals "
        "over groups of similar items; difference from the pair's baseline, * where p < 0.05 after Holm's correction."
    )
