"""Run a grid: what is done is kept, cell by cell, whole or not at all; several processes; a kill loses nothing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

import xmr_lab
from xmr_lab._files import write
from xmr_lab._progress import progress_bar

from .cells import run_cell
from .features import Features, load_features
from .settings import Cell, Grid

__all__ = ["GridRun", "run_grid"]

FIRST = ["method", "transfer", "pair", "query_modality", "gallery_modality", "budget", "seed", "query", "group"]
COSTS = ["method", "transfer", "pair", "budget", "seed", "setting", "n_settings", "seconds"]


@dataclass(frozen=True, eq=False)
class GridRun:
    """What came of a grid.

    Attributes:
        table: one row a (cell, query); also in ``results.parquet``.
        costs: one row a cell: setting chosen, number of settings, seconds; also in ``costs.parquet``.
        failures: one row a cell that failed, with its error; also in ``failures.csv``.
        kept: how many cells an earlier run had done.
    """

    table: pd.DataFrame
    costs: pd.DataFrame
    failures: pd.DataFrame
    kept: int


def run_grid(grid: Grid, *, out: Path | str, processes: int = 1, progress: bool = True) -> GridRun:
    """Run all cells that have not been run yet, and gather the results.

    A cell is kept under a hash of all that decides it: the cell, data, splits, code and versions of libraries. So what
    has changed is run again, and nothing else is. Cells that failed, or whose file is damaged, are run again, too.

    Args:
        out: folder of the results, for one run at a time.
        processes: how many cells at once, each on one core.

    Raises:
        ValueError: if no cell succeeds, or another run is at work in the folder.
    """
    out = Path(out)
    (out / "cells").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            return _run(grid, out, processes, progress)
    except Timeout:
        raise ValueError(f"another run is at work in {out}: wait for it, or choose another folder") from None


def _run(grid: Grid, out: Path, processes: int, progress: bool) -> GridRun:
    for part in (out / "cells").glob(".*"):  # of a run that was killed while it wrote
        part.unlink()
    features = _features(grid)
    paths = {cell: out / "cells" / f"{_key(grid, cell, features.fingerprint)}.parquet" for cell in grid.cells()}
    kept = {cell: table for cell, path in paths.items() if (table := _whole(path)) is not None}
    todo = [cell for cell in paths if cell not in kept]
    errors: dict[Cell, str] = {}
    with progress_bar(len(paths), grid.name, progress, unit="cell") as bar:
        bar.update(len(kept))
        for cell, error in _results(grid, {cell: paths[cell] for cell in todo}, processes):
            if error:
                errors[cell] = error
            bar.update()
    failures = pd.DataFrame([{**asdict(cell), "error": error} for cell, error in errors.items()])
    (out / "failures.csv").unlink(missing_ok=True)
    if errors:
        write(failures.to_csv(index=False), out / "failures.csv")
    if len(errors) == len(paths):
        raise ValueError(f"every cell failed; the first: {next(iter(errors.values()))}")
    parts = [
        kept[cell] if cell in kept else pd.read_parquet(path) for cell, path in paths.items() if cell not in errors
    ]
    table = pd.concat(parts, ignore_index=True)
    costs = table[COSTS].drop_duplicates(COSTS[:5], ignore_index=True)
    table = table[[*FIRST, *(name for name in table if name not in (*FIRST, "seconds"))]]
    table = table.assign(split_hash=features.split_hash, config_hash=grid.config_hash)
    _write_table(table, out / "results.parquet")
    _write_table(costs, out / "costs.parquet")
    write(json.dumps({**asdict(grid), "split_hash": features.split_hash, "config_hash": grid.config_hash}, indent=1)
          + "\n", out / "grid.json")  # fmt: skip
    return GridRun(table, costs, failures, len(kept))


def _results(grid: Grid, paths: dict[Cell, Path], processes: int) -> Iterator[tuple[Cell, str]]:
    """Each cell as it ends, with its error or ''."""
    if processes == 1 or len(paths) < 2:
        for cell, path in paths.items():
            yield cell, _work(cell, path, grid)
        return
    context = multiprocessing.get_context("spawn")
    parent = os.getpid()
    with ProcessPoolExecutor(min(processes, len(paths)), context, initializer=_follow, initargs=(parent,)) as pool:
        running = {pool.submit(_work, cell, path, grid): cell for cell, path in paths.items()}
        try:
            for future in as_completed(running):
                try:
                    yield running[future], future.result()
                except Exception as error:  # the process itself has died
                    yield running[future], f"{type(error).__name__}: {error}"
        except BaseException:  # interrupted: what waits must not start
            pool.shutdown(cancel_futures=True)
            raise


def _follow(parent: int) -> None:
    """End this process when the one that started it has been killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _features(grid: Grid) -> Features:
    return load_features(grid.language, grid.collection, skip_broken=grid.skip_broken)


def _work(cell: Cell, path: Path, grid: Grid) -> str:
    """Run one cell and write it; returns its error, or ''. On one core, so that the numbers are always the same."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with threadpool_limits(1):
            _write_table(run_cell(cell, _features(grid), judged=grid.judged), path)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        torch.set_num_threads(threads)
    return ""


def _write_table(table: pd.DataFrame, path: Path) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, write_page_checksum=True)
    write(buffer.getvalue(), path)


def _whole(path: Path) -> pd.DataFrame | None:
    """The table of a cell that has been run; None if there is none, or its file is damaged."""
    try:
        return pd.read_parquet(path, page_checksum_verification=True)
    except Exception:  # no file, or of a damaged one: pyarrow, json and pandas have each their own
        return None


def _key(grid: Grid, cell: Cell, fingerprint: str) -> str:
    parts = [asdict(cell), grid.judged, grid.language, fingerprint, _code()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@cache
def _code() -> str:
    """A hash of the rooms that compute, and of the libraries they compute with."""
    digest, root = hashlib.sha256(), Path(xmr_lab.__file__).parent
    paths = [path for room in ("fusion", "matching", "metrics", "transfer") for path in (root / room).glob("*.py")]
    paths += [root / "grid" / name for name in ("features.py", "baselines.py", "methods.py", "cells.py")]
    paths += [root / "_validation.py"]
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root).as_posix()}:".encode() + path.read_bytes())
    for name in ("numpy", "scipy", "scikit-learn", "torch", "pandas"):
        digest.update(f"{name}=={importlib.metadata.version(name)}".encode())
    return digest.hexdigest()
