"""The book: sources and executed notebooks put together, built offline, with warnings as errors."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from nbformat import NotebookNode

from xmr_lab.notebooks import ROOT, error_of, find_notebooks, for_readers, read, write
from xmr_lab.report import check_expected, effects_of, format_effects, format_table, read_expected, records_of

__all__ = ["build_book"]

_EXPECTED_PAGE = """# Expected numbers

Each chapter claims some numbers. A run compares what it measured with them, and so do the tests. A number
passes if it lies within the tolerance. "This kit" as the source means that we measured it first; anything
else is somebody else's number.
"""
_EFFECTS_PAGE = """# Effects: predicted and found

What the literature predicts, written down with its source before the chapter's test results were computed, and
what was found on Stamps. (Validation results had mostly been seen; each chapter says what was known.) Where "after"
stands before a source, the idea is from there, and the step to the claim made here is ours. "shown": the 95 %
interval lies wholly where it was predicted. "reversed": it lies wholly on the other side. "open": it allows both.
With so many intervals, one in twenty may miss by luck alone.
"""


def build_book(
    executed: Path | str = "out",
    out: Path | str = ROOT / "book" / "_build",
    *,
    sources: Path = ROOT / "book",
    notebooks: Path = ROOT / "notebooks",
    force: bool = False,
) -> Path:
    """Build the book unless nothing has changed since the last time.

    Args:
        executed: folder with notebooks executed by `run_notebooks`. A notebook that is not there, failed or
            has changed since is taken with its committed outputs, and a line says so.
        out: where to build; the pages are in its folder ``html``.
        sources: the book's own pages, configuration and static files.
        notebooks: the notebooks as committed.
        force: build in any case.

    Returns:
        the path of ``index.html``.

    Raises:
        RuntimeError: if the build fails or warns, with the warnings.
    """
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    index, key_file = out / "html" / "index.html", out / "key"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        stage = Path(folder)
        _collect(stage, sources, notebooks, Path(executed))
        key = _hash(stage)
        if not force and index.exists() and key_file.exists() and key_file.read_text() == key:
            return index
        built = _build(stage)
        key_file.unlink(missing_ok=True)
        shutil.rmtree(out / "html", ignore_errors=True)
        built.rename(out / "html")
    write(key, key_file)
    return index


def _collect(stage: Path, sources: Path, notebooks: Path, executed: Path) -> None:
    """Put the pages, the datasheet, the notebooks as pages, and the tables of numbers and effects into ``stage``."""
    shutil.copytree(sources, stage, ignore=shutil.ignore_patterns("_build"), dirs_exist_ok=True)
    if (datasheet := sources.parent / "data" / "README.md").exists():
        shutil.copy(datasheet, stage / "data.md")
    sections, effects = [_EXPECTED_PAGE], [_EFFECTS_PAGE]
    for number, path in find_notebooks(notebooks).items():
        notebook = _latest(path, executed / path.name)
        page = for_readers(notebook)
        for cell in page.cells:
            cell.source = cell.source.replace("](../book/", "](../")  # here the book's own pages lie one folder up
        write(page, stage / "notebooks" / path.name)
        sections.append(_expected_section(number, path.stem, notebook))
        if found := effects_of(notebook):
            effects.append(_section(path.stem, format_effects(found).reset_index()))
    write("\n".join(sections), stage / "expected.md")
    write("\n".join(effects), stage / "effects.md")


def _latest(committed: Path, executed: Path) -> NotebookNode:
    """The executed notebook if it is a whole run of the committed one, else the committed one."""
    notebook = read(committed)
    if executed.exists():
        run = read(executed)
        same = [cell.source for cell in run.cells] == [cell.source for cell in notebook.cells]
        if same and not error_of(run):
            return run
    print(f"{committed.name}: no complete run in {executed.parent.name}/, the book shows the committed outputs")
    return notebook


def _expected_section(number: str, name: str, notebook: NotebookNode) -> str:
    """The verdicts of one notebook as a Markdown table; '' if nothing is expected of it."""
    expected = read_expected(number)
    if not expected:
        return ""
    table = format_table(check_expected(number, records_of(notebook)))
    table = table.loc[list(expected)]
    table.insert(0, "what", [f"{key}: {entry['about']}" for key, entry in expected.items()])
    return _section(name, table)


def _section(name: str, table: pd.DataFrame) -> str:
    """A table in Markdown under the title of a notebook."""
    rows = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"## [](notebooks/{name}.ipynb)", "", *lines, ""])


def _hash(stage: Path) -> str:
    """A hash of all that the pages are made from."""
    tools = [f"{name} {importlib.metadata.version(name)}" for name in ("jupyter-book", "sphinx", "sphinx-book-theme")]
    digest = hashlib.sha256(" ".join(tools).encode())
    for path in sorted(stage.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(stage).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _build(stage: Path) -> Path:
    """Build the pages; the folder that holds them."""
    program = "from jupyter_book.cli.main import main; main()"  # a process of its own: Sphinx keeps global state
    command = [sys.executable, "-c", program, "build", str(stage), "-W", "--keep-going", "-q"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        said = re.sub(r"\x1b\[[\d;]*m", "", done.stderr + done.stdout)
        told = [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line]
        what = "\n".join(told) or said[-3000:]
        raise RuntimeError("the book was not built:\n" + what.replace(f"{stage}/", ""))
    return stage / "_build" / "html"
