"""The second stage against loops and closed forms; and notebooks' parts that do not apply."""

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab import sections
from xmr_lab.matching import CrossAttention, rerank
from xmr_lab.metrics import hit_rate_at_k, rank_relevant_from_scores


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def pairs():
    """Pictures that show a few of twelve things among other patches, sentences that name them (small for testing)."""
    rng = np.random.default_rng(0)
    things, words = rng.normal(size=(12, 10)), rng.normal(size=(12, 8))
    shown = [rng.choice(12, size=2, replace=False) for _ in range(160)]
    patches = 0.3 * rng.normal(size=(160, 6, 10))
    for picture, pair in zip(patches, shown, strict=True):
        picture[rng.choice(6, size=2, replace=False)] += things[pair]
    tokens = [words[pair] + 0.1 * rng.normal(size=(2, 8)) for pair in shown]
    concepts = np.array([12 * min(pair) + max(pair) for pair in shown])
    return patches, tokens, concepts


@pytest.fixture(scope="module")
def fitted(pairs):
    patches, tokens, concepts = pairs
    return CrossAttention(16, epochs=15, dropout=0.0).fit(patches[:120], tokens[:120], concepts=concepts[:120])


def test_scores_equal_the_formula_written_out(fitted, pairs):
    patches, tokens, _ = pairs
    got = fitted.scores(patches[:3], tokens[:4])
    see, read = (
        lambda x, layer=layer, mean=mean, scale=scale: (
            (x - mean.numpy()) / scale.item() @ layer.weight.numpy().T + layer.bias.numpy()
        )
        for layer, mean, scale in (
            (fitted.see, fitted.patch_mean, fitted.patch_scale),
            (fitted.read, fitted.token_mean, fitted.token_scale),
        )
    )
    for i in range(3):
        for j in range(4):
            u, w = see(patches[i]), read(tokens[j])
            cosines = []
            for word in w:
                like = [word @ patch / np.linalg.norm(word) / np.linalg.norm(patch) for patch in u]
                odds = np.exp(fitted.log_sharpness.exp().item() * np.array(like))
                collected = odds / odds.sum() @ u
                cosines.append(word @ collected / np.linalg.norm(word) / np.linalg.norm(collected))
            assert_allclose(got[i, j], np.mean(cosines), atol=1e-4)


def test_it_finds_pairs_it_has_not_seen(fitted, pairs):
    patches, tokens, concepts = pairs
    right = concepts[120:, None] == concepts[None, 120:]
    ranks = rank_relevant_from_scores(fitted.scores(patches[120:], tokens[120:]), right)
    assert hit_rate_at_k(ranks, 3).mean() > 0.6 > 3 * hit_rate_at_k(ranks.at_random(), 3).mean()


def test_neither_the_order_of_patches_and_tokens_nor_company_matters(fitted, pairs, rng):
    patches, tokens, _ = pairs
    want = fitted.scores(patches[:5], tokens[:5])
    mixed = fitted.scores(patches[:5][:, rng.permutation(6)], [each[::-1] for each in tokens[:5]])
    assert_allclose(mixed, want, atol=1e-5)
    long = np.concatenate([tokens[7]] * 9)  # makes all others padded
    assert_allclose(fitted.scores(patches[:1], [tokens[0], long])[0, 0], want[0, 0], atol=1e-5)


def test_only_candidates_are_scored_and_equal_those_of_the_whole(fitted, pairs, rng):
    patches, tokens, _ = pairs
    asked = rng.random((8, 9)) < 0.4
    some, whole = (fitted.scores(patches[:8], tokens[:9], candidates) for candidates in (asked, None))
    assert_array_equal(np.isfinite(some), asked)
    assert_allclose(some[asked], whole[asked], atol=1e-6)


def test_attention_sums_to_one_and_lies_on_the_patch_that_shows_the_word(fitted, pairs):
    patches, tokens, _ = pairs
    weights = fitted.weights(patches[0], tokens[0])
    assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    lengths = np.linalg.norm(patches[120:], axis=2)  # the two patches that show something are the longest
    on = [
        fitted.weights(patches[i], tokens[i])[:, np.argsort(lengths[i - 120])[-2:]].sum(axis=1) for i in range(120, 160)
    ]
    assert np.mean(on) > 0.5  # evenly spread it would be 1/3


def test_training_is_repeatable_lowers_the_loss_and_leaves_global_randomness_alone(pairs, tmp_path, monkeypatch):
    patches, tokens, concepts = pairs
    monkeypatch.setenv("XMR_CACHE", str(tmp_path))
    state = torch.get_rng_state()
    fits = [CrossAttention(8, seed=s).fit(patches, tokens, concepts=concepts, keep=keep)
            for s, keep in ((1, True), (1, True), (1, False), (2, True))]  # fmt: skip
    scores = [fit.scores(patches[:9], tokens[:9]) for fit in fits]
    assert_array_equal(scores[0], scores[1])  # from the cache
    assert_allclose(scores[0], scores[2], atol=1e-6)
    assert not np.allclose(scores[0], scores[3], atol=1e-3)
    assert torch.equal(state, torch.get_rng_state())
    assert fits[1].history_ == fits[0].history_ and fits[0].history_[-1] < fits[0].history_[0]
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_rerank_keeps_the_first_stage_below_and_its_hit_rate_at_k(rng):
    first, second = rng.normal(size=(40, 30)), rng.normal(size=(40, 30))
    right = rng.random((40, 30)) < 0.05
    right[:, 0] = True
    both = rerank(first, second, 10)
    for row in range(40):
        order = np.argsort(-first[row])
        want = [*sorted(order[:10], key=lambda j: -second[row, j]), *order[10:]]
        assert_array_equal(np.argsort(-both[row]), want)
    ranks = [rank_relevant_from_scores(scores, right) for scores in (first, both)]
    assert_array_equal(hit_rate_at_k(ranks[0], 10), hit_rate_at_k(ranks[1], 10))
    assert_array_equal(np.argsort(-rerank(first, second, 999)), np.argsort(-second))
    assert_array_equal(np.argsort(-rerank(first, second, 1)), np.argsort(-first))


@pytest.mark.parametrize(
    ("first", "second", "k", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), 1, "one shape"),
        (np.zeros((2, 3)), np.zeros((2, 3)), 0, "k >= 1"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), 1, "finite"),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), 2, "no finite score"),
    ],
)
def test_stages_that_do_not_fit_are_refused(first, second, k, message):
    with pytest.raises(ValueError, match=message):
        rerank(first, second, k)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y, c: (x[:-1], y, c, None), "as many pictures"),
        (lambda x, y, c: (x[:, 0], y, c, None), "n_patches"),
        (lambda x, y, c: (np.where(x > 2, np.nan, x), y, c, None), "finite"),
        (lambda x, y, c: (x, [*y[:-1], np.empty((0, 8))], c, None), "sentence 159"),
        (lambda x, y, c: (x, y, c[:-1], None), "concepts"),
        (lambda x, y, c: (x, y, c, np.zeros((160, 2))), "integers"),
        (lambda x, y, c: (x, y, c, np.full((160, 2), 160)), "rows from 0 to 159"),
        (lambda x, y, c: (x[:1], y[:1], c[:1], None), "two at least"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(pairs, spoil, message):
    patches, tokens, concepts, negatives = spoil(*pairs)
    with pytest.raises(ValueError, match=message):
        CrossAttention(epochs=1).fit(patches, tokens, concepts=concepts, negatives=negatives)


def test_wrong_use_says_what_to_do(fitted, pairs):
    with pytest.raises(RuntimeError, match="call fit"):
        CrossAttention().scores(pairs[0], pairs[1])
    with pytest.raises(ValueError, match="fitted with"):
        fitted.scores(pairs[0][:, :, :4], pairs[1])
    with pytest.raises(ValueError, match="boolean of shape"):
        fitted.scores(pairs[0], pairs[1], np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="at least 1"):
        CrossAttention(epochs=0)
    with pytest.raises(ValueError, match="dropout"):
        CrossAttention(dropout=1.0)


def test_two_items_are_enough_to_fit(pairs):
    patches, tokens, _ = pairs
    assert np.isfinite(CrossAttention(4).fit(patches[:2], tokens[:2]).scores(patches, tokens)).all()


# --- parts of a notebook that do not apply ------------------------------------------------------


@pytest.fixture
def shell(monkeypatch):
    """An IPython of its own, as a kernel has it."""
    shell = InteractiveShell()
    monkeypatch.setattr(sections, "get_ipython", lambda: shell)
    yield shell
    InteractiveShell.clear_instance()


def test_cells_of_a_part_that_does_not_apply_are_skipped(shell, capsys):
    cells = ["from xmr_lab.sections import Sections\nsection = Sections(pictures=3, sentences=0)\nran = []",
             "section('A', pictures=3)\nran.append('A')", "ran.append('A2')",
             "section('B', pictures=1, sentences=2)", "ran.append('B')", "1 / 0",
             "section('C')", "ran.append('C')", "report = section.summary()"]  # fmt: skip
    for cell in cells:
        assert shell.run_cell(cell).success
    assert shell.user_ns["ran"] == ["A", "A2", "C"]
    assert "B does not apply here: it needs sentences (2 at least, found 0)." in capsys.readouterr().out
    assert shell.user_ns["report"]["applies"].str[:3].tolist() == ["yes", "no:", "yes"]


def test_a_part_cannot_need_what_nobody_counted():
    with pytest.raises(ValueError, match="counted were pictures"):
        sections.Sections(pictures=1)("A", sounds=1)
