"""Geometry against loops, closed forms and scipy."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from xmr_lab.geometry import (
    alignment,
    hubness,
    k_occurrence,
    k_occurrence_from_scores,
    modality_gap,
    uniformity,
)
from xmr_lab.retrieval import similarity


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_gap_is_the_distance_of_centres_whatever_the_lengths_of_rows(rng):
    x, y = rng.normal(size=(30, 5)) + 1, rng.normal(size=(20, 5))
    want = np.sqrt(sum((unit(x)[:, i].mean() - unit(y)[:, i].mean()) ** 2 for i in range(5)))
    assert_allclose(modality_gap(x, y), want)
    assert_allclose(modality_gap(x * rng.uniform(0.1, 9, (30, 1)), y), want)
    assert_allclose(modality_gap(y, x), want)


def test_gap_of_two_cones_in_closed_form():
    angles = np.linspace(-0.5, 0.5, 10_001)  # a uniform cone around +x, another around +y
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert_allclose(modality_gap(x, x[:, ::-1]), np.sqrt(2) * np.sin(0.5) / 0.5, rtol=1e-4)


def test_gap_is_blind_to_rotation(rng):
    x, y = rng.normal(size=(12, 6)) + 1, rng.normal(size=(9, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert_allclose(modality_gap(x @ rotation, y @ rotation), modality_gap(x, y))


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_alignment_equals_the_loop(power, rng):
    x, y = rng.normal(size=(2, 15, 4))
    want = np.mean([np.linalg.norm(a - b) ** power for a, b in zip(unit(x), unit(y), strict=True)])
    assert_allclose(alignment(x, y, power=power), want)


def test_alignment_from_perfect_to_opposite(rng):
    x = rng.normal(size=(15, 4))
    assert_allclose([alignment(x, 3 * x), alignment(x, -x)], [0, 4], atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 3, 8, 1000])
@pytest.mark.parametrize("t", [0.5, 2.0, 500.0])  # the last one underflows without logarithms
def test_uniformity_equals_the_loop(chunk, t, rng):
    x = rng.normal(size=(17, 3))
    exponents = [-t * np.sum((a - b) ** 2) for a, b in combinations(unit(x), 2)]
    want = np.logaddexp.reduce(exponents) - np.log(len(exponents))
    assert_allclose(uniformity(x, t=t, chunk_size=chunk), want)


def test_uniformity_of_the_uniform_sphere_in_closed_form(rng):
    # in three dimensions the squared distance of two random directions is uniform on [0, 4]
    assert_allclose(uniformity(rng.normal(size=(3000, 3)), t=2), np.log((1 - np.exp(-8)) / 8), atol=0.01)
    assert uniformity(np.ones((5, 3))) == pytest.approx(0)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_k_occurrence_equals_the_loop(chunk, rng):
    queries, gallery = rng.normal(size=(40, 6)), rng.normal(size=(25, 6))
    want = np.zeros(25, int)
    for row in similarity(queries, gallery):
        want[np.argsort(-row)[:4]] += 1
    assert_array_equal(k_occurrence(queries, gallery, 4, chunk_size=chunk), want)
    assert_array_equal(k_occurrence_from_scores(similarity(queries, gallery), 4), want)


def test_k_occurrence_within_one_set_leaves_out_the_item_itself(rng):
    x = rng.normal(size=(30, 4))
    scores = similarity(x, x)
    np.fill_diagonal(scores, -np.inf)
    assert_array_equal(k_occurrence(x, k=3), k_occurrence_from_scores(scores, 3))


def test_k_occurrence_of_copies_counts_k_for_each_query():
    counts = k_occurrence(np.ones((6, 2)), k=2)
    assert counts.sum() == 12 and counts.max() <= 5  # an item is never its own result


def test_equal_scores_go_to_the_lower_rows():
    assert_array_equal(k_occurrence_from_scores(np.zeros((5, 4)), 2), [5, 5, 0, 0])


def test_hubness_is_scipys_skewness(rng):
    counts = rng.poisson(3, size=200)
    assert_allclose(hubness(counts), stats.skew(counts))
    assert_allclose(hubness(7 * counts + 2), hubness(counts))
    assert hubness(np.full(9, 0.1)) == 0.0


def test_hubness_of_distances_grows_with_dimension(rng):
    def euclidean(x):  # ranks by |x - y|^2 = |x|^2 - 2 (x, 1) . (y, -|y|^2 / 2)
        queries, gallery = np.c_[x, np.ones(len(x))], np.c_[x, -(x**2).sum(axis=1) / 2]
        return hubness(k_occurrence(queries, gallery, 6, metric="dot"))  # each item finds itself, too

    assert euclidean(rng.normal(size=(500, 100))) > euclidean(rng.normal(size=(500, 3))) + 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: modality_gap([[1.0, np.nan]], [[1.0, 0.0]]), "finite"),
        (lambda: modality_gap([[1.0, 0.0]], [[1.0, 0.0, 0.0]]), "dimensions"),
        (lambda: modality_gap(np.empty((0, 2)), [[1.0, 0.0]]), "empty"),
        (lambda: modality_gap([[1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]), "row 1 of y is all zeros"),
        (lambda: alignment(np.eye(2), np.eye(2)[:1]), "paired"),
        (lambda: alignment(np.eye(2), np.eye(2), power=0), "power"),
        (lambda: uniformity([[1.0, 0.0]]), "two rows"),
        (lambda: uniformity(np.eye(2), t=-1), "t > 0"),
        (lambda: k_occurrence(np.eye(3), np.eye(3), 4), "between 1 and the 3"),
        (lambda: k_occurrence(np.eye(3), k=3), "between 1 and the 2"),
        (lambda: k_occurrence_from_scores([[1.0, np.nan]], 1), "without NaN"),
        (lambda: k_occurrence_from_scores(np.ones(3), 1), "matrix"),
        (lambda: hubness([1]), "two finite counts"),
        (lambda: hubness([1, np.inf]), "two finite counts"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
