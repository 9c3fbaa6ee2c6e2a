"""Notebook 14 on folders that a reader brings: through the command line, to its end, with what does not apply said."""

import nbformat
import pandas as pd
import pytest

from xmr_lab.cli import main
from xmr_lab.data import load_stamps


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


def bring(folder, stamps, columns, n):
    """A folder of n stamps (small for testing)."""
    captions, rows = stamps.texts("en"), []
    for i in range(0, len(stamps), len(stamps) // n)[:n]:
        row = {"id": f"item{i}", "image": f"{i}.png", "text": captions[i]}
        rows.append({name: row[name] for name in ("id", *columns)})
        if "image" in columns:
            stamps.images[i].save(folder / f"{i}.png")
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    return folder


def printed(out):
    """All that the executed notebook shows as text."""
    notebook = nbformat.read(next(out.glob("14_*.ipynb")), 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


NO_PICTURES = "2 · Image retrieval does not apply here: it needs pictures (3 at least, found 0)"
NO_SENTENCES = "3 · Text retrieval does not apply here: it needs sentences (3 at least, found 0)"
TOO_FEW = "4 · First stage does not apply here: it needs training pairs (40 at least"


@pytest.mark.parametrize(
    ("columns", "n", "said", "shown"),
    [(["text"], 12, NO_PICTURES, "result 1"), (["image", "text"], 4, TOO_FEW, "found for")],
    ids=["sentences only", "a handful"],
)
def test_it_runs_on_any_subset_of_modalities(tmp_path, stamps, columns, n, said, shown):
    (tmp_path / "mine").mkdir()
    folder = bring(tmp_path / "mine", stamps, columns, n)
    assert main(["run", "14", "-p", f"collection={folder}", "--out", str(tmp_path / "out")]) == 0
    text = printed(tmp_path / "out")
    assert said in text and shown in text


def test_broken_files_stop_it_with_a_list_or_are_left_out_with_their_reasons(tmp_path, stamps, capsys):
    (tmp_path / "mine").mkdir()
    folder = bring(tmp_path / "mine", stamps, ["image"], 5)
    (folder / "0.png").write_bytes(b"no picture")
    asked = ["run", "14", "-p", f"collection={folder}", "--out"]
    assert main([*asked, str(tmp_path / "stopped")]) != 0
    assert "1 file of 'mine' cannot be used" in capsys.readouterr().out
    assert main([*asked, str(tmp_path / "out"), "-p", "skip_broken=true"]) == 0
    text = printed(tmp_path / "out")
    assert "left out: image '0.png' of item 'item0': is not a picture" in text
    assert "4 items" in text and NO_SENTENCES in text and "found for" in text
