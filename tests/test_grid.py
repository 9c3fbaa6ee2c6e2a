"""Grids: read strictly, resumable after a kill, the same on several processes, summed up rightly."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from xmr_lab.cli import main
from xmr_lab.grid import headline_table, read_grid, rewrite_block, run_grid, summarize

SMALL = """
name = "small"
seeds = 3
judged = "validation"
[[block]]
pairs = ["image-text"]
methods = ["conse", "ridge", "propagation"]
transfers = ["frozen", "unpaired"]
budgets = [20, 50]
baseline = "ridge/frozen"
"""
SPOKEN = (
    SMALL.replace("image-text", "speech-text")
    .replace('"conse", "ridge", "propagation"', '"ridge"')
    .replace("[20, 50]", "[20]")
    .replace('"frozen", "unpaired"', '"frozen"')
)


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "grid.toml").write_text(text)
        return tmp_path / "grid.toml"

    return write


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The small grid, run at one go."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "grid.toml").write_text(SMALL)
    return run_grid(read_grid(folder / "grid.toml"), out=folder / "out", progress=False), folder / "out"


def test_the_table_holds_every_query_once(whole):
    run, out = whole
    cells = 2 + 3 * 2 * 3  # chance, conse; ridge twice and propagation, two budgets, three seeds
    keys = ["method", "transfer", "pair", "budget", "seed", "query_modality", "query"]
    assert len(run.costs) == cells and not run.table.duplicated(keys).any()
    assert len(run.table) == cells * 2 * 123
    pd.testing.assert_frame_equal(pd.read_parquet(out / "results.parquet"), run.table)
    assert run.table[["split_hash", "config_hash"]].nunique().tolist() == [1, 1]
    assert set(run.costs["n_settings"][run.costs["method"] == "ridge"]) == {3}


def test_its_metrics_belong_together(whole):
    table = whole[0].table
    assert ((table["first_rank"] <= 1) == (table["hit@1"] == 1)).all()
    assert (table["hit@1"] <= table["hit@5"]).all() and (table["hit@5"] <= table["hit@10"]).all()
    single = table[(table["n_relevant"] == 1) & (table["method"] == "ridge")]
    np.testing.assert_allclose(single["reciprocal_rank"], single["average_precision"])


def test_the_same_seed_draws_the_same_pairs_for_every_method_and_others_draw_others(whole):
    ridge = whole[0].table.query("method == 'ridge' and transfer == 'frozen' and budget == 20")
    assert ridge.pivot(index=["query_modality", "query"], columns="seed", values="first_rank").nunique(axis=1).max() > 1


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_kill_loses_and_repeats_no_finished_cell(whole, file, tmp_path):
    run, one_go = whole
    grid, out = file(SMALL), tmp_path / "killed"
    command = [sys.executable, "-m", "xmr_lab.cli", "experiment", str(grid), "--out", str(out), "--processes", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | {"XMR_PROGRESS": "0"}, **quiet)
    started = time.monotonic()
    while not list((out / "cells").glob("*.parquet")) and time.monotonic() - started < 120:
        assert process.poll() is None or list((out / "cells").glob("*.parquet"))
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "results.parquet").exists()
    deadline = time.monotonic() + 30
    before: dict = {}
    while time.monotonic() < deadline:  # its processes end by themselves
        now = {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.parquet")}
        if now == before and now:
            break
        before = now
        time.sleep(1.5)
    resumed = run_grid(read_grid(grid), out=out, progress=False)
    assert 0 < len(before) == resumed.kept < len(run.costs)
    after = {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.parquet")}
    assert {name: after[name] for name in before} == before
    assert (out / "results.parquet").read_bytes() == (one_go / "results.parquet").read_bytes()


def test_what_has_changed_is_run_again_and_nothing_else(file, tmp_path):
    first = run_grid(read_grid(file(SPOKEN)), out=tmp_path / "out", progress=False)
    assert first.kept == 0
    more = read_grid(file(SPOKEN.replace("seeds = 3", "seeds = 4")))
    assert run_grid(more, out=tmp_path / "out", progress=False).kept == len(first.costs)
    other = read_grid(file(SPOKEN.replace("seeds = 3", 'seeds = 3\nlanguage = "fr"')))
    assert run_grid(other, out=tmp_path / "out", progress=False).kept == 0


def test_a_cell_that_fails_is_recorded_and_the_others_go_on(file, tmp_path, capsys):
    grid = file(SPOKEN.replace("[20]", "[20, 9999]"))
    assert main(["experiment", str(grid), "--out", str(tmp_path / "out")]) == 1
    out, error = capsys.readouterr()
    assert "speech-text" in out and "has 435 training pairs; the budget is 9999" in error
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert failures["budget"].tolist() == [9999] * 3
    assert set(pd.read_parquet(tmp_path / "out" / "results.parquet")["budget"]) == {0, 20}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"propagation"', '"propagatoin"', "methods 'propagatoin' is unknown; did you mean 'propagation'"),
        ('"unpaired"', '"unpared"', "did you mean 'unpaired'"),
        ('"image-text"', '"image-txt"', "did you mean 'image-text'"),
        ("seeds = 3", "sedes = 3", "key 'sedes' is unknown; did you mean 'seeds'"),
        ("seeds = 3", 'seeds = "3"', "seeds must hold whole numbers"),
        ("seeds = 3", "seeds = true", "seeds must hold whole numbers"),
        ("[20, 50]", '[20, "every"]', "budgets must hold whole numbers of 5 or more"),
        ("[20, 50]", "20", "budgets must be a list"),
        ("budgets = [20, 50]", "", "lacks budgets"),
        ('["image-text"]', '"image-text"', "pairs must be a list of texts"),
        ('baseline = "ridge/frozen"', 'baseline = "cca/frozen"', "baseline: method 'cca' is unknown"),
        ('"validation"', '"train"', "judged 'train' is unknown"),
        ("seeds = 3", "seeds = ", "cannot be read as TOML"),
        ("[[block]]", "[block]", r"expected one \[\[block\]\]"),
    ],
)
def test_wrong_grids_are_refused_with_a_remedy(file, old, new, message):
    assert SMALL.count(old)
    with pytest.raises(ValueError, match=message):
        read_grid(file(SMALL.replace(old, new)))


def test_the_command_reports_what_it_cannot_read(tmp_path, capsys):
    assert main(["experiment", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err


def made(difference: float) -> pd.DataFrame:
    """Two systems and chance on 40 queries of 20 groups, three seeds."""
    rng, rows = np.random.default_rng(0), []
    hard = rng.random(40)
    for method, gain in (("ridge", 0.0), ("better", difference)):
        for seed in range(3):
            for query in range(40):
                value = hard[query] + gain + 0.05 * rng.normal()
                rows.append(("a-b", 10, method, "frozen", seed, query, query // 2, value))
    rows += [("a-b", 0, "chance", "none", 0, query, query // 2, 0.1) for query in range(40)]
    return pd.DataFrame(rows, columns=["pair", "budget", "method", "transfer", "seed", "query", "group", "hit@10"])


def test_a_summary_is_what_one_computes_by_hand():
    table = made(0.2)
    summary = summarize(table, baseline={"a-b": "ridge/frozen"}).set_index("method")
    better, ridge = (table[table["method"] == name] for name in ("better", "ridge"))
    assert summary.loc["better", "value"] == pytest.approx(better["hit@10"].mean())
    assert summary.loc["better", "low"] < summary.loc["better", "value"] < summary.loc["better", "high"]
    paired = better.groupby("group")["hit@10"].mean() - ridge.groupby("group")["hit@10"].mean()
    assert summary.loc["better", "d"] == pytest.approx(paired.mean() / paired.std())
    assert summary.loc["better", "p"] < 0.001 and summary.loc["better", "chance"] == pytest.approx(0.1)
    assert np.isnan(summary.loc["ridge", "p"]) and np.isnan(summary.loc["chance", "p"])
    assert summarize(made(0.0), baseline={"a-b": "ridge/frozen"}).set_index("method").loc["better", "p"] > 0.05


def test_holm_counts_the_comparisons_of_a_pair():
    table = made(0.02)
    alone = summarize(table, baseline={"a-b": "ridge/frozen"}).set_index("method").loc["better", "p"]
    again = table[table["method"] == "better"].assign(method="twin")
    both = summarize(pd.concat([table, again]), baseline={"a-b": "ridge/frozen"}).set_index("method")
    assert both.loc["better", "p"] == pytest.approx(min(2 * alone, 1))


def test_a_summary_needs_its_metric_and_baseline():
    with pytest.raises(ValueError, match="no metric 'mrr'"):
        summarize(made(0.1), "mrr")
    with pytest.raises(ValueError, match="'cca/frozen' of a-b is not in the table"):
        summarize(made(0.1), baseline={"a-b": "cca/frozen"})


def test_the_block_of_the_readme_is_rewritten_and_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- headline -->\nold\n<!-- /headline -->\nafter\n")
    content = headline_table(summarize(made(0.2), baseline={"a-b": "ridge/frozen"}))
    for _ in range(2):  # the second time changes nothing
        rewrite_block(readme, content)
        text = readme.read_text()
        assert text == f"before\n<!-- headline -->\n\n{content}\n\n<!-- /headline -->\nafter\n"
    assert "| a-b | better | frozen | 10 |" in text and "*" in text and "old" not in text
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="must hold the lines"):
        rewrite_block(readme, content)
    assert readme.read_text() == "no marks"
