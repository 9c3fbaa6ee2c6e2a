"""Notebook 17: its solutions and its reading of the document's tables; on folders that a reader brings, to its end."""

import tomllib

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from xmr_lab.audit import f1_verdict
from xmr_lab.cli import main
from xmr_lab.data import load_stamps
from xmr_lab.intervals import holm
from xmr_lab.notebooks import ROOT, find_notebooks, read


@pytest.fixture(scope="module")
def rows():
    document = tomllib.loads((ROOT / "data" / "document_tables.toml").read_text(encoding="utf-8"))
    names = ("accuracy", "recall", "F1")
    return [tuple(float(row[name]) for name in names) for row in document["result"]]


def printed(notebook):
    """All that it shows as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


# -- the document's tables ------------------------------------------------------------------------


def test_two_of_six_f1_may_be_rounding_and_none_is_impossible(rows):
    verdicts = [f1_verdict(*row, 0.005) for row in rows]
    assert verdicts == ["rounding", "follows", "follows", "follows", "follows", "rounding"]


def test_figures_that_round_to_what_is_printed_give_the_f1_that_is_printed(rows):
    """By search instead of by intervals: in each row there are some, so no row is shown to be wrong."""
    off = np.linspace(-0.0049, 0.0049, 50)
    for accuracy, recall, f1 in rows:
        p, r = np.meshgrid(accuracy + off, recall + off)
        assert (np.abs(2 * p * r / (p + r) - f1) < 0.005).any()


def test_accuracy_over_all_samples_never_exceeds_recall(rows):
    draw = np.random.default_rng(0)
    for _ in range(200):
        n = int(draw.integers(2, 50))
        relevant, returned = draw.random(n) < 0.3, draw.random(n) < 0.3
        if relevant.any():
            right = (relevant & returned).sum()
            assert right / n <= right / relevant.sum()
    assert all(accuracy - 0.005 > recall + 0.005 for accuracy, recall, _ in rows)


# -- exercises ------------------------------------------------------------------------------------


def test_1_two_f1_fit_beside_the_rounded_figures():
    off = np.linspace(-0.0049, 0.0049, 99)
    p, r = np.meshgrid(0.88 + off, 0.85 + off)
    assert set(np.round(2 * p * r / (p + r), 2).ravel()) == {0.86, 0.87}


def test_2_a_random_list_of_ten_holds_the_one_relevant_item_as_often_as_its_share():
    assert 1 - hypergeom.pmf(0, 198, 1, 10) == pytest.approx(10 / 198)
    assert 1 - hypergeom.pmf(0, 198, 2, 10) > 10 / 198  # two relevant ones: more often


def test_3_twenty_comparisons_without_any_effect():
    p = np.random.default_rng(1).random((3000, 20))
    plain, corrected = (p < 0.05).any(axis=1).mean(), np.mean([(holm(each) < 0.05).any() for each in p])
    assert plain == pytest.approx(1 - 0.95**20, abs=0.03) and corrected == pytest.approx(0.05, abs=0.015)


def test_the_committed_notebook_shows_its_solutions():
    text = printed(read(find_notebooks()["17"]))
    assert "(0.8597, 0.8697)" in text and "0.051" in text and "(0.64, 0.04)" in text


# -- folders --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


def bring(folder, stamps, columns, n):
    """A folder of n stamps (small for testing)."""
    folder.mkdir()
    captions, rows = stamps.texts("en"), []
    for i in range(0, len(stamps), len(stamps) // n)[:n]:
        row = {"id": f"item{i}", "image": f"{i}.png", "text": captions[i]}
        rows.append({name: row[name] for name in ("id", *columns)})
        if "image" in columns:
            stamps.images[i].save(folder / f"{i}.png")
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    return folder


def run(folder, out):
    assert main(["run", "17", "-p", f"collection={folder}", "-p", "seeds=2", "--out", str(out)]) == 0
    return printed(nbformat.read(next(out.glob("17_*.ipynb")), 4))


def test_without_pairs_it_says_what_does_not_apply_and_shows_the_rest(tmp_path, stamps):
    text = run(bring(tmp_path / "mine", stamps, ["text"], 6), tmp_path / "out")
    assert "3 · Pictures and text does not apply here: it needs training pairs (40 at least, found 0)" in text
    assert "4 · Speech and text does not apply here: it needs training spoken pairs (40 at least, found 0)" in text
    assert "right: [1, 2]" in text and "6 of 6 rows" in text  # what needs no collection


def test_pictures_and_sentences_are_enough_for_their_parts(tmp_path, stamps):
    text = run(bring(tmp_path / "mine", stamps, ["image", "text"], 75), tmp_path / "out")
    assert "5 · Several against one does not apply here: it needs training triples" in text
    assert "ridge/names" in text and "without graph" in text and "split-captions" in text
