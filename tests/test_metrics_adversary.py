"""What could make a metric lie: ties, duplicates, empty, missing, not finite."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab import metrics
from xmr_lab.evaluation import evaluate, evaluate_both, evaluate_ranks
from xmr_lab.metrics import rank_relevant, rank_relevant_both, rank_relevant_from_scores, relevance_matrix


@pytest.mark.parametrize("n_relevant", [1, 5])
def test_constant_scores_score_exactly_chance(n_relevant):
    relevant = np.zeros((3, 40), bool)
    relevant[:, :n_relevant] = True
    ranks = rank_relevant_from_scores(np.full((3, 40), 0.1), relevant)
    assert_allclose(metrics.recall_at_k(ranks, 10), 10 / 40, rtol=1e-15)
    assert_allclose(metrics.precision_at_k(ranks, 10), n_relevant / 40, rtol=1e-15)
    assert_allclose(metrics.first_rank(ranks), 41 / (n_relevant + 1))
    miss = np.prod([(30 - i) / (40 - i) for i in range(n_relevant)])
    assert_allclose(metrics.hit_rate_at_k(ranks, 10), 1 - miss)
    if n_relevant == 1:
        harmonic = np.sum(1 / np.arange(1, 41))
        assert_allclose(metrics.reciprocal_rank(ranks), harmonic / 40)
        assert_allclose(metrics.average_precision(ranks), harmonic / 40)


@pytest.mark.parametrize("chunk", [1, 5, 512])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_identical_vectors_tie_exactly(dtype, chunk):
    """A matrix product alone gives identical vectors different scores: its kernels differ at the edges."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(1, 384)), 50, axis=0).astype(dtype)
    y = np.repeat(rng.normal(size=(1, 384)), 203, axis=0).astype(dtype)
    relevant = rng.random((50, 203)) < 0.05
    for ranks in rank_relevant_both(x, y, relevant, chunk_size=chunk):
        for got, want in zip(
            (ranks.starts, ranks.above, ranks.tied, ranks.relevant),
            (lambda r: (r.starts, r.above, r.tied, r.relevant))(ranks.at_random()),
            strict=True,
        ):
            assert_array_equal(got, want)


def test_order_of_the_gallery_cannot_help():
    """The classic flaw: all scores are the same, and a stable sort finds the diagonal."""
    table = evaluate(np.ones((20, 4)), np.ones((20, 4)), (np.arange(20), np.arange(20)))
    assert table.per_query["hit_rate@1"].mean() == pytest.approx(1 / 20)


def test_several_captions_of_an_image():
    """Hit rate counts a query once, recall counts captions, and the way back has one image for each."""
    images = np.eye(3)
    captions = np.stack([images[0], images[1], images[1], images[1], [1, 0, 0.5], images[0]])
    labels = [0, 1, 2], [0, 0, 1, 1, 2, 2]
    forth, back = evaluate_both(images, captions, labels)
    # image 0: captions 0 and 5 tie at the top (one relevant), then 4, then 1, 2, 3 tie (1 is relevant)
    assert_allclose(forth.per_query["hit_rate@1"], [1 / 2, 2 / 3, 1])
    assert_allclose(forth.per_query["recall@1"], [1 / 4, 1 / 3, 1 / 2])
    assert_allclose(back.per_query["hit_rate@1"], [1, 0, 1, 1, 0, 0])
    assert len(back.per_query) == 6


def test_a_query_with_nothing_relevant_has_no_value_and_counts_in_no_mean():
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    table = evaluate_ranks(rank_relevant_from_scores(scores, [[1], []]))
    assert table.n_without_relevant == 1
    assert table.per_query.iloc[1].isna().all() and table.chance.iloc[1].isna().all()
    summary = table.summary(n_resamples=10)
    assert summary.loc["reciprocal_rank", "value"] == 0.5
    assert (summary["queries"] == 1).all()


def test_nothing_relevant_at_all():
    ranks = rank_relevant(np.eye(3), np.eye(3), [[], [], []])
    assert np.isnan(metrics.average_precision(ranks)).all()
    assert np.isnan(metrics.hit_rate_at_k(ranks, 1)).all()
    with pytest.raises(ValueError, match="no value is left"):
        evaluate_ranks(ranks).summary()


def test_everything_relevant_scores_one():
    ranks = rank_relevant_from_scores([[1, 2, 2]], np.ones((1, 3), bool))
    for values in (
        metrics.average_precision(ranks),
        metrics.reciprocal_rank(ranks),
        metrics.ndcg_at_k(ranks, 2),
        metrics.precision_at_k(ranks, 2),
    ):
        assert_allclose(values, 1)


def test_k_beyond_the_gallery_is_the_whole_gallery():
    ranks = rank_relevant_from_scores([[1.0, 2.0, 3.0]], [[0]])
    for metric in (metrics.hit_rate_at_k, metrics.precision_at_k, metrics.f1_at_k, metrics.ndcg_at_k):
        assert_array_equal(metric(ranks, 100), metric(ranks, 3))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        metrics.hit_rate_at_k(ranks, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad):
    x = np.eye(3)
    x[1, 2] = bad
    with pytest.raises(ValueError, match="queries must be finite: row 1"):
        rank_relevant(x, np.eye(3), [[0], [1], [2]])
    with pytest.raises(ValueError, match="gallery must be finite: row 1"):
        rank_relevant(np.eye(3), x, [[0], [1], [2]])


def test_scores_may_be_infinite_but_not_nan():
    ranks = rank_relevant_from_scores([[-np.inf, 0.0, np.inf]], [[1]])
    assert_array_equal(metrics.first_rank(ranks), [2])
    with pytest.raises(ValueError, match="scores must not be NaN, got 1"):
        rank_relevant_from_scores([[np.nan, 0.0]], [[1]])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.empty((0, 3)), np.eye(3), "queries must not be empty"),
        (np.eye(3), np.empty((0, 3)), "gallery must not be empty"),
        (np.eye(3), np.eye(4), "queries have 3 dimensions, the gallery has 4"),
        (np.eye(3)[0], np.eye(3), "queries must be a matrix"),
        (np.eye(3).astype(str), np.eye(3), "queries must be a matrix of real numbers"),
    ],
)
def test_wrong_vectors(x, y, message):
    with pytest.raises(ValueError, match=message):
        rank_relevant(x, y, [])


def test_empty_scores():
    with pytest.raises(ValueError, match="non-empty"):
        rank_relevant_from_scores(np.empty((0, 3)), [])


@pytest.mark.parametrize(
    ("relevant", "message"),
    [
        (np.ones((2, 2), bool), r"boolean matrix of shape \(2, 3\)"),
        (np.ones((2, 3)), "boolean matrix"),
        ([[0]], "each of 2 queries, got 1"),
        ([[0, 0], [1]], "query 0: a gallery row is listed twice"),
        ([[0], [3]], "query 1: a gallery row is outside"),
        ([[0], [-1]], "query 1: a gallery row is outside"),
        ([[0], [1.5]], "query 1: expected row numbers"),
        (([0, 1], [0, 1]), "two label arrays"),
        (([0.0, np.nan], [0.0, 1.0, 2.0]), "label is missing"),
        ((["a", None], ["a", "b", "c"]), "label is missing"),
    ],
)
def test_wrong_relevance(relevant, message):
    with pytest.raises(ValueError, match=message):
        relevance_matrix(relevant, 2, 3)


def test_duplicate_ids():
    with pytest.raises(ValueError, match="'a' is there twice"):
        evaluate(np.eye(2), np.eye(2), [[0], [1]], ids=["a", "a"])
    with pytest.raises(ValueError, match="one entry for each of 2 queries"):
        evaluate(np.eye(2), np.eye(2), [[0], [1]], groups=[1])


def test_a_vector_of_zeros_has_cosine_zero():
    ranks = rank_relevant([[0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[0]])
    assert_array_equal(ranks.tied, [2])


def test_extreme_lengths():
    """Tiny vectors keep their direction; scores that would overflow are an error, not infinity."""
    tiny = np.eye(3, dtype=np.float32) * np.float32(1e-30)
    assert_array_equal(metrics.first_rank(rank_relevant(tiny, tiny, [[0], [1], [2]])), 1)
    long = np.eye(3, dtype=np.float32) * np.float32(1e25)
    assert_array_equal(metrics.first_rank(rank_relevant(long, long, [[0], [1], [2]])), 1)
    with pytest.raises(ValueError, match="scores are too large for float32"):
        rank_relevant(long, long, [[0], [1], [2]], metric="dot")


def test_importing_is_light():
    """Neither torch nor the compiler is loaded before it is needed."""
    code = "import sys, xmr_lab.metrics, xmr_lab.retrieval; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numba", "pandas", "sklearn"} & set(result.stdout.split())
