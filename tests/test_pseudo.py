"""Pseudo-pairs against loops and brute force, and self-training where its answer is known."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab.matching import CCA, RidgeMap
from xmr_lab.transfer import SelfTraining, mutual_nearest_neighbours, pseudo_label


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def linked(rng):
    """Two views of which one is a linear map of the other (small for testing)."""
    x = rng.normal(size=(80, 5)) + 2
    return x, x @ rng.normal(size=(5, 4)) - 1


def test_mutual_nearest_neighbours_equal_a_double_loop(rng):
    scores = rng.normal(size=(15, 11))
    want = [
        (i, j)
        for i in range(15)
        for j in range(11)
        if all(scores[i, j] >= scores[i, other] for other in range(11))
        and all(scores[i, j] >= scores[other, j] for other in range(15))
    ]
    rows, columns = mutual_nearest_neighbours(scores)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == want
    turned = mutual_nearest_neighbours(scores.T)
    assert set(zip(turned[1].tolist(), turned[0].tolist(), strict=True)) == set(want)


def test_nearest_equals_a_loop_and_is_ordered_by_confidence(rng):
    scores = rng.normal(size=(12, 7))
    pairs = pseudo_label(scores)
    assert dict(zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True)) == {
        i: max(range(7), key=lambda j: scores[i, j]) for i in range(12)
    }
    assert (np.diff(pairs.confidence) <= 0).all()
    assert_array_equal(pairs.confidence, scores[pairs.rows, pairs.columns])


def test_one_to_one_is_the_best_of_all_assignments(rng):
    scores = rng.normal(size=(4, 6))
    best = max(itertools.permutations(range(6), 4), key=lambda columns: scores[range(4), columns].sum())
    pairs = pseudo_label(scores, select="one-to-one")
    assert_array_equal(pairs.columns[np.argsort(pairs.rows)], best)


@pytest.mark.parametrize("select", ["nearest", "mutual", "one-to-one"])
def test_a_share_keeps_the_most_confident(rng, select):
    scores = rng.normal(size=(20, 20))
    everything, half = (pseudo_label(scores, select=select, share=share) for share in (1.0, 0.5))
    assert len(half) == round(len(everything) / 2)
    assert_array_equal(half.confidence, everything.confidence[: len(half)])


@pytest.mark.parametrize("matcher", [RidgeMap(0.1), CCA(3)], ids=["ridge", "cca"])
def test_without_unpaired_items_it_is_the_matcher(linked, matcher):
    x, y = linked
    want = type(matcher)(*([0.1] if isinstance(matcher, RidgeMap) else [3])).fit(x, y)
    got = SelfTraining(matcher).fit(x, y)
    assert_array_equal(got.transform(x), want.transform(x))
    assert_array_equal(got.transform(y, view=1), want.transform(y, view=1))
    assert not hasattr(matcher, "means_")  # what was given stays unfitted


def test_right_guesses_give_the_map_of_all_pairs(linked, rng):
    """If every guess is right, nothing is lost: the result is that of training on all pairs."""
    x, y = linked
    shuffled = rng.permutation(60)
    student = SelfTraining(RidgeMap(1e-3)).fit(x[:20], y[:20], unpaired_x=x[20:], unpaired_y=y[20:][shuffled])
    found = student.rounds_[-1]
    assert_array_equal(shuffled[found.columns], found.rows)
    oracle = RidgeMap(1e-3).fit(x, y)
    assert_allclose(student.transform(x), oracle.transform(x), atol=1e-5)


def test_the_order_of_unpaired_items_does_not_matter(linked, rng):
    x, y = linked
    y = y + rng.normal(size=y.shape)  # so that guesses are not all right
    a = SelfTraining(RidgeMap(0.1), rounds=3, share=0.7).fit(x[:20], y[:20], unpaired_x=x[20:], unpaired_y=y[20:])
    mixed = x[20:][rng.permutation(60)], y[20:][rng.permutation(60)]
    b = SelfTraining(RidgeMap(0.1), rounds=3, share=0.7).fit(x[:20], y[:20], unpaired_x=mixed[0], unpaired_y=mixed[1])
    assert_allclose(a.transform(x), b.transform(x), atol=1e-6)


def test_another_teacher_needs_no_pairs(linked, rng):
    x, y = linked
    shuffled = rng.permutation(80)
    truth = (np.arange(80)[:, None] == shuffled).astype(float)
    student = SelfTraining(RidgeMap(1e-3)).fit(
        np.empty((0, 5)), np.empty((0, 4)), unpaired_x=x, unpaired_y=y[shuffled], scores=truth
    )
    assert_allclose(student.transform(x), RidgeMap(1e-3).fit(x, y).transform(x), atol=1e-5)


def test_one_side_alone_is_labelled_with_what_the_pairs_have(linked):
    x, y = linked
    student = SelfTraining(RidgeMap(0.1), select="nearest").fit(x[:10], y[:10], unpaired_x=x[10:])
    assert student.rounds_[0].columns.max() < 10
    assert len(student.rounds_[0]) == 70


BAD = {
    "scores of one dimension": lambda: pseudo_label(np.ones(3)),
    "no scores": lambda: mutual_nearest_neighbours(np.ones((0, 3))),
    "NaN": lambda: pseudo_label(np.full((2, 2), np.nan)),
    "unknown": lambda: pseudo_label(np.ones((2, 2)), select="all"),  # type: ignore[arg-type]
    "share 0": lambda: pseudo_label(np.ones((2, 2)), share=0),
    "no rounds": lambda: SelfTraining(RidgeMap(), rounds=0),
    "one pair": lambda: SelfTraining(RidgeMap()).fit(np.ones((1, 2)), np.ones((1, 2))),
    "wrong width": lambda: SelfTraining(RidgeMap()).fit(np.eye(3), np.eye(3), unpaired_x=np.ones((4, 2))),
    "scores that do not fit": lambda: SelfTraining(RidgeMap()).fit(
        np.eye(3), np.eye(3), unpaired_x=np.eye(3), unpaired_y=np.eye(3), scores=np.ones((2, 3))
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_a_clear_error(name):
    with pytest.raises(ValueError, match=r"got|must|holds|need"):
        BAD[name]()


def test_transform_before_fit_says_so():
    with pytest.raises(RuntimeError, match="not fitted"):
        SelfTraining(RidgeMap()).transform(np.ones((2, 2)))
