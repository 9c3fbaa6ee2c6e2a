"""The classifier of pairs against the network written out, and what it cannot do without a hidden layer."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from xmr_lab.matching import PairClassifier, pair_classifier

SMALL = {"epochs": 2, "negatives": 3}  # small for testing


@pytest.fixture
def pairs():
    """Two noisy linear images of the same 4 hidden numbers."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(160, 4))
    x = hidden @ rng.normal(size=(4, 7)) + 0.1 * rng.normal(size=(160, 7)) + 3
    y = hidden @ rng.normal(size=(4, 5)) + 0.1 * rng.normal(size=(160, 5)) - 1
    return x, y


@pytest.mark.parametrize("hidden", [(), (6,), (6, 3)])
def test_scores_equal_the_network_over_concatenated_rows(pairs, hidden):
    x, y = pairs
    model = PairClassifier(hidden, **SMALL).fit(x, y)
    x, y = (torch.as_tensor((v - m) / s).float() for v, m, s in zip(pairs, model.means_, model.scales_, strict=True))
    first = torch.cat([layer.weight for layer in model.first_], dim=1)  # (width, d_x + d_y)
    linear = [layer for layer in model.rest_ if isinstance(layer, torch.nn.Linear)]
    for i, j in [(0, 0), (3, 20), (20, 3)]:
        now = first @ torch.cat([x[i], y[j]]) + model.first_[0].bias
        for layer in linear:
            now = layer.weight @ now.relu() + layer.bias
        assert_allclose(model.scores(pairs[0], pairs[1])[i, j], now.item(), atol=1e-4)


def test_the_mean_is_the_network_over_summed_rows(pairs):
    x = np.hstack([pairs[0], pairs[1]])
    model = PairClassifier((6,), fusion="mean", **SMALL).fit(x, x[:, ::-1])
    assert model.first_[0] is model.first_[1]
    model.means_, model.scales_ = (np.zeros(12), np.zeros(12)), (1.0, 1.0)
    scores = model.scores(x, x)
    assert_allclose(scores, scores.T, atol=1e-4)  # a sum does not know which was which


def test_without_a_hidden_layer_every_query_ranks_alike(pairs):
    scores = PairClassifier((), **SMALL).fit(*pairs).scores(*pairs)
    assert (np.argsort(scores, axis=1) == np.argsort(scores[0])).all()


def test_with_one_it_finds_partners_it_has_not_seen(pairs):
    x, y = pairs
    scores = (
        PairClassifier((64,), epochs=60, dropout=0.0, learning_rate=5e-3).fit(x[:120], y[:120]).scores(x[120:], y[120:])
    )
    ranks = (scores > np.diag(scores)[:, None]).sum(axis=1)
    assert (ranks < 4).mean() > 0.6  # chance is 0.1
    assert scores.dtype == np.float32 and scores.shape == (40, 40)


def test_the_order_of_the_gallery_and_the_size_of_a_part_do_not_matter(pairs, monkeypatch):
    model = PairClassifier((6, 3), **SMALL).fit(*pairs)
    scores = model.scores(*pairs)
    order = np.random.default_rng(1).permutation(160)
    assert_allclose(model.scores(pairs[0], pairs[1][order]), scores[:, order], atol=1e-5)
    monkeypatch.setattr(pair_classifier, "AT_ONCE", 1)
    assert_allclose(model.scores(*pairs), scores, atol=1e-5)


def test_it_is_repeatable_and_leaves_global_randomness_alone(pairs):
    state = torch.get_rng_state()
    a, b, c = (PairClassifier((4,), seed=seed, **SMALL).fit(*pairs).scores(*pairs) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c) and torch.equal(state, torch.get_rng_state())


def test_rows_of_one_concept_are_never_drawn_as_wrong_partners(pairs, monkeypatch):
    """With two concepts, a wrong partner always comes from the other one."""
    concepts = np.arange(160) % 2
    seen = []
    logits = PairClassifier._logits

    def spy(self, x, y, a, b):
        seen.append((a.numpy(), b.numpy()))
        return logits(self, x, y, a, b)

    monkeypatch.setattr(PairClassifier, "_logits", spy)
    PairClassifier((4,), **SMALL).fit(*pairs, concepts=concepts)
    assert {len(a) for a, _ in seen} == {7 * 64, 7 * 32}  # each pair, and three wrong partners on either side
    for a, b in seen:
        right = a == b
        assert (concepts[a[~right]] != concepts[b[~right]]).all() and right.sum() == len(a) // 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: PairClassifier((0,)), "at least 1"),
        (lambda x, y: PairClassifier(negatives=0), "at least 1"),
        (lambda x, y: PairClassifier(dropout=1.0), "0 <= dropout < 1"),
        (lambda x, y: PairClassifier(fusion="sum"), "expected concatenate or mean"),
        (lambda x, y: PairClassifier(fusion="mean").fit(x, y), "equal width, got 7 and 5"),
        (lambda x, y: PairClassifier().fit(x[:-1], y), "159 rows and y has 160"),
        (lambda x, y: PairClassifier().fit(np.where(x > 5, np.nan, x), y), "NaN or infinity"),
        (lambda x, y: PairClassifier().fit(x[:1], y[:1]), "at least two pairs"),
        (lambda x, y: PairClassifier().fit(x, y, concepts=["same"] * 160), "two different ones"),
        (lambda x, y: PairClassifier().fit(x, y, concepts=[1, 2]), "need 160 concepts"),
        (lambda x, y: PairClassifier(**SMALL).fit(x, y).scores(y, x), "fitted with 7 columns; got 5"),
    ],
)
def test_bad_input_is_refused(pairs, call, message):
    with pytest.raises(ValueError, match=message):
        call(*pairs)


def test_an_unfitted_one_says_what_to_do(pairs):
    with pytest.raises(RuntimeError, match="call fit"):
        PairClassifier().scores(*pairs)
