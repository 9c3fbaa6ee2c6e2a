"""Label propagation against scikit-learn, its own iteration and a naive graph; and the matcher made of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab.transfer import PairPropagation, knn_graph, label_propagation


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_graph_equals_double_loop(rng):
    x = rng.normal(size=(12, 4))
    centred = x - x.mean(axis=0)
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in centred] for a in centred])
    want = np.zeros((12, 12))
    for i in range(12):
        others = sorted((j for j in range(12) if j != i), key=lambda j: -cosine[i, j])[:3]
        for j in others:
            want[i, j] = want[j, i] = max(cosine[i, j], 0)
    assert_allclose(knn_graph(x, k=3), want, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 0.9])
def test_propagation_equals_scikit_learn(rng, alpha):
    from sklearn.semi_supervised import LabelSpreading

    x = rng.normal(size=(60, 5))
    weights = knn_graph(x, k=6)
    y = np.full(60, -1)
    y[:12] = np.arange(12) % 3
    theirs = LabelSpreading(kernel=lambda a, b: weights, alpha=alpha, max_iter=10_000, tol=1e-12).fit(x, y)
    ours = label_propagation(weights, np.eye(3)[y] * (y >= 0)[:, None], alpha=alpha)
    assert_allclose(ours / ours.sum(axis=1, keepdims=True), theirs.label_distributions_, atol=1e-6)


def test_propagation_is_the_limit_of_its_iteration_and_the_closed_form(rng):
    weights = knn_graph(rng.normal(size=(30, 4)), k=4)
    labels = rng.random((30, 2))
    degree = weights.sum(axis=1)
    s = weights / np.sqrt(np.outer(degree, degree))
    f = labels
    for _ in range(500):
        f = 0.8 * s @ f + 0.2 * labels
    got = label_propagation(weights, labels, alpha=0.8)
    assert_allclose(got, f, atol=1e-10)
    assert_allclose(got, 0.2 * np.linalg.inv(np.eye(30) - 0.8 * s) @ labels, atol=1e-10)


def test_alpha_zero_and_isolated_items_change_nothing(rng):
    labels = rng.random((5, 2))
    assert_allclose(label_propagation(np.ones((5, 5)), labels, alpha=0), labels)
    lonely = label_propagation(np.zeros((5, 5)), labels, alpha=0.5)
    assert_allclose(lonely / lonely.sum(axis=1, keepdims=True), labels / labels.sum(axis=1, keepdims=True))


def clusters(rng, dim):
    """Six clusters in a random order of directions, ten items each, cluster by cluster."""
    return np.repeat(3 * np.linalg.qr(rng.normal(size=(dim, dim)))[0][:6], 10, axis=0) + 0.1 * rng.normal(
        size=(60, dim)
    )


def test_unpaired_items_are_matched_through_their_cluster(rng):
    """One pair a cluster: an unpaired item reaches the items of its cluster on the other side, in another space."""
    x, y, kind = clusters(rng, 8), clusters(rng, 12), np.repeat(np.arange(6), 10)
    paired = np.arange(0, 60, 10)
    rest = np.setdiff1d(np.arange(60), paired)
    mixed = rng.permutation(rest)
    matcher = PairPropagation(k=5).fit(x[paired], y[paired], unpaired_x=x[rest], unpaired_y=y[mixed])
    scores = matcher.transform(x) @ matcher.transform(y, view=1).T
    assert_array_equal(kind[scores.argmax(axis=1)], kind)
    again = PairPropagation(k=5).fit(x[paired], y[paired], unpaired_x=x[rest[::-1]], unpaired_y=y[rest])
    assert_allclose(again.transform(x) @ again.transform(y, view=1).T, scores, atol=1e-5)


def test_without_unpaired_items_it_compares_with_the_pairs(rng):
    x, y = rng.normal(size=(10, 4)), rng.normal(size=(10, 3))
    matcher = PairPropagation(k=3).fit(x, y)
    assert matcher.transform(x).shape == (10, 10)
    assert_allclose(np.linalg.norm(matcher.transform(y, view=1), axis=1), 1, atol=1e-5)


BAD = {
    "one item": lambda: knn_graph(np.ones((1, 2))),
    "no neighbours": lambda: knn_graph(np.eye(3), k=0),
    "NaN": lambda: knn_graph(np.full((3, 2), np.nan)),
    "not square": lambda: label_propagation(np.ones((2, 3)), np.ones((2, 1))),
    "labels for others": lambda: label_propagation(np.ones((3, 3)), np.ones((2, 1))),
    "one way": lambda: label_propagation(np.triu(np.ones((3, 3))), np.ones((3, 1))),
    "negative": lambda: label_propagation(-np.ones((3, 3)), np.ones((3, 1))),
    "alpha 1": lambda: label_propagation(np.ones((3, 3)), np.ones((3, 1)), alpha=1.0),
    "matcher alpha": lambda: PairPropagation(alpha=1.0),
    "not paired": lambda: PairPropagation().fit(np.eye(3), np.eye(4)),
    "wrong width": lambda: PairPropagation().fit(np.eye(3), np.eye(3), unpaired_y=np.ones((4, 2))),
    "wrong view": lambda: PairPropagation(k=1).fit(np.eye(3), np.eye(3)).transform(np.eye(3), view=2),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_a_clear_error(name):
    with pytest.raises(ValueError, match=r"got|must|holds|need"):
        BAD[name]()


def test_transform_before_fit_says_so():
    with pytest.raises(RuntimeError, match="not fitted"):
        PairPropagation().transform(np.ones((2, 2)))
