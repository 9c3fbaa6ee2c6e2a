"""Hubness corrections against loops and limits, and what they do to a hub."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab.matching import csls, dual_softmax, inverted_softmax


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def hub(rng):
    """20 queries and their partners, and a column that is near to everything (small for testing)."""
    scores = 0.7 * np.eye(20) + 0.05 * rng.random((20, 20))
    scores[:, 0] += 1
    assert (scores.argmax(axis=1) == 0).all()
    return scores


def test_csls_equals_loops(rng):
    scores, bank = rng.normal(size=(6, 9)), rng.normal(size=(7, 9))
    for used, got in ((scores, csls(scores, k=4)), (bank, csls(scores, bank, k=4))):
        for i, j in itertools.product(range(6), range(9)):
            row, column = np.mean(sorted(scores[i])[-4:]), np.mean(sorted(used[:, j])[-4:])
            assert_allclose(got[i, j], 2 * scores[i, j] - row - column)
    everything = csls(scores, k=100)  # k beyond a side means all of it
    assert_allclose(everything, csls(scores, k=9))
    assert_allclose(csls(scores.T, k=4), csls(scores, k=4).T)


def test_inverted_softmax_ranks_as_the_published_formula(rng):
    scores, bank = rng.normal(size=(6, 9)), rng.normal(size=(7, 9))
    published = np.array([[np.exp(scores[i, j] / 0.3) / np.exp(bank[:, j] / 0.3).sum() for j in range(9)]
                          for i in range(6)])  # fmt: skip
    got = inverted_softmax(scores, bank, temperature=0.3)
    assert_allclose(got, 0.3 * np.log(published * len(bank)))
    assert_array_equal(np.argsort(got, axis=1), np.argsort(published, axis=1))


def test_inverted_softmax_between_its_limits(rng):
    scores, bank = rng.normal(size=(6, 9)), rng.normal(size=(7, 9))
    assert_allclose(inverted_softmax(scores, bank, temperature=1e6), scores - bank.mean(axis=0), atol=1e-5)
    assert_allclose(inverted_softmax(scores, bank, temperature=1e-6), scores - bank.max(axis=0), atol=1e-4)


def test_dual_softmax_equals_the_product_of_two_softmaxes(rng):
    scores = rng.normal(size=(4, 5))
    powers = np.exp(scores / 0.5)
    product = powers / powers.sum(axis=0) * (powers / powers.sum(axis=1)[:, None])
    assert_allclose(dual_softmax(scores, temperature=0.5), 0.5 * np.log(product))


@pytest.mark.parametrize(
    "correct", [csls, inverted_softmax, dual_softmax, lambda s: csls(s, s), lambda s: inverted_softmax(s, s, dynamic=1)]
)
def test_a_hub_is_no_longer_chosen(hub, correct):
    assert_array_equal(correct(hub).argmax(axis=1), np.arange(20))


@pytest.mark.parametrize("correct", [csls, inverted_softmax])
def test_with_a_bank_a_query_does_not_depend_on_the_others(rng, correct):
    scores, bank = rng.normal(size=(6, 9)), rng.normal(size=(7, 9))
    alone = np.concatenate([correct(scores[[i]], bank) for i in range(6)])
    assert_allclose(alone, correct(scores, bank))
    assert not np.allclose(correct(scores), np.concatenate([correct(scores[[i]]) for i in range(6)]))


def test_a_column_raised_everywhere_changes_nothing(rng):
    """A constant added to an item's scores is what a hub has too much of; it is taken away exactly."""
    scores, bank, extra = rng.normal(size=(6, 9)), rng.normal(size=(7, 9)), rng.normal(size=9)
    assert_allclose(inverted_softmax(scores + extra, bank + extra), inverted_softmax(scores, bank))


def test_dynamic_leaves_queries_alone_whose_best_item_is_no_hub(rng):
    bank = np.array([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0]])  # its queries like the first item
    scores = np.array([[0.8, 0.7, 0.1], [0.1, 0.7, 0.6]])
    got = inverted_softmax(scores, bank, dynamic=1)
    assert_allclose(got[0], inverted_softmax(scores, bank)[0])
    assert_array_equal(got[1], scores[1])
    assert_allclose(inverted_softmax(scores, bank, dynamic=3), inverted_softmax(scores, bank))


BAD = {
    "NaN": lambda: csls(np.full((2, 2), np.nan)),
    "k 0": lambda: csls(np.ones((2, 2)), k=0),
    "another gallery": lambda: csls(np.ones((2, 3)), np.ones((2, 2))),
    "an empty bank": lambda: inverted_softmax(np.ones((2, 3)), np.ones((0, 3))),
    "temperature 0": lambda: inverted_softmax(np.ones((2, 3)), temperature=0),
    "temperature below 0": lambda: dual_softmax(np.ones((2, 3)), temperature=-1),
    "dynamic beyond the gallery": lambda: inverted_softmax(np.ones((2, 3)), dynamic=4),
    "a vector": lambda: dual_softmax(np.ones(3)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_a_clear_error(name):
    with pytest.raises(ValueError, match="got"):
        BAD[name]()
