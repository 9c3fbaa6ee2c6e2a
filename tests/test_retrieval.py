"""Exact search against a full sort, whatever the chunks."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab.fusion import standardize_scores
from xmr_lab.retrieval import retrieve, similarity


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_chunked_topk_equals_full_sort(chunk, metric, dtype, rng):
    queries = rng.normal(size=(50, 16)).astype(dtype)  # small for testing
    gallery = rng.normal(size=(333, 16)).astype(dtype)
    gallery[100:200] = gallery[:100]  # ties
    scores = similarity(queries, gallery, metric=metric)
    want = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 10, 333):
        found = retrieve(queries, gallery, k, metric=metric, chunk_size=chunk)
        assert_array_equal(found.ids, want[:, :k])
        assert_array_equal(found.scores, np.take_along_axis(scores, found.ids, axis=1))


def test_similarity_is_the_product_and_symmetric(rng):
    x, y = rng.normal(size=(20, 100)), rng.normal(size=(30, 100))
    assert_allclose(similarity(x, y, metric="dot"), x @ y.T, rtol=1e-12, atol=1e-12)
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y)]
    assert_allclose(similarity(x, y), units[0] @ units[1].T, atol=1e-14)
    assert_array_equal(similarity(x, y), similarity(y, x).T)
    assert similarity(x.astype(np.float32), y.astype(np.float32)).dtype == np.float32


def test_integers_are_exact():
    queries, gallery = np.array([[2**30, 1]]), np.array([[1, 1], [1, 2], [1, 3]])
    assert_array_equal(retrieve(queries, gallery, metric="dot").ids, [[2, 1, 0]])


def test_constant_gallery_is_returned_in_order():
    ids = retrieve(np.ones((3, 384), np.float32), np.ones((1000, 384), np.float32), k=5, chunk_size=37).ids
    assert_array_equal(ids, np.tile(np.arange(5), (3, 1)))


def test_read_only_and_strided_arrays_are_fine(rng):
    x = rng.normal(size=(6, 8))
    want = retrieve(x[::2, ::2], x[:, ::2], k=2).ids
    copy = np.asfortranarray(x[:, ::2])
    copy.setflags(write=False)
    assert_array_equal(retrieve(copy[::2], copy, k=2, metric="cosine").ids, want)
    assert_array_equal(retrieve(copy[::2], copy, k=1, metric="dot").ids.shape, (3, 1))


def test_k_beyond_the_gallery_is_the_whole_gallery():
    assert retrieve(np.eye(3), np.eye(3), k=10).ids.shape == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
        ({"metric": "euclidean"}, "metric must be 'cosine' or 'dot', got 'euclidean'"),
        ({"gallery": np.eye(3) * np.nan}, "gallery must be finite: row 0"),
        ({"gallery": np.eye(4)}, "queries have 3 dimensions, the gallery has 4"),
        ({"gallery": np.empty((0, 3))}, "gallery must not be empty"),
        ({"queries": np.ones(3)}, "queries must be a matrix"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        retrieve(**{"queries": np.eye(3), "gallery": np.eye(3), **arguments})


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_standardize_scores(axis, rng):
    scores = standardize_scores(rng.normal(3, 5, size=(20, 30)), axis=axis)
    assert_allclose(scores.mean(axis=axis), 0, atol=1e-12)
    assert_allclose(scores.std(axis=axis), 1)
    assert_array_equal(standardize_scores(np.full((7, 3), 0.1), axis=axis), np.zeros((7, 3)))
    with pytest.raises(ValueError, match="finite"):
        standardize_scores([[np.nan]])
