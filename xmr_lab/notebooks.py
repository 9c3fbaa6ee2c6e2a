"""Notebook files: executed, with the same bytes for the same run, free of debris, as an offline HTML page."""

from __future__ import annotations

import copy
import html
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from xmr_lab import _files

__all__ = [
    "ROOT",
    "clean",
    "error_of",
    "execute",
    "find_debris",
    "find_notebooks",
    "for_readers",
    "read",
    "to_html",
    "write",
]

_ERROR_TAG = "papermill-error-cell-tag"  # cells that papermill adds to say where it failed

ROOT = Path(__file__).resolve().parents[1]
MATHJAX = ROOT / "book" / "static" / "mathjax" / "tex-svg-full.js"

_WIDGET = "application/vnd.jupyter.widget-view+json"
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
# What the page template of nbconvert loads from other hosts goes; MathJax comes from the book's own copy.
_TEMPLATE = r"""{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_js_mathjax %}{{ resources.mathjax }}{% endblock %}"""
_MATHJAX_CONFIG = r"""window.MathJax = {tex: {inlineMath: [["$", "$"], ["\\(", "\\)"]], processEscapes: true},
options: {ignoreHtmlClass: "jp-RenderedText|jp-CodeMirrorEditor|highlight"}};"""


def find_notebooks(folder: Path = ROOT / "notebooks") -> dict[str, Path]:
    """The notebooks by number (``"00"``, ``"14"``, ``"A1"``), in order."""
    return {path.name.split("_")[0]: path for path in sorted(folder.glob("[0-9A-Z][0-9]_*.ipynb"))}


def read(path: Path) -> NotebookNode:
    """A notebook, `clean`."""
    return clean(nbformat.read(path, as_version=4))


def write(content: str | bytes | NotebookNode, path: Path) -> None:
    """Write text, bytes or a notebook in one step: a reader finds the old file or the new one, never half of it."""
    _files.write(nbformat.writes(content) + "\n" if isinstance(content, NotebookNode) else content, path)


def clean(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what another run would change: paths, times, versions, widgets, random ids."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata = nbformat.from_dict(copy.deepcopy(_METADATA))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count, seen = 0, set()
    for index, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        for key in ("papermill", "execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in tags:
            cell["id"] = "injected-parameters"
        if not cell.get("id") or cell["id"] in seen:
            cell["id"] = f"cell-{index:02d}"
        seen.add(cell["id"])
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            cell.execution_count = count = count + 1
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = cell.execution_count
        # widgets say nothing without a kernel; most are progress bars, which this leaves out
        cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", {})]
    return notebook


def find_debris(notebook: NotebookNode) -> list[str]:
    """What must not be in committed outputs: absolute paths, warnings, progress bars, errors, bare figures.

    Returns:
        one line for each finding, with the cell's position; empty if the outputs are clean.
    """
    homes = {str(ROOT), str(Path.home()), sys.prefix, tempfile.gettempdir()} - {"/"}
    paths = re.compile("|".join([*map(re.escape, sorted(homes)), r"/home/\w", r"/Users/\w", r"\b[A-Z]:\\\w"]))
    found = []
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data, metadata = output.get("data", {}), output.get("metadata", {})
            text = output.get("text", "") + data.get("text/plain", "") + data.get("text/html", "")
            text = re.sub(r"data:[\w/+-]+;base64,[\w+/=]+", "", text)
            pictures = [metadata.get(kind, {}).get("alt") for kind in data if kind.startswith("image/")]
            checks = {
                "an error": output.output_type == "error",
                "text on stderr": output.get("name") == "stderr",
                "an absolute path": paths.search(text),
                "a warning": re.search(r"Warning: ", text),
                "a progress bar": "\r" in text or re.search(r"\d+%\|", text),
                "a picture without alt text": not all(pictures) or re.search(r"<img(?![^>]*\balt=)", text),
                "a sound without aria-label": re.search(r"<audio(?![^>]*\baria-label=)", text),
            }
            found += [f"cell {index} ({cell['id']}): {what}" for what, is_there in checks.items() if is_there]
    return found


def error_of(notebook: NotebookNode) -> str | None:
    """Which cell failed and how, or None."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                line = next(iter(cell.source.strip().splitlines()), "")
                return f"cell {index} ({cell['id']}), {line!r}: {output.ename}: {output.evalue}"
    return None


def execute(
    notebook: NotebookNode, values: Mapping[str, object], *, cwd: Path, threads: int, trials: Path
) -> tuple[NotebookNode, str | None]:
    """The executed notebook (as far as it got) and its error, from papermill in a process of its own.

    Args:
        notebook, values: what to execute, with which parameters.
        cwd: where it runs.
        threads: how many the numerical libraries may use.
        trials: where `report.save_trials` writes.
    """
    from ipykernel.kernelspec import write_kernel_spec

    with tempfile.TemporaryDirectory(prefix="xmr-lab-") as folder:
        before, after = Path(folder, "before.ipynb"), Path(folder, "after.ipynb")
        write(notebook, before)
        # this interpreter's kernel, whatever is registered on the machine under the name
        write_kernel_spec(Path(folder, "jupyter", "kernels", "python3"))
        environment = os.environ | {
            "JUPYTER_PATH": str(Path(folder, "jupyter")),
            "IPYTHONDIR": str(Path(folder, "ipython")),  # no start-up files of the user's
            "PYTHONHASHSEED": "0",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "TQDM_DISABLE": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "OMP_NUM_THREADS": str(threads),
            "XMR_LAB_TRIALS": str(trials),
            "XMR_LAB_PARAMETERS": " ".join(f"{key}={value}" for key, value in values.items()),
        }
        if values.get("tier", "embedded") == "embedded":
            environment["HF_HUB_OFFLINE"] = "1"
        command = [sys.executable, "-m", "papermill", str(before), str(after), "--kernel", "python3"]
        command += [
            "--cwd",
            str(cwd),
            "--no-progress-bar",
            "--log-level",
            "ERROR",
            "-y",
            yaml.safe_dump(dict(values)),
        ]
        done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", errors="replace")
        executed = read(after) if after.exists() else notebook
    executed.cells = [cell for cell in executed.cells if _ERROR_TAG not in cell.metadata.get("tags", [])]
    error = error_of(executed)
    if done.returncode and not error:
        error = "the kernel died: " + (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return clean(executed), error


def for_readers(notebook: NotebookNode) -> NotebookNode:
    """The notebook as a page shows it: figures as HTML ``<img>`` with alt text, no marks for the tests.

    Neither nbconvert nor MyST-NB takes the alt text from an output's metadata, where Jupyter's own format
    has it; both pass HTML on as it is.
    """
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        cell.source = cell.source.removeprefix("# NBVAL_CHECK_OUTPUT\n")
        for output in cell.get("outputs", []):
            metadata = output.get("metadata", {}).get("image/png", {})
            if "alt" not in metadata or "image/png" not in output.data:
                continue
            alt, width = html.escape(metadata["alt"]), metadata.get("width", "")
            source = "data:image/png;base64," + output.data["image/png"].replace("\n", "")
            picture = f'<img class="figure" alt="{alt}" width="{width}" src="{source}">'
            output.data = NotebookNode({"text/html": picture})
    return notebook


def to_html(notebook: NotebookNode, *, title: str) -> str:
    """The notebook as one HTML page that holds all it needs."""
    from nbconvert import HTMLExporter

    prose = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    has_math = "$" in prose or r"\(" in prose
    scripts = [_MATHJAX_CONFIG, MATHJAX.read_text(encoding="utf-8")] if has_math and MATHJAX.exists() else []
    mathjax = "".join(f"<script>{script}</script>" for script in scripts)
    exporter = HTMLExporter(raw_template=_TEMPLATE)
    page, _ = exporter.from_notebook_node(
        for_readers(notebook), resources={"metadata": {"name": title}, "mathjax": mathjax}
    )
    return page
