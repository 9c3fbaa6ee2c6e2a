"""Retrievals judged: every metric beside chance, and methods side by side."""

import numpy as np
import pytest

from xmr_lab.evaluation import comparison, evaluate, evaluate_both, evaluate_pairs, evaluate_within, format_comparison


def test_evaluate_has_every_metric_with_interval_and_chance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 8))
    names = [f"q{i}" for i in range(40)]
    y = x + rng.normal(size=x.shape)
    table = evaluate(x, y, (names, names), ks=[1, 10], ids=names, groups=np.arange(40) // 2)
    assert list(table.per_query.index) == names
    summary = table.summary(n_resamples=200)
    assert (summary["low"] <= summary["value"]).all() and (summary["value"] <= summary["high"]).all()
    assert summary.loc["hit_rate@10", "chance"] == pytest.approx(10 / 40)
    assert summary.loc["median_rank", "chance"] == pytest.approx(41 / 2)
    assert summary.loc["median_rank", "value"] == table.per_query["first_rank"].median()
    assert (summary["queries"] == 40).all()


def test_a_comparison_has_chance_first_and_refuses_another_gallery():
    rng = np.random.default_rng(0)
    x, own = rng.normal(size=(40, 8)), [[i] for i in range(40)]
    good, bad = evaluate(x, x, own), evaluate(x, rng.normal(size=(40, 8)), own)
    table = comparison({"good": good, "bad": bad}, ["hit_rate@10", "median_rank"])
    assert table["method"].tolist() == ["chance", "chance", "good", "good", "bad", "bad"]
    shown = format_comparison(table)
    assert shown.loc["chance"].tolist() == ["0.25", "20.5"]
    assert shown.loc["good"].tolist() == ["1.00 [1.00, 1.00]", "1.0 [1.0, 1.0]"]
    with pytest.raises(ValueError, match="chance is another for 'other'"):
        comparison({"good": good, "other": evaluate(x, x[:20], [[i % 20] for i in range(40)])})


def test_pairs_are_the_mean_of_both_directions():
    rng = np.random.default_rng(0)
    x, y, names = rng.normal(size=(30, 8)), rng.normal(size=(30, 8)), np.arange(30) // 2
    forth, back = evaluate_both(x, y, (names, names))
    both = evaluate_pairs(x, y, (names, names), groups=names)
    assert (
        both.per_query["hit_rate@10"].tolist()
        == ((forth.per_query["hit_rate@10"] + back.per_query["hit_rate@10"]) / 2).tolist()
    )
    with pytest.raises(ValueError, match="paired row by row"):
        evaluate_pairs(x, y[:20], (names, names[:20]))


def test_within_one_modality_each_item_is_ranked_among_those_outside_its_group():
    rng = np.random.default_rng(0)
    x, labels, groups = rng.normal(size=(40, 5)), rng.integers(0, 4, 40), np.arange(40) // 2
    table = evaluate_within(x, (labels, labels), groups=groups, ks=(1, 5))
    for i in range(40):
        others = groups != groups[i]
        alone = evaluate(x[[i]], x[others], (labels[[i]], labels[others]), ks=(1, 5))
        np.testing.assert_allclose(table.per_query.iloc[i], alone.per_query.iloc[0])
        np.testing.assert_allclose(table.chance.iloc[i], alone.chance.iloc[0])
    constant = evaluate_within(np.ones((40, 2)), (labels, labels), groups=groups)
    np.testing.assert_allclose(constant.per_query, constant.chance)


def test_within_says_what_is_wrong():
    x, labels = np.eye(3), [0, 0, 1]
    with pytest.raises(ValueError, match="one entry for each of 3"):
        evaluate_within(x, (labels, labels), groups=[1, 2], ks=(1,))
    with pytest.raises(ValueError, match="nobody outside its group"):
        evaluate_within(x, (labels, labels), groups=[1, 1, 1], ks=(1,))
    with pytest.raises(ValueError, match="ranked among 2 others"):
        evaluate_within(x, (labels, labels), ks=(1, 5))
