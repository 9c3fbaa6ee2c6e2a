"""Distances of domains against slow versions, closed forms and what they must be for equal distributions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xmr_lab.transfer import coral_distance, mmd, mmd_test, proxy_a_distance


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("bandwidth", [None, 0.7])
def test_mmd_equals_a_double_loop(rng, bandwidth):
    x, z = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 1  # small for testing
    rows = np.vstack([x, z])
    sigma = bandwidth or np.median([np.linalg.norm(rows[i] - rows[j]) for i in range(12) for j in range(i)])
    terms = {"xx": [], "zz": [], "xz": []}
    for i in range(12):
        for j in range(12):
            if i != j:
                kind = "xx" if i < 7 and j < 7 else "zz" if i >= 7 and j >= 7 else "xz"
                terms[kind].append(np.exp(-np.sum((rows[i] - rows[j]) ** 2) / (2 * sigma**2)))
    want = np.mean(terms["xx"]) + np.mean(terms["zz"]) - 2 * np.mean(terms["xz"])
    assert_allclose(mmd(x, z, bandwidth=bandwidth), want, atol=1e-12)


def test_mmd_is_symmetric_and_ignores_a_common_shift(rng):
    x, z = rng.normal(size=(20, 3)), rng.normal(size=(30, 3)) + 1
    assert_allclose(mmd(x, z), mmd(z, x), atol=1e-12)
    assert_allclose(mmd(x, z), mmd(x + 5, z + 5), atol=1e-9)


def test_mmd_of_equal_distributions_is_zero_on_average(rng):
    values = np.array([mmd(rng.normal(size=(20, 3)), rng.normal(size=(25, 3)), bandwidth=1.5) for _ in range(300)])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(300)
    assert (values < 0).mean() > 0.3  # unbiased: it must be able to fall below


def test_permutation_p_values_are_uniform_without_a_shift_and_small_with_one(rng):
    p = [mmd_test(rng.normal(size=(15, 2)), rng.normal(size=(15, 2)), n_resamples=39, rng=i)[1] for i in range(100)]
    assert 0.35 < np.mean(p) < 0.65 and np.mean(np.array(p) <= 0.1) < 0.25
    distance, p = mmd_test(rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + 2, n_resamples=99)
    assert p == 0.01 and distance > 0.1


def test_coral_distance_written_out(rng):
    x, z = rng.normal(size=(20, 3)), rng.normal(size=(30, 3)) * 2 + 7
    a, b = (np.cov(side, rowvar=False) for side in (x, z))
    assert_allclose(coral_distance(x, z), np.linalg.norm(a - b) ** 2 / (4 * 9))
    assert coral_distance(x, x + 3) < 1e-20


def test_a_distance_runs_from_none_to_two(rng):
    x = rng.normal(size=(200, 4))
    assert abs(proxy_a_distance(x[:100], x[100:])) < 0.5
    assert proxy_a_distance(x[:100], x[100:] + 10) == 2.0
    assert proxy_a_distance(x[:40], x[100:] + 10) == 2.0  # a larger domain weighs no more


def test_a_distance_is_not_fooled_by_copies_across_folds(rng):
    """Each row three times: without groups a flexible classifier could recognise them."""
    x, z = (np.repeat(rng.normal(size=(20, 60)), 3, axis=0) for _ in range(2))
    copies = np.repeat(np.arange(40), 3)
    assert proxy_a_distance(x, z, C=100) > 1.5 > 1.0 > proxy_a_distance(x, z, C=100, groups=copies)


@pytest.mark.parametrize("measure", [mmd, mmd_test, coral_distance, proxy_a_distance])
def test_bad_input_is_named(rng, measure):
    x = rng.normal(size=(10, 3))
    broken = x.copy()
    broken[4, 1] = np.nan
    with pytest.raises(ValueError, match="target holds NaN or infinity in row 4"):
        measure(x, broken)
    with pytest.raises(ValueError, match="the same columns, got 3 and 2"):
        measure(x, x[:, :2])
    with pytest.raises(ValueError, match="at least two rows of each domain"):
        measure(x, x[:1])
    with pytest.raises(ValueError, match="source must have the shape"):
        measure(x[0], x)


def test_what_has_no_scale_or_too_few_rows_is_refused(rng):
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        mmd(np.ones((5, 2)), np.ones((5, 2)))
    with pytest.raises(ValueError, match="5 folds need as many rows"):
        proxy_a_distance(rng.normal(size=(4, 2)), rng.normal(size=(9, 2)))
    with pytest.raises(ValueError, match="one group for each of 18 rows"):
        proxy_a_distance(rng.normal(size=(9, 2)), rng.normal(size=(9, 2)), groups=np.arange(9))
