"""Each metric against its definition (the mean over all orders of ties), trec_eval and scikit-learn."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from xmr_lab import metrics
from xmr_lab.metrics import rank_relevant, rank_relevant_both, rank_relevant_from_scores
from xmr_lab.retrieval import similarity

# --- the definitions: ``hits`` says, from the best rank down, which items are relevant -------------------


def naive_hit_rate(hits, k):
    return float(any(hits[:k]))


def naive_recall(hits, k):
    return sum(hits[:k]) / sum(hits)


def naive_precision(hits, k):
    return sum(hits[:k]) / len(hits[:k])


def naive_f1(hits, k):
    p, r = naive_precision(hits, k), naive_recall(hits, k)
    return 2 * p * r / (p + r) if p + r else 0.0


def naive_ndcg(hits, k):
    def gain(ranked):
        return sum(1 / np.log2(rank + 1) for rank, hit in enumerate(ranked[:k], start=1) if hit)

    return gain(hits) / gain(sorted(hits, reverse=True))


def naive_average_precision(hits):
    return np.mean([naive_precision(hits, rank) for rank, hit in enumerate(hits, start=1) if hit])


def naive_first_rank(hits):
    return hits.index(True) + 1


def naive_reciprocal_rank(hits):
    return 1 / naive_first_rank(hits)


def over_orders_of_ties(scores, relevant):
    """Every ranking by descending score, one for each order of the tied items."""
    ties = [np.flatnonzero(scores == score) for score in np.unique(scores)[::-1]]
    for orders in product(*(permutations(tie) for tie in ties)):
        yield [bool(relevant[item]) for order in orders for item in order]


AT_K = ["hit_rate", "recall", "precision", "f1", "ndcg"]
WHOLE = ["average_precision", "first_rank", "reciprocal_rank"]


@pytest.mark.parametrize("seed", range(12))
def test_metrics_equal_their_mean_over_all_orders_of_ties(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, size=7)  # small for testing: at most 7! orders
    relevant = rng.permutation(np.arange(7) < rng.integers(1, 6))
    rankings = list(over_orders_of_ties(scores, relevant))
    ranks = rank_relevant_from_scores(scores[None], relevant[None])
    for name, k in product(AT_K, [1, 2, 5, 7]):
        want = np.mean([globals()[f"naive_{name}"](hits, k) for hits in rankings])
        assert_allclose(getattr(metrics, f"{name}_at_k")(ranks, k), [want], rtol=1e-12, atol=1e-12)
    for name in WHOLE:
        want = np.mean([globals()[f"naive_{name}"](hits) for hits in rankings])
        assert_allclose(getattr(metrics, name)(ranks), [want], rtol=1e-12)


# --- outside oracles -----------------------------------------------------------------------------------


@pytest.fixture
def problem():
    """Scores without ties and a relevance in which every query has something. Small for testing."""
    rng = np.random.default_rng(1)
    scores = rng.permuted(np.tile(np.arange(60.0), (25, 1)), axis=1)
    relevant = rng.random((25, 60)) < 0.1
    relevant[:, 7] = True
    return scores, relevant


def test_equal_to_trec_eval(problem):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    scores, relevant = problem
    measures = {"map", "recip_rank", "ndcg_cut.1,5,10", "P.1,5,10", "recall.1,5,10", "success.1,5,10"}
    qrel = {f"q{q}": {f"d{d}": int(hit) for d, hit in enumerate(row)} for q, row in enumerate(relevant)}
    run = {f"q{q}": {f"d{d}": float(s) for d, s in enumerate(row)} for q, row in enumerate(scores)}
    want = pytrec_eval.RelevanceEvaluator(qrel, measures).evaluate(run)
    ranks = rank_relevant_from_scores(scores, relevant)
    ours = {"map": metrics.average_precision(ranks), "recip_rank": metrics.reciprocal_rank(ranks)}
    for k in (1, 5, 10):
        ours[f"ndcg_cut_{k}"] = metrics.ndcg_at_k(ranks, k)
        ours[f"P_{k}"] = metrics.precision_at_k(ranks, k)
        ours[f"recall_{k}"] = metrics.recall_at_k(ranks, k)
        ours[f"success_{k}"] = metrics.hit_rate_at_k(ranks, k)
    for name, values in ours.items():
        assert_allclose(values, [want[f"q{q}"][name] for q in range(len(scores))], rtol=1e-9, err_msg=name)


def test_equal_to_ir_measures(problem):
    ir_measures = pytest.importorskip("ir_measures")
    scores, relevant = problem
    qrels = [ir_measures.Qrel(str(q), str(d), int(relevant[q, d])) for q, d in np.ndindex(relevant.shape)]
    run = [ir_measures.ScoredDoc(str(q), str(d), float(scores[q, d])) for q, d in np.ndindex(scores.shape)]
    want = ir_measures.calc_aggregate([ir_measures.AP, ir_measures.RR, ir_measures.nDCG @ 10], qrels, run)
    ranks = rank_relevant_from_scores(scores, relevant)
    assert metrics.average_precision(ranks).mean() == pytest.approx(want[ir_measures.AP])
    assert metrics.reciprocal_rank(ranks).mean() == pytest.approx(want[ir_measures.RR])
    assert metrics.ndcg_at_k(ranks, 10).mean() == pytest.approx(want[ir_measures.nDCG @ 10])


@pytest.mark.parametrize("k", [1, 5, 10, 60])
@pytest.mark.parametrize("levels", [3, 20, 1000])
def test_ndcg_equal_to_scikit_learn_which_averages_ties(k, levels, problem):
    from sklearn.metrics import ndcg_score

    relevant = problem[1]
    scores = np.random.default_rng(levels).integers(0, levels, relevant.shape)
    want = [ndcg_score(relevant[[q]], scores[[q]], k=k) for q in range(len(scores))]
    assert_allclose(metrics.ndcg_at_k(rank_relevant_from_scores(scores, relevant), k), want, rtol=1e-12)


def test_average_precision_equal_to_scikit_learn_without_ties(problem):
    from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

    scores, relevant = problem
    ours = metrics.average_precision(rank_relevant_from_scores(scores, relevant))
    assert_allclose(ours, [average_precision_score(r, s) for r, s in zip(relevant, scores, strict=True)])
    assert ours.mean() == pytest.approx(label_ranking_average_precision_score(relevant, scores))


def test_classification_equal_to_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score

    labels, predictions = ["a", "b", "b", "c"], ["a", "b", "c", "d"]
    assert metrics.accuracy(labels, predictions).mean() == accuracy_score(labels, predictions)
    assert metrics.f1_score(labels, predictions) == f1_score(labels, predictions, average="macro", zero_division=0)


# --- vectors: what must not matter -----------------------------------------------------------------------


def assert_same(a, b):
    for field in ("n_gallery", "starts", "above", "tied", "relevant"):
        assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_chunks_and_direction_change_nothing(chunk, metric, dtype):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 40)).astype(dtype), rng.normal(size=(70, 40)).astype(dtype)  # small
    y[rng.integers(0, 70, 30)] = y[0]  # identical vectors
    relevant = rng.random((30, 70)) < 0.1
    scores = similarity(x, y, metric=metric)
    want_forth = rank_relevant_from_scores(scores, relevant)
    want_back = rank_relevant_from_scores(scores.T, relevant.T)
    forth, back = rank_relevant_both(x, y, relevant, metric=metric, chunk_size=chunk)
    assert_same(forth, want_forth)
    assert_same(back, want_back)
    assert_same(rank_relevant(y, x, relevant.T, metric=metric, chunk_size=chunk), want_back)


@settings(max_examples=50, deadline=None)
@given(
    scores=arrays(np.float64, (4, 9), elements=st.integers(-3, 3)),
    relevant=arrays(np.bool_, (4, 9)),
    seed=st.integers(0, 2**32 - 1),
)
def test_invariances(scores, relevant, seed):
    ranks = rank_relevant_from_scores(scores, relevant)
    assert_same(rank_relevant_from_scores(np.exp(scores) * 2 - 1, relevant), ranks)  # a monotone transform
    order = np.random.default_rng(seed).permutation(9)
    assert_same(rank_relevant_from_scores(scores[:, order], relevant[:, order]), ranks)
    assert_array_equal(ranks.n_relevant, relevant.sum(axis=1))
    for k in (1, 4, 9):  # recall in the whole gallery is 1; nothing gets worse further down
        assert np.nanmin(metrics.hit_rate_at_k(ranks, k) - metrics.recall_at_k(ranks, k), initial=0) >= -1e-12
    some = relevant.any(axis=1)
    assert_allclose(metrics.recall_at_k(ranks, 9)[some], 1)
    assert_array_equal(np.isnan(metrics.average_precision(ranks)), ~some)


def test_forms_of_relevance_agree():
    rng = np.random.default_rng(3)
    scores, queries, gallery = rng.random((5, 8)), rng.integers(0, 3, 5), rng.integers(0, 3, 8)
    matrix = queries[:, None] == gallery
    want = rank_relevant_from_scores(scores, matrix)
    lists = [np.flatnonzero(row) for row in matrix]
    names = np.array(["x", "y", "z"])
    for relevant in (
        lists,
        (queries, gallery),
        (names[queries], list(names[gallery])),
        sparse.csr_array(matrix),
        sparse.coo_matrix(matrix),
    ):
        assert_same(rank_relevant_from_scores(scores, relevant), want)
