"""Pairings against brute force, scipy and POT; Gromov-Wasserstein against POT, quadruple loops and isometries."""

from itertools import permutations

import networkx as nx
import numpy as np
import ot
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab.matching import (
    GromovWasserstein,
    gromov_loss,
    hungarian,
    inner_distances,
    inverted_softmax,
    maximum_matching,
    sinkhorn,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(6, 6), (4, 6)])
def test_hungarian_equals_all_permutations(rng, shape):
    for _ in range(5):
        scores = rng.normal(size=shape)
        n = shape[0]
        best = max(permutations(range(shape[1]), n), key=lambda p: scores[range(n), p].sum())
        assert_array_equal(hungarian(scores), best)


def test_hungarian_leaves_over_queries_without_an_item(rng):
    scores = rng.normal(size=(6, 4))
    pairing = hungarian(scores)
    assert (pairing == -1).sum() == 2 and sorted(pairing[pairing >= 0]) == [0, 1, 2, 3]
    there = hungarian(scores.T)  # from the other side it is the same pairing
    assert_array_equal(pairing[there], np.arange(4))


def test_hungarian_does_not_see_what_all_items_of_a_query_share(rng):
    scores, shift = rng.normal(size=(7, 7)), rng.normal(size=(7, 1))
    assert_array_equal(hungarian(scores), hungarian(3 * scores + shift + shift.T))


def test_maximum_matching_is_as_large_as_networkx_says(rng):
    for density in (0.1, 0.2, 0.4):
        edges = rng.random((15, 12)) < density
        pairing = maximum_matching(edges)
        used = pairing[pairing >= 0]
        assert len(set(used)) == len(used) and edges[np.flatnonzero(pairing >= 0), used].all()
        graph = nx.Graph([(f"q{i}", f"g{j}") for i, j in np.argwhere(edges)])
        left = {node for node in graph if node[0] == "q"}
        assert len(used) == len(nx.bipartite.hopcroft_karp_matching(graph, left)) // 2


def test_maximum_matching_ignores_the_scores(rng):
    scores = rng.uniform(0.1, 1, size=(8, 8))
    assert_array_equal(maximum_matching(scores), maximum_matching(scores > 0))


@pytest.mark.parametrize("shape", [(8, 8), (5, 9)])
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_sinkhorn_equals_pot(rng, shape, temperature):
    scores = rng.normal(size=shape)
    sums = np.full(shape[0], 1.0), np.full(shape[1], shape[0] / shape[1])
    want = ot.sinkhorn(*sums, -scores, temperature, stopThr=1e-12, numItermax=20_000)
    got = sinkhorn(scores, temperature=temperature, tolerance=1e-12, iterations=20_000)
    assert_allclose(got, want, atol=1e-8)


def test_sinkhorn_becomes_the_assignment_when_cold_and_knows_nothing_when_hot(rng):
    scores = rng.normal(size=(9, 9))
    cold = sinkhorn(scores, temperature=0.002, iterations=50_000)
    assert_array_equal(cold.argmax(axis=1), hungarian(scores))
    assert_allclose(sinkhorn(scores, temperature=1e6), 1 / 9, atol=1e-5)


def test_sinkhorn_ranks_as_the_inverted_softmax_after_half_a_turn(rng):
    """Scaling the columns once, and nothing else, is the inverted softmax."""
    scores = rng.normal(size=(6, 7))
    columns = np.exp(scores / 0.3) / np.exp(scores / 0.3).sum(axis=0)
    order = np.argsort(inverted_softmax(scores, temperature=0.3), axis=1)
    assert_array_equal(np.argsort(columns, axis=1), order)


def test_order_of_items_does_not_matter_to_sinkhorn(rng):
    scores, rows, columns = rng.normal(size=(6, 7)), rng.permutation(6), rng.permutation(7)
    assert_allclose(sinkhorn(scores[rows][:, columns]), sinkhorn(scores)[rows][:, columns], atol=1e-12)


@pytest.mark.parametrize("pair", [hungarian, maximum_matching, sinkhorn])
@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 2)), np.array([[1.0, np.nan]])])
def test_pairings_refuse_what_is_no_matrix_of_scores(pair, bad):
    with pytest.raises(ValueError, match="finite, non-empty matrix"):
        pair(bad)


def test_sinkhorn_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match="temperature"):
        sinkhorn(np.eye(2), temperature=0)


def test_gromov_loss_equals_the_quadruple_loop_and_pot(rng):
    a, b = inner_distances(rng.normal(size=(5, 3))), inner_distances(rng.normal(size=(4, 2)))
    plan = ot.sinkhorn(np.ones(5) / 5, np.ones(4) / 4, rng.random((5, 4)), 0.5)
    want = sum(
        (a[i, k] - b[j, m]) ** 2 * plan[i, j] * plan[k, m]
        for i in range(5) for k in range(5) for j in range(4) for m in range(4)
    )  # fmt: skip
    assert_allclose(gromov_loss(a, b, plan), want)
    matcher = GromovWasserstein().fit(rng.normal(size=(6, 3)), rng.normal(size=(5, 2)))
    assert matcher.plan_.shape == (6, 5)
    assert_allclose(matcher.plan_.sum(axis=1), 1 / 6)
    assert_allclose(matcher.plan_.sum(axis=0), 1 / 5)


@pytest.mark.parametrize("kind", ["cosine", "rank"])
def test_distances_do_not_see_shifts_rotations_and_scale(rng, kind):
    x = rng.normal(size=(20, 5))
    turned = 3 * x @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + 7
    assert_allclose(inner_distances(turned, kind), inner_distances(x, kind), atol=1e-4)


def test_gromov_wasserstein_finds_an_isometry_and_places_new_rows(rng):
    x = rng.normal(size=(40, 4)) * [3, 2, 1, 0.5] + rng.exponential(size=(40, 1))  # no symmetry
    turn, order = np.linalg.qr(rng.normal(size=(4, 4)))[0], rng.permutation(30)
    matcher = GromovWasserstein(ridge=1e-6).fit(x[:30], (x[:30] @ turn)[order])
    assert_array_equal(order[matcher.plan_.argmax(axis=1)], np.arange(30))
    assert_allclose(matcher.loss_, 0, atol=1e-6)
    scores = matcher.transform(x[30:]) @ matcher.transform(x[30:] @ turn, view=1).T
    assert_array_equal(scores.argmax(axis=1), np.arange(10))


def test_a_fused_plan_without_structure_is_the_assignment(rng):
    x, y, scores = rng.normal(size=(9, 3)), rng.normal(size=(9, 3)), rng.normal(size=(9, 9))
    matcher = GromovWasserstein(structure=0.0).fit(x, y, scores=scores)
    assert_array_equal(matcher.plan_.argmax(axis=1), hungarian(scores))


def test_pairs_decide_between_two_mirror_images():
    """The points of a segment look alike from both ends; one known pair says which end is which."""
    x = np.column_stack([np.linspace(-1, 1, 9), np.linspace(-1, 1, 9) ** 2])
    for end in (0, 8):
        found = GromovWasserstein().fit(x, x, pairs=([0], [end])).plan_.argmax(axis=1)
        assert found[0] == end


def test_gromov_wasserstein_says_what_it_needs(rng):
    x = rng.normal(size=(5, 2))
    with pytest.raises(ValueError, match="scores are needed"):
        GromovWasserstein(structure=0.5).fit(x, x)
    with pytest.raises(ValueError, match="shape"):
        GromovWasserstein(structure=0.5).fit(x, x, scores=np.eye(4))
    with pytest.raises(ValueError, match="three rows"):
        GromovWasserstein().fit(x[:2], x)
    with pytest.raises(ValueError, match="NaN"):
        GromovWasserstein().fit(np.full((4, 2), np.nan), x)
    with pytest.raises(RuntimeError, match="not fitted"):
        GromovWasserstein().transform(x)
