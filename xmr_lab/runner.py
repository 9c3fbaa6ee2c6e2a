"""Run notebooks as parameterised reports: strict parameters, parallel, resumable, every file whole."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd
from nbformat import NotebookNode
from tqdm.auto import tqdm

from xmr_lab.notebooks import ROOT, execute, find_debris, find_notebooks, read, to_html, write
from xmr_lab.parameters import Value, check_parameters, read_parameters
from xmr_lab.report import check_expected, format_table, records_of

__all__ = ["RunResult", "describe_parameters", "refresh_notebooks", "run_notebooks"]

NOTEBOOKS = ROOT / "notebooks"
_MEMORY_PER_JOB = 3 * 2**30  # torch, a model and a collection, with room to spare


@dataclass(frozen=True)
class RunResult:
    """What became of one notebook.

    Attributes:
        number: ``"14"``.
        notebook: the executed notebook; `page` and `results` (HTML and JSON) lie beside it.
        parameters: those that differ from the defaults.
        records: what the notebook recorded, by name (see `report.record`).
        error: which cell failed and how, or None.
        seconds: how long it took when it ran.
        skipped: True if an earlier run was found and nothing has changed since.
    """

    number: str
    notebook: Path
    parameters: dict[str, Value]
    records: dict[str, dict] = field(repr=False)
    error: str | None
    seconds: float
    skipped: bool = False

    @property
    def page(self) -> Path:
        return self.notebook.with_suffix(".html")

    @property
    def results(self) -> Path:
        return self.notebook.with_suffix(".json")

    @property
    def verdicts(self) -> pd.DataFrame:
        """The table of `report.check_expected`."""
        return check_expected(self.number, self.records, defaults=not self.parameters)

    @property
    def ok(self) -> bool:
        """No error and, where the expected numbers apply (default parameters), none of them missed."""
        return self.error is None and not self.verdicts["verdict"].isin(["off", "missing"]).any()

    def __str__(self) -> str:
        changed = "".join(f" {key}={value}" for key, value in self.parameters.items())
        done = "unchanged, not run again" if self.skipped else f"{self.seconds:.0f} s"
        done = "failed" if self.error else done
        lines = [f"{self.number}{changed}: {done}"]
        if self.error:
            lines.append(f"  {self.error}")
        elif len(table := self.verdicts):
            lines.append(format_table(table).to_string())
        return "\n".join(lines)


def run_notebooks(
    numbers: Sequence[str] | None = None,
    parameters: Mapping[str, Value] | None = None,
    *,
    tier: str = "embedded",
    out: Path | str = "out",
    force: bool = False,
    jobs: int | None = None,
    notebooks: Path = NOTEBOOKS,
) -> list[RunResult]:
    """Execute notebooks; write each with an HTML page and its numbers into ``out``.

    Args:
        numbers: which, as in their file names; all by default.
        parameters: by name; text is read as the type that the notebook declares. All are checked first.
        tier: "hub" sets the parameter ``tier``.
        out: where to write; files of runs with other parameters carry them in their names.
        force: run also what has not changed since the last run.
        jobs: how many at once; by default up to two, as cores and memory allow.
        notebooks: the folder of the notebooks.

    Returns:
        one result a notebook, in order; `RunResult.error` says which failed. The others run all the same.

    Raises:
        ValueError: for an unknown notebook or parameter, a wrong type, a value out of range.
    """
    found = find_notebooks(notebooks)
    if unknown := [number for number in numbers or [] if number not in found]:
        raise ValueError(f"no notebook {', '.join(unknown)}; there are: {', '.join(found)}")
    given = dict(parameters or {}) | ({"tier": tier} if tier != "embedded" else {})
    chosen = {
        number: check_parameters(read_parameters(found[number]), given, name=found[number].name)
        for number in (numbers or found)
    }
    jobs = jobs or _default_jobs()
    out = Path(out).resolve()
    with (
        ThreadPoolExecutor(min(jobs, len(chosen)) or 1) as pool,
        tqdm(total=len(chosen), unit="notebook", disable=None) as bar,
    ):
        running = [
            pool.submit(_run, number, found[number], values, out=out, force=force, threads=_cores() // jobs)
            for number, values in chosen.items()
        ]
        try:
            for done in as_completed(running):
                bar.set_postfix_str(done.result().notebook.stem)
                bar.update()
        except BaseException:  # interrupted: what waits must not start
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in running]


def describe_parameters(number: str, *, notebooks: Path = NOTEBOOKS) -> str:
    """The parameters of a notebook with types, defaults, meaning and what is allowed, one a line."""
    found = find_notebooks(notebooks)
    if number not in found:
        raise ValueError(f"no notebook {number}; there are: {', '.join(found)}")
    return "\n".join(map(str, read_parameters(found[number]))) or f"{found[number].name} has no parameters"


def refresh_notebooks(
    numbers: Sequence[str] | None = None, *, out: Path | str = "out", notebooks: Path = NOTEBOOKS
) -> list[RunResult]:
    """Run notebooks with their defaults and write the outputs back into ``notebooks``, ready to commit.

    A notebook that fails or leaves debris in its outputs (`notebooks.find_debris`) stays as it was.

    Raises:
        ValueError: after all have run, naming the notebooks that were left and why.
    """
    results = run_notebooks(numbers, out=out, notebooks=notebooks)
    found, problems = find_notebooks(notebooks), []
    for result in results:
        executed = read(result.notebook)
        if wrong := [result.error] if result.error else find_debris(executed):
            problems += [f"{result.notebook.name}: {what}" for what in wrong]
        else:
            write(executed, found[result.number])
    if problems:
        raise ValueError("\n".join(["not written back:", *problems]))
    return results


def _run(number: str, source: Path, values: dict[str, Value], *, out: Path, force: bool, threads: int) -> RunResult:
    """Run one notebook, or find that an earlier run will do."""
    name = "-".join([source.stem, *(f"{key}={_file_name(value)}" for key, value in sorted(values.items()))])
    target = out / f"{name}.ipynb"
    notebook = read(source)
    key = _key(number, notebook, values)
    if not force and (earlier := _earlier(target, key)):
        return RunResult(number, target, values, earlier["records"], None, earlier["seconds"], skipped=True)
    start = time.monotonic()
    executed, error = execute(
        notebook, values, cwd=source.parent, threads=max(threads, 1), trials=target.with_suffix(".parquet")
    )
    seconds = round(time.monotonic() - start, 1)
    records = records_of(executed)
    write(executed, target)
    write(to_html(executed, title=name), target.with_suffix(".html"))
    results = {
        "notebook": source.name,
        "parameters": values,
        "key": key,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": seconds,
        "error": error,
        "records": records,
    }
    # last, since a results file with the right key says that all is there
    write(json.dumps(results, indent=1, ensure_ascii=False) + "\n", target.with_suffix(".json"))
    return RunResult(number, target, values, records, error, seconds)


def _key(number: str, notebook: NotebookNode, values: Mapping[str, Value]) -> str:
    """A hash of all that decides what comes out: cells, parameters, package, data, expectations, versions."""
    cells = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]
    return hashlib.sha256(json.dumps([number, cells, dict(values), _surroundings()]).encode()).hexdigest()


@cache
def _surroundings() -> str:
    """A hash of the package, the data, the expected numbers and the versions of what is installed."""
    digest = hashlib.sha256(sys.version.encode())
    for pattern in ("xmr_lab/**/*.py", "data/stamps/**/*", "expected/*.toml"):
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                digest.update(f"{path.relative_to(ROOT).as_posix()}:".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name in sorted({f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}):
        digest.update(name.encode())
    return digest.hexdigest()


def _earlier(target: Path, key: str) -> dict | None:
    """The results of an earlier whole run with this key, if there is one."""
    try:
        results = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = target.exists() and target.with_suffix(".html").exists()
    return results if whole and results.get("key") == key and not results["error"] else None


def _file_name(value: Value) -> str:
    """A value as part of a file name: readable where it can be, a hash where it holds a path or is long."""
    text = str(value)
    harmless = len(text) <= 40 and all(letter.isalnum() or letter in "._+-" for letter in text)
    return text if harmless and text else hashlib.sha256(text.encode()).hexdigest()[:10]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _default_jobs() -> int:
    import psutil

    return max(1, min(2, _cores(), psutil.virtual_memory().available // _MEMORY_PER_JOB))
