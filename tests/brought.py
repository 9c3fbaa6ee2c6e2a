"""Notebooks on folders that a reader brings: the folders, and one kernel for many runs (start-up is paid once)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import soundfile
from jupyter_client.manager import start_new_kernel

from xmr_lab.data import Collection
from xmr_lab.notebooks import ROOT, find_notebooks, read
from xmr_lab.parameters import check_parameters, read_parameters


def bring(folder: Path, stamps: Collection, columns: Sequence[str], n: int) -> Path:
    """A folder of ``n`` stamps, small for testing, with ``columns`` of ``load_folder``."""
    folder.mkdir(parents=True)
    sounds = {
        column: stamps.speech(column.partition("_")[2]) if "_" in column else stamps.sounds
        for column in columns
        if column.startswith("audio")
    }
    place = {
        column: dict(zip(view.positions.tolist(), range(len(view)), strict=True)) for column, view in sounds.items()
    }
    able = [i for i in range(len(stamps)) if all(i in known for known in place.values())]
    captions, rows = stamps.texts("en"), []
    for i in able[:: len(able) // n][:n]:
        row = {"id": f"item{i}"}
        for column in columns:
            if column in sounds:
                sound = sounds[column][place[column][i]]
                row[column] = f"{i}-{column}.wav"
                soundfile.write(folder / row[column], sound.samples, sound.rate)
            elif column == "image":
                row[column] = f"{i}.png"
                stamps.images[i].save(folder / row[column])
            else:
                row[column] = captions[i] if column.startswith("text") else stamps.table[column].iloc[i]
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    return folder


def printed(notebook: nbformat.NotebookNode) -> str:
    """All that an executed notebook shows as text."""
    return "\n".join(map(_text, (output for cell in notebook.cells for output in cell.get("outputs", []))))


def _text(output: dict[str, Any]) -> str:
    return output.get("text") or output.get("data", {}).get("text/plain", "")


class Kernel:
    """Runs notebooks as papermill does, cell by cell, all in one process."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def run(self, number: str, **values: Any) -> str:
        """What a notebook shows as text, run with these parameters; AssertionError with what a cell raised."""
        path = find_notebooks()[number]
        values = check_parameters(read_parameters(path), values, name=path.name)
        shown = self._cell(f"%reset -f\n%cd -q {path.parent}")
        for cell in read(path).cells:
            if cell.cell_type == "code":
                shown += self._cell(cell.source)
                if "parameters" in cell.metadata.get("tags", []):
                    self._cell("\n".join(f"{name} = {value!r}" for name, value in values.items()))
        return "\n".join(shown)

    def _cell(self, source: str) -> list[str]:
        shown: list[str] = []
        reply = self.client.execute_interactive(
            source, timeout=600, output_hook=lambda message: shown.append(_text(message["content"]))
        )["content"]
        assert reply["status"] == "ok", f"{source}\n\n{reply['ename']}: {reply['evalue']}\n" + "\n".join(
            reply["traceback"]
        )
        return shown


@contextmanager
def kernel(trials: Path, **environment: str) -> Iterator[Kernel]:
    """A kernel whose runs keep their results query by query in ``trials``."""

    values = {
        "XMR_LAB_TRIALS": str(trials),
        "XMR_PROGRESS": "0",
        "TQDM_DISABLE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    quiet = {"stderr": subprocess.DEVNULL}
    manager, client = start_new_kernel(cwd=str(ROOT), env=os.environ | values | environment, **quiet)
    try:
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
