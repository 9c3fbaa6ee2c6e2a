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
from xmr_lab.data import load_stamps
from xmr_lab.grid import headline_table, load_features, read_grid, rewrite_block, run_grid, summarize
from xmr_lab.grid.cells import run_cell
from xmr_lab.grid.command import caption, legend
from xmr_lab.grid.settings import Cell
from xmr_lab.intervals import bootstrap_interval
from xmr_lab.notebooks import ROOT

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
    assert (table["recall@10"] <= table["hit@10"] + 1e-9).all() and (table["F1@10"] <= 1).all()
    np.testing.assert_allclose(table["precision@10"] * 10, table["recall@10"] * table["n_relevant"], atol=1e-9)
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


def test_a_damaged_cell_is_run_again(file, tmp_path):
    """Cut short, emptied, or one byte of its numbers changed: found by the page checksums."""
    out = tmp_path / "out"
    whole = run_grid(read_grid(file(SPOKEN)), out=out, progress=False)
    cells = sorted((out / "cells").glob("*.parquet"))
    for path, damage in zip(cells, ("cut", "emptied", "changed"), strict=False):
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes({"cut": content[:500], "emptied": b"", "changed": content}[damage])
    again = run_grid(read_grid(file(SPOKEN)), out=out, progress=False)
    assert again.kept == len(cells) - 3 and again.failures.empty
    pd.testing.assert_frame_equal(again.table, whole.table)


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
        ("seeds = 3", 'seeds = 3\ncollection = "nowhere"', "collection 'nowhere' is no folder"),
        ("seeds = 3", 'seeds = 3\nheadline = ["ridge/frozn"]', "headline 'ridge/frozn' is unknown; did you mean"),
        ("seeds = 3", "seeds = 3\nskip_broken = 1", "skip_broken must be true or false"),
        (
            'transfers = ["frozen", "unpaired"]',
            'transfers = ["unpaired"]',
            "no block runs ridge/frozen, the baseline of",
        ),
        ('"conse", ', '"conse", "recipe", ', "a block has no cell of 'recipe': it is for image-text, as names"),
        (
            "[[block]]",
            SMALL[SMALL.index("[[block]]") :].replace("ridge/", "propagation/").replace('frozen"\n', 'unpaired"\n')
            + "[[block]]",
            "image-text has two baselines",
        ),
    ],
)
def test_wrong_grids_are_refused_with_a_remedy(file, old, new, message):
    assert SMALL.count(old)
    with pytest.raises(ValueError, match=message):
        read_grid(file(SMALL.replace(old, new)))


def test_what_would_only_repeat_itself_is_not_run(file):
    """With all pairs, a method that draws nothing is run once, and nothing is left to be unpaired."""
    text = SMALL.replace("[20, 50]", '[20, "all"]').replace('"propagation"]', '"propagation", "two_tower"]')
    cells = read_grid(file(text)).cells()
    every = {(c.method, c.transfer, c.seed) for c in cells if c.budget < 0}
    assert every == {("ridge", "frozen", 0), *(("two_tower", "frozen", seed) for seed in range(3))}
    assert {(c.transfer, c.seed) for c in cells if c.budget == 20 and c.method == "ridge"} == {
        (transfer, seed) for transfer in ("frozen", "unpaired") for seed in range(3)
    }


def test_a_pair_may_stand_in_two_blocks_of_one_baseline(file):
    block = SMALL[SMALL.index("[[block]]") :].replace("[20, 50]", "[50, 100]")
    cells = read_grid(file(SMALL + block)).cells()
    assert len(cells) == len(set(cells)) and {cell.budget for cell in cells} == {0, 20, 50, 100}


def test_a_grid_runs_on_a_folder(file, tmp_path):
    """A collection of one's own, without speech: its pairs are learnt from, the others are said to be missing."""
    stamps, mine = load_stamps(), tmp_path / "mine"
    mine.mkdir()
    captions, rows = stamps.texts("en"), []
    for i in range(0, 400, 5):  # small for testing
        stamps.images[i].save(mine / f"{i}.png")
        rows.append({"id": f"item{i}", "image": f"{i}.png", "text": captions[i]})
    pd.DataFrame(rows).to_csv(mine / "metadata.csv", index=False)
    spoken = SPOKEN[SPOKEN.index("[[block]]") :]
    grid = SMALL.replace("[20, 50]", "[10]").replace("seeds = 3", 'seeds = 2\ncollection = "mine"') + spoken
    run = run_grid(read_grid(file(grid)), out=tmp_path / "out", progress=False)
    assert set(run.table["pair"]) == {"image-text"} and set(run.table["query"]) <= {row["id"] for row in rows}
    told = run.failures["error"].str.contains("speech-text has (?:no pairs|0 training pairs)")
    assert len(told) and told.all()


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
    wide = [
        better.pivot(index="seed", columns="query", values="hit@10"),
        ridge.pivot(index="seed", columns="query", values="hit@10"),
    ]
    low, high = bootstrap_interval((wide[0] - wide[1]).to_numpy(), np.arange(40) // 2, rng=0)  # draws seeds and groups
    assert summary.loc["better", ["difference_low", "difference_high"]].tolist() == pytest.approx([low, high])
    assert np.isnan(summary.loc["ridge", "p"]) and np.isnan(summary.loc["chance", "p"])
    assert summarize(made(0.0), baseline={"a-b": "ridge/frozen"}).set_index("method").loc["better", "p"] > 0.05


def test_holm_counts_the_comparisons_of_a_pair():
    table = made(0.02)
    alone = summarize(table, baseline={"a-b": "ridge/frozen"}).set_index("method").loc["better", "p"]
    again = table[table["method"] == "better"].assign(method="twin")
    both = summarize(pd.concat([table, again]), baseline={"a-b": "ridge/frozen"}).set_index("method")
    assert both.loc["better", "p"] == pytest.approx(min(2 * alone, 1))


def test_one_seed_gives_the_bca_interval_and_systems_stand_as_they_were_run():
    table = made(0.2).query("seed == 0")
    summary = summarize(table, baseline={"a-b": "ridge/frozen"})
    assert summary["method"].tolist() == ["chance", "ridge", "better"] and set(summary["seeds"]) == {1}
    better = table[table["method"] == "better"]
    want = bootstrap_interval(better["hit@10"], better["group"], method="bca", rng=0)
    assert tuple(summary.set_index("method").loc["better", ["low", "high"]]) == pytest.approx(want)
    some = headline_table(summary, ["better/frozen"])
    assert "better, frozen" in some and "ridge" not in some and "chance |" in some and "baseline" not in some


def test_a_summary_needs_its_metric_and_baseline():
    with pytest.raises(ValueError, match="no metric 'mrr'"):
        summarize(made(0.1), "mrr")
    with pytest.raises(ValueError, match="'cca/frozen' of a-b is not in the table"):
        summarize(made(0.1), baseline={"a-b": "cca/frozen"})


def test_the_block_of_the_readme_is_rewritten_and_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- headline -->\nold\n<!-- /headline -->\nafter\n")
    baseline = {"a-b": "ridge/frozen"}
    content = headline_table(summarize(made(0.2), baseline=baseline), baseline=baseline)
    for _ in range(2):  # the second time changes nothing
        rewrite_block(readme, content)
        text = readme.read_text()
        assert text == f"before\n<!-- headline -->\n\n{content}\n\n<!-- /headline -->\nafter\n"
    assert "| a ↔ b, 10 pairs | ridge, frozen |" in text and "* |" in text and "old" not in text
    assert text.count("| baseline |") == 2
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="must hold the lines"):
        rewrite_block(readme, content)
    assert readme.read_text() == "no marks"


def test_the_readme_shows_what_the_grid_gives():
    """Its caption and legend are today's; of its numbers, those are run again that nothing is drawn for."""
    grid, readme = read_grid(ROOT / "experiments" / "headline.toml"), (ROOT / "README.md").read_text(encoding="utf-8")
    assert caption(grid) in readme and legend(grid) in readme
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in readme.splitlines() if line.startswith("| ")]
    shown = {(row[1], row[6]): row[4] for row in rows if len(row) == 7}
    for method, transfer, name in (("conse", "none", "conse"), ("ridge", "frozen", "ridge, frozen")):
        cell = Cell("image-text", method, transfer, 0 if transfer == "none" else -1, 0)
        value = run_cell(cell, load_features(), judged=grid.judged)["hit@10"].mean()
        assert shown[name, "0.06"].startswith(f"{value:.2f} [")
