"""Notebook 14 on folders that a reader brings: to its end, with what does not apply said; and its hub tier."""

import pytest
from brought import bring, kernel, printed
from hub_models import build

from xmr_lab.cli import main
from xmr_lab.data import load_stamps
from xmr_lab.notebooks import find_notebooks, read

OWN = "ResNet and BERT, cross-attention"
RESNET, BERT = "hub:tiny/resnet@one", "hub:tiny/bert@one"
NO_PICTURES = "2 · Image retrieval does not apply here: it needs pictures (3 at least, found 0)"
NO_SENTENCES = "3 · Text retrieval does not apply here: it needs sentences (3 at least, found 0)"
TOO_FEW = "4 · First stage does not apply here: it needs training pairs (40 at least"


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """Runs the notebook in a kernel that finds untrained models of the hub in a mirror (small for testing)."""
    folder = tmp_path_factory.mktemp("kernel")
    build("resnet", folder / "hub" / "tiny" / "resnet" / "one")
    build("bert", folder / "hub" / "tiny" / "bert" / "one")
    with kernel(folder / "trials.parquet", XMR_HUB_DIR=str(folder / "hub")) as running:
        yield lambda **values: running.run("14", **values)


@pytest.mark.parametrize(
    ("columns", "n", "said", "shown"),
    [(["text"], 12, NO_PICTURES, "result 1"), (["image", "text"], 4, TOO_FEW, "found for")],
    ids=["sentences only", "a handful"],
)
def test_it_runs_on_any_subset_of_modalities(tmp_path, stamps, notebook, columns, n, said, shown):
    text = notebook(collection=str(bring(tmp_path / "mine", stamps, columns, n)))
    assert said in text and shown in text


def test_tier_hub_trains_the_documents_resnet_and_bert(tmp_path, stamps, notebook):
    folder = bring(tmp_path / "mine", stamps, ["image", "text", "label"], 80)
    text = notebook(collection=str(folder), seeds=2, tier="hub", hub_image=RESNET, hub_text=BERT)
    assert f"{OWN}: {RESNET} and {BERT}" in text
    rows = [line for line in text.splitlines() if line.startswith(f"{OWN} ") and "[" in line]
    assert len(rows) >= 3  # alone, and behind either first stage
    assert "8 · Other languages does not apply here: it needs other languages (1 at least, found 0)" in text
    assert "strongest recipe" in text and "found for" in text


def test_by_default_it_says_that_the_documents_own_was_not_run():
    assert f"{OWN}: not run here" in printed(read(find_notebooks()["14"]))


def test_broken_files_stop_it_with_a_list_or_are_left_out_with_their_reasons(tmp_path, stamps, notebook, capsys):
    folder = bring(tmp_path / "mine", stamps, ["image"], 5)
    (folder / "0.png").write_bytes(b"no picture")
    assert main(["run", "14", "-p", f"collection={folder}", "--out", str(tmp_path / "stopped")]) != 0
    assert "1 file of 'mine' cannot be used" in capsys.readouterr().out
    text = notebook(collection=str(folder), skip_broken=True)
    assert "left out: image '0.png' of item 'item0': is not a picture" in text
    assert "4 items" in text and NO_SENTENCES in text and "found for" in text
