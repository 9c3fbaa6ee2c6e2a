"""Experiments as grids: methods, transfer types, modality pairs, label budgets and paired seeds, written in TOML.

`read_grid` and `run_grid` run one (``xmr-lab experiment GRID.toml``), `summarize` sums its table up; `METHODS` says
what can be compared.
"""

from .features import load_features
from .methods import METHODS, PAIRS, TRANSFERS
from .run import GridRun, run_grid
from .settings import Grid, read_grid
from .summary import headline_table, rewrite_block, summarize

__all__ = [
    "METHODS",
    "PAIRS",
    "TRANSFERS",
    "Grid",
    "GridRun",
    "headline_table",
    "load_features",
    "read_grid",
    "rewrite_block",
    "run_grid",
    "summarize",
]
