"""Intervals and tests, against scipy and by simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from xmr_lab.intervals import bootstrap_interval, bootstrap_of, holm, paired_permutation_test


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("n", [80, 81])
def test_bootstrap_close_to_scipy(statistic, n):
    values = np.random.default_rng(0).exponential(size=n)
    options = {"method": "percentile", "n_resamples": 20_000, "rng": np.random.default_rng(1)}
    want = stats.bootstrap((values,), getattr(np, statistic), **options).confidence_interval
    assert_allclose(bootstrap_interval(values, statistic=statistic, n_resamples=20_000), want, rtol=0.03)


def test_median_of_a_resample_is_numpys():
    """With groups that hold everything, each resample is the sample itself, perhaps repeated."""
    for values in ([3.0, 1.0, 2.0], [4.0, 1.0, 3.0, 2.0]):
        low, high = bootstrap_interval(values, ["one"] * len(values), statistic="median", n_resamples=5)
        assert low == high == np.median(values)


def test_an_interval_over_seeds_and_queries_holds_the_truth_at_least_as_often_as_it_says():
    """Seeds and queries both differ; to take the seeds' mean as given, or the queries, would be too narrow."""
    rng = np.random.default_rng(0)
    both, queries_only = 0, 0
    for _ in range(200):
        values = rng.normal(size=(12, 1)) + rng.normal(size=(1, 60)) + rng.normal(size=(12, 60))  # true mean 0
        low, high = bootstrap_interval(values, n_resamples=300, rng=rng)
        both += low <= 0 <= high
        low, high = bootstrap_interval(values.mean(axis=0), n_resamples=300, rng=rng)
        queries_only += low <= 0 <= high
    assert both / 200 >= 0.90
    assert queries_only / 200 < 0.75


def test_seeds_that_agree_add_nothing():
    values, groups = np.random.default_rng(0).normal(size=90), np.arange(90) // 3
    options = {"n_resamples": 20_000, "rng": 0}
    assert_allclose(
        bootstrap_interval(np.tile(values, (5, 1)), groups, **options),
        bootstrap_interval(values, groups, **options), atol=0.01,
    )  # fmt: skip


def test_seeds_that_lack_different_queries_are_refused():
    with pytest.raises(ValueError, match="the same ones NaN"):
        bootstrap_interval([[np.nan, 1.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match="only the interval of the mean"):
        bootstrap_interval(np.ones((2, 3)), statistic="median")


def test_bootstrap_of_a_mean_is_that_of_the_mean():
    values, groups = np.random.default_rng(0).normal(size=120), np.arange(120) // 4
    want = bootstrap_interval(values, groups, n_resamples=4000)
    assert_allclose(bootstrap_of(lambda rows: values[rows].mean(), groups, n_resamples=4000), want, atol=0.02)


def test_clustered_interval_holds_the_truth_as_often_as_it_says():
    """Five items a group share the group's effect; ignoring that gives intervals that are far too narrow."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    clustered, naive = 0, 0
    for _ in range(200):
        values = rng.normal(size=40)[groups] + 0.5 * rng.normal(size=200)  # the true mean is 0
        low, high = bootstrap_interval(values, groups, n_resamples=300, rng=rng)
        clustered += low <= 0 <= high
        low, high = bootstrap_interval(values, n_resamples=300, rng=rng)
        naive += low <= 0 <= high
    assert 0.90 <= clustered / 200 <= 0.98
    assert naive / 200 < 0.75


def test_bootstrap_leaves_nan_out_and_is_reproducible():
    values = np.array([0.0, 1.0, 2.0, 4.0])
    with_nan = np.append(values, np.nan)
    assert bootstrap_interval(with_nan, list("abcde")) == bootstrap_interval(values, list("abcd"))
    assert bootstrap_interval(values, rng=3) == bootstrap_interval(values, rng=np.random.default_rng(3))
    with pytest.raises(ValueError, match="no value is left"):
        bootstrap_interval([np.nan])
    with pytest.raises(ValueError, match="one group for each value"):
        bootstrap_interval(values, [1, 2])
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval(values, confidence=95)


def test_exact_permutation_test_equals_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, size=(2, 10)) * [[1], [0.5]]
    want = stats.permutation_test(
        (a, b), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert paired_permutation_test(a, b) == pytest.approx(want)


def test_random_permutation_test_is_close_to_the_exact_one():
    rng = np.random.default_rng(0)
    a = rng.normal(0.6, 1, size=12)
    exact = paired_permutation_test(a, np.zeros(12))
    assert paired_permutation_test(a, np.zeros(12), n_resamples=4000) == pytest.approx(exact, abs=0.02)


def test_permutation_test_is_never_zero_and_exchanges_groups_together():
    ones, zeros = np.ones(1000), np.zeros(1000)
    assert paired_permutation_test(ones, zeros, n_resamples=99) == pytest.approx(1 / 100)
    groups = np.repeat([0, 1, 2], [300, 300, 400])
    assert paired_permutation_test(ones, zeros, groups) == 0.25  # 2 of 2^3
    assert paired_permutation_test(ones, ones) == 1
    assert paired_permutation_test([1, np.nan, 1], [0, 5, 0]) == 0.5
    with pytest.raises(ValueError, match="same queries"):
        paired_permutation_test([1], [1, 2])


def test_permutation_test_is_level():
    rng = np.random.default_rng(0)
    p = [paired_permutation_test(*rng.normal(size=(2, 30)), n_resamples=199, rng=rng) for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.08


def test_holm():
    assert_allclose(holm([0.01, 0.02, 0.03, 0.5]), [0.04, 0.06, 0.06, 0.5])
    assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert holm([]).shape == (0,)
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_bca_close_to_scipy_for_groups_of_one(statistic):
    values = np.random.default_rng(0).exponential(size=61)
    options = {"method": "BCa", "n_resamples": 20_000, "rng": np.random.default_rng(1)}
    want = stats.bootstrap((values,), getattr(np, statistic), **options).confidence_interval
    got = bootstrap_interval(values, statistic=statistic, n_resamples=20_000, method="bca")
    assert_allclose(got, want, rtol=0.03)
    percentile = bootstrap_interval(values, statistic="mean", n_resamples=20_000)
    assert statistic == "median" or abs(got[1] - want[1]) < abs(percentile[1] - want[1])


def test_bca_jackknifes_groups_and_not_items():
    """Copies of an item in its group are no evidence: the interval of the groups stays."""
    values = np.random.default_rng(0).exponential(size=40)
    want = bootstrap_interval(values, method="bca", n_resamples=4000)
    got = bootstrap_interval(np.repeat(values, 3), np.repeat(np.arange(40), 3), method="bca", n_resamples=4000)
    assert_allclose(got, want, rtol=1e-9)


def test_bca_holds_the_truth_more_often_where_values_are_skewed():
    """Groups of four with an exponential effect; the percentile interval lies too low."""
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(40), 4)
    held, misses = {"bca": 0, "percentile": 0}, {"bca": 0, "percentile": 0}
    for trial in range(400):
        values = rng.exponential(size=40)[groups] + 0.2 * rng.normal(size=160)
        for method in held:
            low, high = bootstrap_interval(values, groups, n_resamples=400, method=method, rng=trial)
            held[method] += low <= 1 <= high
            misses[method] += high < 1
    assert 0.90 <= held["bca"] / 400 <= 0.98 and held["bca"] > held["percentile"]
    assert misses["bca"] < misses["percentile"]


def test_bca_of_equal_values_is_that_value_and_it_refuses_what_it_cannot_do():
    assert bootstrap_interval(np.zeros(9), method="bca") == (0, 0)
    assert_allclose(bootstrap_interval(np.full(9, 0.1), method="bca"), 0.1)
    with pytest.raises(ValueError, match="two groups"):
        bootstrap_interval([1.0, 2.0], ["one", "one"], method="bca")
    with pytest.raises(ValueError, match="average"):
        bootstrap_interval(np.ones((2, 5)), method="bca")
    with pytest.raises(ValueError, match="method must be"):
        bootstrap_interval([1.0, 2.0], method="basic")
