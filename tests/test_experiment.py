"""Experiments: paired seeds, every value kept, effects judged by their intervals."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from xmr_lab.experiment import Effect, effect, run_trials, summarize, values_of

QUERIES = ["a", "b", "c", "d"]


def draw(method: str, pairs: int, seed: int) -> dict[str, np.ndarray]:
    luck = np.random.default_rng(seed).random(4)
    return {"hit": luck < (0.9 if method == "good" else 0.2), "rank": luck * pairs}


CELLS = [{"method": method, "pairs": pairs} for method in ("good", "bad") for pairs in (5, 10)]


@pytest.fixture
def table() -> pd.DataFrame:
    return run_trials(draw, CELLS, seeds=6, queries=QUERIES, groups=["x", "x", "y", "z"], progress=False)


def test_every_value_is_kept_and_found_again(table):
    assert len(table) == 4 * 6 * 4
    values, groups = values_of(table, "rank", method="good", pairs=10)
    assert_array_equal(values, [draw("good", 10, seed)["rank"] for seed in range(6)])
    assert groups.tolist() == ["x", "x", "y", "z"]
    assert values.mean() == pytest.approx(summarize(table, ["method", "pairs"], "rank").set_index(["method", "pairs"])
                                          .loc[("good", 10), "value"])  # fmt: skip


def test_cells_with_the_same_seed_see_the_same_draw(table):
    five, ten = (values_of(table, "rank", method="bad", pairs=pairs)[0] for pairs in (5, 10))
    assert_array_equal(2 * five, ten)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": ["a", "b", "c", "c"]}, "unique query ids"),
        ({"groups": ["x"]}, "a group for each"),
        ({"cells": []}, "at least one cell"),
        ({"cells": [{"method": "good", "pairs": 1}, {"pairs": 1, "method": "bad"}]}, "the same keys"),
        ({"seeds": 0}, "one seed"),
        ({"queries": ["a"]}, r"expected 1 values a metric, got .*hit"),
    ],
)
def test_wrong_experiments_are_refused(change, message):
    given = {"cells": CELLS, "seeds": 2, "queries": QUERIES} | change
    with pytest.raises(ValueError, match=message):
        run_trials(draw, given.pop("cells"), progress=False, **given)


def test_a_condition_must_name_one_cell(table):
    with pytest.raises(ValueError, match="more than one cell"):
        values_of(table, "hit", method="good")
    with pytest.raises(ValueError, match="no cell"):
        values_of(table, "hit", method="unheard of")


@pytest.mark.parametrize(
    ("expected", "low", "high", "verdict"),
    [
        ("> 0", 0.1, 0.3, "shown"), ("> 0", -0.1, 0.3, "open"), ("> 0", -0.3, -0.1, "reversed"),
        ("< 0", -0.3, -0.1, "shown"), ("< 0", -0.3, 0.1, "open"), ("< 0", 0.1, 0.3, "reversed"),
        (0.05, -0.04, 0.04, "shown"), (0.05, -0.04, 0.06, "open"), (0.05, 0.06, 0.09, "reversed"),
        (0.05, -0.09, -0.06, "reversed"), ("> 0", 0.0, 0.3, "open"),
    ],
)  # fmt: skip
def test_verdicts_of_effects(expected, low, high, verdict):
    assert Effect("claim", "source", expected, (low + high) / 2, low, high).verdict == verdict


def test_an_effect_is_paired():
    """A small gain on every query is seen although the queries differ by much more."""
    rng = np.random.default_rng(0)
    hard = rng.random((10, 50))
    found = effect("a small gain", hard + 0.01, hard, expected="> 0", source="test")
    assert found.verdict == "shown" and found.low == pytest.approx(found.high)
    with pytest.raises(ValueError, match="same queries and seeds"):
        effect("another shape", hard, hard[:5], expected="> 0", source="test")
