"""The cross-modal graph: PageRank against networkx and the closed form, scores against a naive walk, invariances."""

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from xmr_lab.matching import CrossModalGraph, knn_graph, label_propagation, personalized_pagerank


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pairs(rng):
    """Two noisy linear images of the same 3 hidden numbers (small for testing)."""
    hidden = rng.normal(size=(60, 3))
    x = hidden @ rng.normal(size=(3, 8)) + 0.1 * rng.normal(size=(60, 8)) + 2
    y = hidden @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(60, 6)) - 1
    return x, y


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("restart", [0.15, 0.6])
def test_pagerank_equals_networkx(rng, directed, restart):
    weights = knn_graph(rng.normal(size=(20, 4)), k=4)
    if directed:
        weights = np.triu(weights)  # the last node leads nowhere
    starts = rng.random((3, 20)) * (rng.random((3, 20)) < 0.3) + 1e-3
    graph = nx.from_numpy_array(weights, create_using=nx.DiGraph)
    for got, start in zip(personalized_pagerank(weights, starts, restart=restart), starts, strict=True):
        settings = {"alpha": 1 - restart, "personalization": dict(enumerate(start)), "tol": 1e-12, "max_iter": 1000}
        want = nx.pagerank(graph, **settings)
        assert_allclose(got, [want[i] for i in range(20)], atol=1e-8)


def test_pagerank_equals_the_closed_form_sparse_or_dense(rng):
    weights = knn_graph(rng.normal(size=(25, 4)), k=3)
    starts = rng.dirichlet(np.ones(25), size=4)
    step = weights / weights.sum(axis=1, keepdims=True)
    want = 0.3 * starts @ np.linalg.inv(np.eye(25) - 0.7 * step)
    assert_allclose(personalized_pagerank(weights, starts, restart=0.3), want, atol=1e-8)
    assert_allclose(personalized_pagerank(sparse.csr_array(weights), starts, restart=0.3), want, atol=1e-8)
    assert_allclose(want.sum(axis=1), 1)


def test_manifold_ranking_is_pagerank_with_degrees_shared_out(rng):
    weights = knn_graph(rng.normal(size=(25, 4)), k=3)
    starts, degree = rng.dirichlet(np.ones(25), size=4), weights.sum(axis=1)
    pagerank = personalized_pagerank(weights, starts, restart=0.2)
    manifold = label_propagation(weights, (starts / np.sqrt(degree)).T, alpha=0.8).T
    assert_allclose(manifold, pagerank / np.sqrt(degree), atol=1e-8)


@pytest.mark.parametrize("degree", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("view", [0, 1])
def test_scores_equal_a_walk_written_out(pairs, degree, view):
    """Node by node, edge by edge: neighbours, bridges, anchors; then PageRank by iteration."""
    x, y = pairs
    names, links = y[:5] + 0.1, np.abs(x[:, :5])
    sides = [(x[50:], y[40:50], links[50:]), (y[50:], x[40:50], links[40:50])]
    queries, gallery, asked = sides[view]
    matcher = CrossModalGraph(k=3, restart=0.4, bridge=2.0, degree=degree)
    matcher.fit(x[:40], y[:40], anchors=names, links=links[:40])
    got = matcher.scores(queries, gallery, view=view, links=asked)

    rows = {0: x[:40], 1: np.concatenate([y[:40], names])}
    rows[1 - view] = np.concatenate([rows[1 - view], gallery])
    node = {}  # (view, row) -> number
    for side in (0, 1):
        for i in range(len(rows[side])):
            node[side, i] = len(node)
    weights = np.zeros((len(node),) * 2)
    for side in (0, 1):
        near = knn_graph(rows[side], k=3)
        for i, j in np.argwhere(near):
            weights[node[side, i], node[side, j]] = near[i, j]
    mean = weights.sum(axis=1).mean()
    share = links / links.sum(axis=1, keepdims=True)
    of_pictures = share[:40] if view == 0 else np.concatenate([share[:40], share[40:50]])
    for i in range(40):
        weights[node[0, i], node[1, i]] = weights[node[1, i], node[0, i]] = 2 * mean
    for i, row in enumerate(of_pictures):
        for a, value in enumerate(row):
            weights[node[0, i], node[1, 40 + a]] = weights[node[1, 40 + a], node[0, i]] = value * mean
    known = x[:40] if view == 0 else np.concatenate([y[:40], names])
    centre = known.mean(axis=0)
    starts = np.zeros((len(queries), len(node)))
    for q, query in enumerate(queries):
        cosine = [(query - centre) @ (k - centre) for k in known]
        cosine /= np.linalg.norm(query - centre) * np.linalg.norm(known - centre, axis=1)
        best = np.argsort(-cosine)[:3]
        for i in best:
            starts[q, node[view, i]] = max(cosine[i], 0) / np.maximum(cosine[best], 0).sum()
        if view == 0:
            for a in range(5):
                starts[q, node[1, 40 + a]] = share[50 + q, a]
    walked = personalized_pagerank(weights, starts, restart=0.4) / weights.sum(axis=1) ** degree
    first = {0: 45, 1: 40}[view]
    want = walked[:, [node[1 - view, first + j] for j in range(len(gallery))]]
    assert_allclose(got, want, atol=1e-6)


def test_the_graph_finds_partners_it_has_not_seen(pairs):
    x, y = pairs
    matcher = CrossModalGraph(k=5).fit(x[:45], y[:45])
    for scores in (matcher.scores(x[45:], y[45:]), matcher.scores(y[45:], x[45:], view=1)):
        place = (scores > np.diag(scores)[:, None]).sum(axis=1)
        assert np.median(place) <= 2  # chance is 7


def test_the_order_of_items_does_not_matter(pairs, rng):
    x, y = pairs
    some, queries, gallery = rng.permutation(40), rng.permutation(np.arange(40, 60)), rng.permutation(20) + 40
    want = CrossModalGraph(k=4).fit(x[:40], y[:40]).scores(x[40:], y[40:])
    got = CrossModalGraph(k=4).fit(x[some], y[some]).scores(x[queries], y[gallery])
    assert_allclose(got, want[queries - 40][:, gallery - 40], atol=1e-8)


def test_one_query_does_not_see_another(pairs):
    x, y = pairs
    matcher = CrossModalGraph(k=4).fit(x[:40], y[:40])
    together = matcher.scores(x[40:], y[40:])
    assert_allclose(np.vstack([matcher.scores(x[[i]], y[40:]) for i in range(40, 60)]), together, atol=1e-10)


def test_without_bridges_nothing_arrives(pairs):
    x, y = pairs
    assert_array_equal(CrossModalGraph(bridge=0).fit(x[:40], y[:40]).scores(x[40:], y[40:]), 0)


def test_items_without_a_partner_are_nodes_and_no_bridges(pairs):
    """A missing row of x only takes its picture out: the same as a graph with more captions and no more pairs."""
    x, y = pairs
    x = x.copy()
    x[30:40] = np.nan
    matcher = CrossModalGraph(k=4).fit(x[:40], y[:40])
    assert len(matcher.pairs_[0]) == 30
    order = np.r_[30:40, :30]
    again = CrossModalGraph(k=4).fit(x[order], y[order])
    assert_allclose(matcher.scores(x[40:], y[40:]), again.scores(x[40:], y[40:]), atol=1e-8)
    fewer = CrossModalGraph(k=4).fit(x[:30], y[:30])
    assert not np.allclose(matcher.scores(x[40:], y[40:]), fewer.scores(x[40:], y[40:]), atol=1e-4)


def test_bad_input_is_named(pairs):
    x, y = pairs
    with pytest.raises(ValueError, match="restart in"):
        CrossModalGraph(restart=0)
    with pytest.raises(ValueError, match="belong together"):
        CrossModalGraph().fit(x, y, anchors=y)
    with pytest.raises(ValueError, match="links must be of shape"):
        CrossModalGraph().fit(x, y, anchors=y[:3], links=np.ones((60, 4)))
    with pytest.raises(ValueError, match="links must be of shape"):
        CrossModalGraph().fit(x, y, anchors=y[:3], links=-np.ones((60, 3)))
    matcher = CrossModalGraph().fit(x, y, anchors=y[:3], links=np.ones((60, 3)))
    with pytest.raises(ValueError, match="give links"):
        matcher.scores(x, y)
    with pytest.raises(ValueError, match="NaN"):
        matcher.scores(np.full((1, 8), np.nan), y, links=np.ones((1, 3)))
    with pytest.raises(ValueError, match="columns"):
        matcher.scores(y, y, links=np.ones((60, 3)))
    with pytest.raises(RuntimeError, match="not fitted"):
        CrossModalGraph().scores(x, y)


@pytest.mark.parametrize(
    ("weights", "starts", "options", "message"),
    [
        (np.ones((2, 3)), np.ones((1, 2)), {}, "need weights"),
        (-np.ones((2, 2)), np.ones((1, 2)), {}, "negative"),
        (np.ones((2, 2)), np.zeros((1, 2)), {}, "somewhere"),
        (np.ones((2, 2)), np.ones((1, 2)), {"restart": 0}, "restart"),
    ],
)
def test_pagerank_refuses(weights, starts, options, message):
    with pytest.raises(ValueError, match=message):
        personalized_pagerank(weights, starts, **options)
