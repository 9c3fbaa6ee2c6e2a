"""Parameters are strict, runs are whole and resume, numbers are compared with the expected ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from xmr_lab import report
from xmr_lab.notebooks import ROOT, clean, find_debris, find_notebooks, for_readers, read, to_html
from xmr_lab.parameters import check_parameters, parse_parameters, read_parameters
from xmr_lab.runner import describe_parameters, refresh_notebooks, run_notebooks

CELL = """seed: int = 0               # random seed, >= 0
k: int = 10                 # results per query [1, 1000]
temperature: float = 0.07   # of the loss (0, 1]
fast: bool = True           # skip the slow part
tier: str = "embedded"      # size of the models {embedded, hub}
collection: str = ""        # folder; empty means Stamps
"""
FIGURE = """from xmr_lab import plots
figure, axes = plots.plt.subplots(figsize=(2, 1))
plots.show(figure, alt="An empty frame & 'nothing' in it.", caption="Empty.")"""


def write_notebook(path: Path, *cells: str, parameters: str = CELL) -> None:
    """A notebook of a parameters cell and these code cells ("#" begins prose)."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    for cell in cells:
        new = nbformat.v4.new_markdown_cell if cell.startswith("#") else nbformat.v4.new_code_cell
        notebook.cells.append(new(cell))
    nbformat.write(notebook, path)


# parameters ------------------------------------------------------------------------------------------------


def test_parameters_are_read_with_help_and_limits():
    found = {each.name: each for each in parse_parameters(CELL)}
    assert list(found) == ["seed", "k", "temperature", "fast", "tier", "collection"]
    assert (found["k"].help, found["k"].allowed, found["k"].default) == ("results per query", "[1, 1000]", 10)
    assert found["seed"].allowed == ">= 0" and found["collection"].allowed == ""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("seed", "3", 3), ("k", 1000, 1000), ("temperature", "1", 1.0), ("temperature", "1e-3", 0.001),
     ("fast", "false", False), ("tier", "hub", "hub"), ("collection", "12", "12")],
)  # fmt: skip
def test_text_is_read_as_the_declared_type(name, text, value):
    got = check_parameters(parse_parameters(CELL), {name: text}, name="a notebook")
    assert got == {name: value} and type(got[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("seed", "1.5"), ("seed", True), ("k", 0), ("k", 1001), ("temperature", 0),
     ("temperature", "nan"), ("temperature", "inf"), ("fast", 1), ("tier", "cloud"),
     ("k", "__import__('os')"), ("sede", 1)],
)  # fmt: skip
def test_what_is_not_valid_is_refused_with_what_is(name, value):
    with pytest.raises(ValueError, match=r"(?s)Its parameters are:.*k: int = 10  # results per query \[1, 1000\]"):
        check_parameters(parse_parameters(CELL), {name: value}, name="a notebook")


@pytest.mark.parametrize("line", ["k = 3  # k", "k: int = 3", "k: list = [1]  # k", "k: int  # k", "print(1)  # k"])
def test_a_parameters_cell_of_another_form_is_refused(line):
    with pytest.raises(ValueError, match="should read"):
        parse_parameters(line)


def test_a_choice_of_numbers_is_a_choice_of_numbers():
    (share,) = parse_parameters("share: float = 0.5  # of the pairs {0.1, 0.5, 1}")
    assert share.parse("1") == share.parse(1) == 1.0
    for wrong in ("2", "one", "{[]: 1}"):
        with pytest.raises(ValueError, match="is not valid"):
            share.parse(wrong)


def test_a_default_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"k=0 is not valid: expected an int in \[1, 9\]"):
        parse_parameters("k: int = 0  # results [1, 9]")


def test_defaults_do_not_count_as_changes():
    assert check_parameters(parse_parameters(CELL), {"k": "10", "seed": 1}, name="a notebook") == {"seed": 1}


# records and expectations ----------------------------------------------------------------------------------


def test_verdicts(tmp_path):
    entry = 'value = 0.6\ntolerance = 0.1\nsource = "this kit"\nabout = "test"\n'
    names = ["at the edge", "beyond", "forgotten"]
    (tmp_path / "14.toml").write_text("".join(f'["{name}"]\n{entry}' for name in names))
    records = {
        "at the edge": {"value": 0.7, "low": 0.6, "high": 0.8},
        "beyond": {"value": 0.71},
        "more": {"value": 1.0},
    }
    table = report.check_expected("14", records, folder=tmp_path)
    assert table.verdict.to_dict() == {
        "at the edge": "pass",
        "beyond": "off",
        "forgotten": "missing",
        "more": "new",
    }
    shown = report.format_table(table)
    assert shown.loc["at the edge", ["expected", "measured", "interval"]].tolist() == [
        "0.600 ± 0.100", "0.700", "[0.600, 0.800]"
    ]  # fmt: skip
    assert shown.loc["forgotten", "measured"] == shown.loc["more", "expected"] == "–"


@pytest.mark.parametrize("bad", ["value = 1", 'value = "1"\ntolerance = 0\nsource = ""\nabout = ""',
                                 'value = 1\ntolerance = -1\nsource = ""\nabout = ""',
                                 'value = 1\ntolerance = 1\nsource = ""\nabout = ""\nunit = ""'])  # fmt: skip
def test_an_expectation_of_another_form_is_refused(tmp_path, bad):
    (tmp_path / "14.toml").write_text(f"[accuracy]\n{bad}\n")
    with pytest.raises(ValueError, match=r"14\.toml, 'accuracy'"):
        report.read_expected("14", folder=tmp_path)


@pytest.mark.parametrize(
    "bad", [{"value": float("nan")}, {"value": 1, "interval": (2, 1)}, {"value": 1, "chance": float("inf")}]
)
def test_a_record_must_be_finite(bad):
    with pytest.raises(ValueError, match="finite"):
        report.record("accuracy", **bad)


def test_expected_files_are_well_formed_and_toml_round_trips(tmp_path):
    for path in (ROOT / "expected").glob("*.toml"):
        assert path.stem in find_notebooks()
        assert report.read_expected(path.stem)
    (tmp_path / "14.toml").write_text(report.expected_toml({'a "b"': {"value": 0.5, "low": 0.4, "high": 0.6}}))
    entry = report.read_expected("14", folder=tmp_path)['a "b"']
    assert (entry["value"], entry["tolerance"]) == (0.5, 0.1)


def test_provenance_names_versions_data_and_encoders_and_no_path():
    table = pd.DataFrame({"id": ["a", "b"], "split": ["train", "test"]})
    collection = SimpleNamespace(fingerprint="abc", table=table)
    encoder = SimpleNamespace(modality="image", fingerprint="<f>")
    shown = report.provenance(collection=collection, encoders=[encoder], seed=3, note="x")
    assert {"torch", "commit", "python", "data", "splits", "image encoder", "seed", "note"} <= set(shown.rows)
    assert "&lt;f&gt;" in shown._repr_html_() and str(ROOT) not in repr(shown)
    moved = SimpleNamespace(fingerprint="abc", table=table.assign(split="test"))
    assert report.provenance(collection=moved).rows["splits"] != shown.rows["splits"]


# runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Notebooks and what a first run of all of them wrote to ``out``."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "notebooks").mkdir()
    record = 'from xmr_lab.report import record, verdict\nrecord("answer", 42 + seed, interval=(40, 44), chance=1)'
    effects = """from xmr_lab.experiment import Effect, run_trials
from xmr_lab.report import record_effects, save_trials
trials = run_trials(lambda a, seed: {"hit": [a]}, [{"a": 1}, {"a": 2}], seeds=1, queries=["q"])
assert save_trials("90", trials).equals(trials)
record_effects([Effect("a | b", "Someone (2020)", "> 0", 0.5, 0.4, 0.6)])"""
    warn = "import warnings, sys\nfrom tqdm.auto import tqdm\nsum(tqdm(range(3)))"
    write_notebook(
        folder / "notebooks" / "90_good.ipynb", "# Prose with $x^2$", record, FIGURE, warn, effects, 'verdict("90")'
    )
    write_notebook(folder / "notebooks" / "A1_bad.ipynb", "1 + 1", "1 / 0", "'never'")
    run_notebooks(out=folder / "out", notebooks=folder / "notebooks")
    return folder


def test_a_run_writes_notebook_page_and_numbers(folder):
    out = folder / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["90_good.parquet", *(f"{name}.{kind}" for name in ("90_good", "A1_bad") for kind in ("html", "ipynb", "json"))]
    )
    results = json.loads((out / "90_good.json").read_text())
    assert results["records"] == {
        "answer": {"value": 42.0, "low": 40.0, "high": 44.0, "chance": 1.0},
        "effect: a | b": {"value": 0.5, "low": 0.4, "high": 0.6},
    }
    assert pd.read_parquet(out / "90_good.parquet")["hit"].tolist() == [1.0, 2.0]
    notebook = read(out / "90_good.ipynb")
    (effect,) = report.effects_of(notebook)
    assert (effect["claim"], effect["verdict"], effect["source"]) == ("a | b", "shown", "Someone (2020)")
    assert not find_debris(notebook)
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5, 6]
    assert "papermill" not in (out / "90_good.ipynb").read_text()
    page = (out / "90_good.html").read_text()
    assert "alt=\"An empty frame &amp; 'nothing' in it.\"" in page and "mjx-" in page
    assert 'src="http' not in page and "@import" not in page


def test_what_has_not_changed_is_not_run_again_and_a_failure_is_told(folder):
    good, bad = run_notebooks(out=folder / "out", notebooks=folder / "notebooks")
    assert good.skipped and good.ok and good.records["answer"]["value"] == 42
    assert not bad.skipped and not bad.ok
    assert "'1 / 0': ZeroDivisionError: division by zero" in str(bad)
    assert read(bad.notebook).cells[1].outputs  # as far as it got


def test_other_parameters_go_to_other_files(folder):
    (result,) = run_notebooks(["90"], {"seed": "3"}, out=folder / "out", notebooks=folder / "notebooks")
    assert result.notebook.name == "90_good-seed=3.ipynb" and result.records["answer"]["value"] == 45
    assert "this run has seed=3" in result.notebook.read_text()
    assert json.loads((folder / "out" / "90_good.json").read_text())["records"]["answer"]["value"] == 42


def test_refresh_writes_back_only_what_is_fit_to_commit(folder):
    notebooks = folder / "notebooks"
    before = (notebooks / "A1_bad.ipynb").read_bytes()
    with pytest.raises(ValueError, match=r"A1_bad\.ipynb: cell 2 .*ZeroDivisionError"):
        refresh_notebooks(out=folder / "out", notebooks=notebooks)
    assert (notebooks / "A1_bad.ipynb").read_bytes() == before
    refreshed = nbformat.read(notebooks / "90_good.ipynb", as_version=4)
    nbformat.validate(refreshed)
    assert refreshed.cells[2].outputs and clean(refreshed) == refreshed
    (again,) = refresh_notebooks(["90"], out=folder / "out", notebooks=notebooks)
    assert again.skipped  # outputs are not part of the key


def test_a_notebook_whose_kernel_died_is_not_written_back(folder, monkeypatch):
    notebooks = folder / "notebooks"
    before = (notebooks / "90_good.ipynb").read_bytes()
    monkeypatch.setattr("xmr_lab.runner.execute", lambda notebook, *_, **__: (notebook, "the kernel died: killed"))
    with pytest.raises(ValueError, match=r"90_good\.ipynb: the kernel died"):
        refresh_notebooks(["90"], out=folder / "died", notebooks=notebooks)
    assert (notebooks / "90_good.ipynb").read_bytes() == before


def test_nothing_runs_before_all_is_checked(folder):
    with pytest.raises(ValueError, match="no notebook 99; there are: 90, A1"):
        run_notebooks(["90", "99"], out=folder / "none", notebooks=folder / "notebooks")
    with pytest.raises(ValueError, match="k=0 is not valid"):
        run_notebooks(None, {"k": 0}, out=folder / "none", notebooks=folder / "notebooks")
    assert not (folder / "none").exists()
    assert describe_parameters("A1", notebooks=folder / "notebooks").splitlines()[1].startswith("k: int = 10")


# notebook files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what"),
    [(f"saved to {ROOT}/x", "an absolute path"), ("see /home/ada/x", "an absolute path"),
     ("C:\\Users", "an absolute path"), ("UserWarning: old", "a warning"), (" 50%|█████", "a progress bar"),
     ("<img src='x'>", "a picture without alt text"),
     ("<audio controls>", "a sound without aria-label")],
)  # fmt: skip
def test_debris_is_found(text, what):
    output = nbformat.v4.new_output("display_data", {"text/html": text})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output], id="here")])
    assert find_debris(notebook) == [f"cell 0 (here): {what}"]


def test_pages_of_a_figure_keep_its_alt_text():
    output = nbformat.v4.new_output("display_data", {"image/png": "aGk=\n"}, metadata={"image/png": {"alt": '"<&'}})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    assert 'alt="&quot;&lt;&amp;"' in for_readers(notebook).cells[0].outputs[0].data["text/html"]
    assert "image/png" in notebook.cells[0].outputs[0].data  # the notebook itself is left as it is
    assert "No description" not in to_html(notebook, title="x")


@pytest.mark.parametrize("path", find_notebooks().values(), ids=lambda path: path.stem)
def test_committed_notebooks_are_clean_and_complete(path):
    notebook = nbformat.read(path, as_version=4)
    assert not find_debris(notebook)
    assert clean(notebook) == notebook, "saved by hand: run `xmr-lab refresh`"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "not a clean run in order"
    assert read_parameters(path)


def test_committed_notebooks_are_light():
    assert sum(path.stat().st_size for path in find_notebooks().values()) < 15 * 2**20


@pytest.mark.parametrize("number", find_notebooks())
def test_what_a_committed_notebook_records_is_expected_and_as_expected(number):
    records = report.records_of(read(find_notebooks()[number]))
    verdicts = report.check_expected(number, records)["verdict"]
    assert (verdicts == "pass").all(), verdicts[verdicts != "pass"]


def test_enough_published_effects_are_reproduced():
    effects = [each for path in find_notebooks().values() for each in report.effects_of(read(path))]
    assert all(each["source"] and each["verdict"] in ("shown", "open", "reversed") for each in effects)
    published = [each for each in effects if re.search(r"\d{4}", each["source"])]
    assert sum(each["verdict"] == "shown" for each in published) >= 8
