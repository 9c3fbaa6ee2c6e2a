"""Notebook 16 on folders that a reader brings: it runs to its end and says which parts do not apply."""

import nbformat
import pandas as pd
import pytest

from xmr_lab.cli import main
from xmr_lab.data import load_stamps


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


def bring(folder, stamps, columns, n):
    """A folder of n stamps."""
    folder.mkdir()
    captions, rows = stamps.texts("en"), []
    for i in range(n):
        row = {"id": f"item{i}", "image": f"{i}.png", "text": captions[i]}
        rows.append({name: row[name] for name in ("id", *columns)})
        if "image" in columns:
            stamps.images[i].save(folder / f"{i}.png")
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    return folder


@pytest.mark.parametrize("columns", [["text"], ["image", "text"]], ids=["sentences only", "no sound"])
def test_it_says_that_three_modalities_are_missing(tmp_path, stamps, columns):
    folder = bring(tmp_path / "mine", stamps, columns, 6)
    assert main(["run", "16", "-p", f"collection={folder}", "--out", str(tmp_path / "out")]) == 0
    notebook = nbformat.read(next((tmp_path / "out").glob("16_*.ipynb")), 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)
    assert "3 · The classifier does not apply here: it needs training triples (40 at least, found 0)" in text
    assert "right: [1, 2]" in text  # what needs no collection is shown
