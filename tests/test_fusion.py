"""Fusion against slow loops, closed forms and other libraries; and what it must not depend on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from xmr_lab.fusion import (
    AttentionFusion,
    AttentionPooling,
    Whitening,
    attention_mean,
    comb_mnz,
    comb_sum,
    concatenate,
    fuse_scores,
    masked_softmax,
    mean_fusion,
    normalize_scores,
    reciprocal_rank_fusion,
    standardize_scores,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def systems(rng):
    """Three systems' scores on different scales, some of them tied (small for testing)."""
    scores = rng.normal(size=(3, 5, 12)).round(1)
    return [scores[0], 100 * scores[1] + 7, np.exp(3 * scores[2])]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# scores and ranks


def slow_rank(row, i):
    """1 for the best; those of equal score share their mean place."""
    better, equal = sum(s > row[i] for s in row), sum(s == row[i] for s in row)
    return better + (equal + 1) / 2


def test_reciprocal_rank_fusion_equals_the_formula(systems):
    for weights in (None, [2.0, 0.0, 0.5]):
        got = reciprocal_rank_fusion(systems, k=7, weights=weights)
        for q, i in np.ndindex(got.shape):
            terms = [w / (7 + slow_rank(s[q], i)) for s, w in zip(systems, weights or [1, 1, 1], strict=True)]
            assert_allclose(got[q, i], sum(terms))


def test_reciprocal_rank_fusion_sees_the_order_alone(systems):
    moved = [np.exp(systems[0]), systems[1] ** 3, np.log(systems[2])]  # three increasing functions
    assert_allclose(reciprocal_rank_fusion(moved), reciprocal_rank_fusion(systems))
    assert_allclose(reciprocal_rank_fusion(systems[::-1]), reciprocal_rank_fusion(systems))
    assert not np.allclose(comb_sum(moved), comb_sum(systems))


def test_an_item_in_no_list_adds_nothing():
    gone = np.array([[3.0, -np.inf, 2.0]])
    assert_allclose(reciprocal_rank_fusion([gone], k=1), [[1 / 2, 0, 1 / 3]])


@pytest.mark.parametrize("depth", [1, 4, 12, 99])
def test_comb_sum_and_comb_mnz_equal_slow_loops(systems, depth):
    total, count = np.zeros((5, 12)), np.zeros((5, 12))
    for scores in systems:
        for q, row in enumerate(scores):
            found = [i for i in range(12) if sum(s > row[i] for s in row) < depth]
            low, high = min(row[i] for i in found), max(row)
            for i in found:
                total[q, i] += (row[i] - low) / (high - low) if high > low else 1
                count[q, i] += 1
    assert_allclose(comb_sum(systems, depth=depth), total)
    assert_allclose(comb_mnz(systems, depth=depth), total * count)
    if depth >= 12:
        assert_allclose(comb_mnz(systems, depth=depth), 3 * comb_sum(systems))


@pytest.mark.parametrize("axis", [0, 1, None])
def test_normalized_scores_keep_the_order_and_forget_the_scale(systems, axis):
    for kind in ("min-max", "z-score", "rank"):
        one, other = (normalize_scores(s, kind, axis=axis) for s in (systems[0], 100 * systems[0] + 7))
        assert_allclose(one, other, atol=1e-12)
    low_to_high = normalize_scores(systems[0], "min-max", axis=axis)
    assert_allclose([low_to_high.min(), low_to_high.max()], [0, 1])
    assert_array_equal(normalize_scores(systems[0], "z-score", axis=axis), standardize_scores(systems[0], axis=axis))


def test_rank_normalisation_equals_slow_loops(systems):
    got = normalize_scores(systems[0], "rank")
    for q, i in np.ndindex(got.shape):
        assert_allclose(got[q, i], (12 - slow_rank(systems[0][q], i)) / 11)


def test_constant_scores():
    flat = np.full((2, 3), 4.0)
    assert_array_equal(normalize_scores(flat, "min-max"), np.zeros((2, 3)))
    assert_array_equal(normalize_scores(flat, "rank"), np.full((2, 3), 0.5))
    assert_array_equal(normalize_scores(np.ones((2, 1)), "rank"), np.full((2, 1), 0.5))
    assert_array_equal(comb_sum([flat]), np.ones((2, 3)))


@pytest.mark.parametrize("fuse", [fuse_scores, reciprocal_rank_fusion, comb_sum], ids=lambda f: f.__name__)
def test_unfit_scores_end_in_a_clear_error(fuse):
    good = np.eye(3)
    with pytest.raises(ValueError, match="same shape"):
        fuse([good, np.eye(2)])
    with pytest.raises(ValueError, match=r"at least one|one weight"):
        fuse([])
    with pytest.raises(ValueError, match=r"finite|NaN"):
        fuse([good, np.where(good == 1, np.nan, good)])


def test_unfit_options_end_in_a_clear_error():
    good = np.eye(3)
    with pytest.raises(ValueError, match="'min-max', 'z-score' or 'rank'"):
        normalize_scores(good, "percent")
    with pytest.raises(ValueError, match="k must be"):
        reciprocal_rank_fusion([good], k=-1)
    with pytest.raises(ValueError, match="one weight"):
        reciprocal_rank_fusion([good], weights=[1, 2])
    with pytest.raises(ValueError, match="depth"):
        comb_sum([good], depth=0)


# vectors


def test_inner_products_of_concatenations_are_weighted_sums_of_cosines(rng):
    x, y = ([rng.normal(size=(n, d)) for d in (3, 8, 1)] for n in (4, 6))
    weights = [5.0, 0.0, 3.0]
    want = sum(w / 8 * unit(a) @ unit(b).T for w, a, b in zip(weights, x, y, strict=True))
    got = concatenate(x, weights) @ concatenate(y, weights).T
    assert_allclose(got, want, atol=1e-6)
    assert_allclose(np.linalg.norm(concatenate(x), axis=1), 1, atol=1e-6)


def test_mean_fusion_equals_slow_loops_whatever_stands_behind_the_mask(rng):
    x, mask = rng.normal(size=(20, 3, 5)), rng.random((20, 3)) < 0.6
    mask[:, 0] |= ~mask.any(axis=1)
    weights = [1.0, 2.0, 0.5]
    got = mean_fusion(x, mask, weights=weights)
    for row in range(20):
        total = sum(weights[m] * x[row, m] for m in range(3) if mask[row, m])
        assert_allclose(got[row], total / np.linalg.norm(total), atol=1e-6)
    hidden = np.where(mask[..., None], x, np.nan)
    assert_array_equal(mean_fusion(hidden, mask, weights=weights), got)
    assert_array_equal(mean_fusion(list(hidden.swapaxes(0, 1)), mask, weights=weights), got)


def test_mean_fusion_is_zero_filling_where_angles_are_compared(rng):
    x, mask = rng.normal(size=(9, 3, 5)), np.array([[True, True, False]] * 9)
    assert_allclose(mean_fusion(x, mask), unit(np.where(mask[..., None], x, 0).sum(1)), atol=1e-6)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_mean_and_attention_do_not_depend_on_the_order_of_the_modalities(rng, order):
    x, order = rng.normal(size=(9, 3, 5)), list(order)
    assert_allclose(mean_fusion(x[:, order]), mean_fusion(x), atol=1e-6)
    pooling = AttentionPooling(epochs=3, weight_decay=0).fit(list(x), rng.normal(size=(9, 5)))
    assert_allclose(pooling.transform(list(x[:, order])), pooling.transform(list(x)), atol=1e-6)
    assert_allclose(
        np.array(pooling.weights(list(x[:, order]))), np.array(pooling.weights(list(x)))[:, order], atol=1e-6
    )


def test_pca_whitening_equals_scikit_learn(rng):
    x = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 3
    ours = Whitening(n_components=4).fit(x).transform(x[:20])
    theirs = PCA(4, whiten=True).fit(x).transform(x[:20]) * np.sqrt(200 / 199)  # it divides by n - 1
    assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-4)  # signs are free


def test_zca_whitening_is_symmetric_and_has_the_angles_of_pca(rng):
    x = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 3
    for shrinkage in (0.0, 0.3):
        pca, zca = (Whitening(kind, shrinkage=shrinkage).fit(x) for kind in ("pca", "zca"))
        assert_allclose(zca.matrix_, zca.matrix_.T, atol=1e-9)
        assert_allclose(pca.transform(x) @ pca.transform(x).T, zca.transform(x) @ zca.transform(x).T, atol=1e-3)
    white = Whitening("zca").fit(x).transform(x)
    assert_allclose(white.T @ white / 200, np.eye(6), atol=1e-4)


def test_whitening_with_fewer_rows_than_columns_makes_all_rows_equally_far(rng):
    """The closed form: n rows, whitened, are the corners of a regular simplex."""
    white = Whitening().fit(x := rng.normal(size=(8, 30))).transform(x).astype(np.float64)
    assert white.shape == (8, 7)
    squared = ((white[:, None] - white[None]) ** 2).sum(-1)
    assert_allclose(squared[~np.eye(8, dtype=bool)], 2 * 8, rtol=1e-5)


def test_full_shrinkage_only_centres_and_scales(rng):
    x = rng.normal(size=(50, 4)) * [1, 2, 3, 4] + 5
    white = Whitening("zca", shrinkage=1.0).fit(x).transform(x)
    assert_allclose(white, (x - x.mean(0)) / np.sqrt(x.var(0).mean()), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: concatenate([x, x[:2]]), "same number of rows"),
        (lambda x: concatenate([x, np.full_like(x, np.nan)]), "finite"),
        (lambda x: concatenate([x], weights=[-1]), "none negative"),
        (lambda x: concatenate([x, x], weights=[1]), "need 2 weights"),
        (lambda x: mean_fusion([x, x[:, :2]]), "Map them into one space"),
        (lambda x: mean_fusion([x, np.full_like(x, np.nan)]), "NaN"),
        (lambda x: mean_fusion([x], mask=np.zeros((5, 1), bool)), "no modality at all"),
        (lambda x: mean_fusion([x, x], mask=[[True, False]] * 5, weights=[0, 1]), "positive weight"),
        (lambda x: mean_fusion([x], mask=np.ones((5, 1))), "boolean"),
        (lambda x: Whitening("ica"), "'pca' or 'zca'"),
        (lambda x: Whitening().fit(x[:1]), "two rows"),
        (lambda x: Whitening().fit(np.ones((4, 3))), "rows are equal"),
        (lambda x: Whitening().fit(x).transform(x[:, :2]), "fitted with 3 columns"),
        (lambda x: AttentionFusion(modality_dropout=1.0), "modality_dropout"),
        (lambda x: AttentionFusion(epochs=0), "epochs"),
        (lambda x: AttentionFusion().fit([x], x[:, :2]), "in the space of the vectors"),
        (lambda x: AttentionFusion().fit([x], x, concepts=[1]), "concepts"),
        (lambda x: AttentionFusion(epochs=1).fit([x, x], x).transform([x]), "for 2 modalities"),
        (lambda x: AttentionPooling().fit([x, x[:0]], x[:2]), "not empty"),
        (lambda x: AttentionPooling().fit([x, np.full_like(x, np.nan)], x[:2]), "finite"),
    ],
)
def test_unfit_vectors_end_in_a_clear_error(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng.normal(size=(5, 3)))


def test_what_is_not_fitted_says_so(rng):
    for estimator in (Whitening(), AttentionFusion()):
        with pytest.raises(RuntimeError, match="not fitted"):
            estimator.transform(rng.normal(size=(2, 3, 4)) if estimator.__class__ is AttentionFusion else np.eye(2))


# attention


def test_masked_softmax_is_the_softmax_of_what_is_there(rng):
    logits = torch.tensor(rng.normal(size=(6, 4)))
    mask = torch.tensor(rng.random((6, 4)) < 0.6)
    mask[:, 0] = True
    got = masked_softmax(logits, mask)
    assert (got[~mask] == 0).all()
    for row in range(6):
        assert_allclose(got[row][mask[row]], torch.softmax(logits[row][mask[row]], 0))
    with pytest.raises(ValueError, match="false everywhere"):
        masked_softmax(logits, torch.zeros(6, 4, dtype=torch.bool))


@pytest.mark.parametrize("slots", [1, 3], ids=["shared keys", "keys for each position"])
def test_attention_mean_equals_slow_loops_and_has_the_right_gradient(rng, slots):
    shapes = [(4, 3, 5), (slots, 5, 2), (slots,), (2,)]
    x, keys, bias, query = (torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes)
    mask = torch.tensor([[True, True, True], [True, False, True], [False, False, True], [True, True, False]])
    weights, means = attention_mean(x, mask, keys, bias, query)
    for row in range(4):
        here = [m for m in range(3) if mask[row, m]]
        own = [m if slots > 1 else 0 for m in here]
        logits = [(torch.tanh(x[row, m] @ keys[o]) @ query + bias[o]).item() for m, o in zip(here, own, strict=True)]
        odds = np.exp(logits) / np.exp(logits).sum()
        assert_allclose(weights[row, here].detach(), odds)
        assert_allclose(means[row].detach(), sum(a * x[row, m].detach() for a, m in zip(odds, here, strict=True)))
    assert torch.autograd.gradcheck(
        lambda *parameters: attention_mean(parameters[0], mask, *parameters[1:])[1], (x, keys, bias, query)
    )


def test_gradient_of_attention_in_closed_form(rng):
    """d(mean)/d(logit m) = a_m (x_m - mean): a logit only matters if its vector differs from the mean."""
    x, logits = torch.tensor(rng.normal(size=(3, 4))), torch.tensor(rng.normal(size=3))
    jacobian = torch.autograd.functional.jacobian(lambda b: b.softmax(0) @ x, logits)  # (4, 3)
    a = logits.softmax(0)
    assert_allclose(jacobian.T, a[:, None] * (x - a @ x))


@pytest.fixture
def noisy(rng):
    """Targets, and two modalities of which the second says little (small for testing)."""
    targets = rng.normal(size=(80, 8))
    return targets, [targets + noise * rng.normal(size=(80, 8)) for noise in (0.2, 2.0)]


def test_attention_starts_as_the_mean_and_learns_whom_to_trust(noisy):
    targets, vectors = noisy
    start = AttentionFusion(epochs=1, learning_rate=1e-12).fit(vectors, targets)
    assert_allclose(start.transform(vectors), mean_fusion(vectors), atol=1e-5)
    fusion = AttentionFusion().fit(vectors, targets)
    weights = fusion.weights(vectors)
    assert fusion.history_[-1] < fusion.history_[0]
    assert weights[:, 0].mean() > 0.6
    assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


def test_missing_modalities_have_no_influence(noisy):
    targets, vectors = noisy
    mask = np.ones((80, 2), bool)
    mask[::3, 0], mask[1::3, 1] = False, False
    nan, huge = ([np.where(mask[:, [m]], v, value) for m, v in enumerate(vectors)] for value in (np.nan, 1e30))
    fitted = [AttentionFusion(modality_dropout=0.3, epochs=5).fit(x, targets, mask=mask) for x in (nan, huge)]
    assert_array_equal(fitted[0].transform(nan, mask), fitted[1].transform(huge, mask))
    weights = fitted[0].weights(nan, mask)
    assert (weights[~mask] == 0).all()
    alone = mask.sum(axis=1) == 1
    assert_array_equal(weights[alone][mask[alone]], 1)


def test_training_repeats_and_leaves_the_global_generator_alone(noisy):
    targets, vectors = noisy
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    runs = [AttentionFusion(modality_dropout=0.5, epochs=4, seed=s).fit(vectors, targets) for s in (1, 1, 2)]
    assert_array_equal(torch.rand(3), want)
    one, again, other = (run.transform(vectors) for run in runs)
    assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_modality_dropout_leaves_each_item_something():
    from xmr_lab.fusion.attention import _dropped

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mask = torch.rand(2000, 3) < 0.7
        mask[:, 0] |= ~mask.any(1)
        kept = _dropped(mask, 0.4)
    assert kept.any(1).all() and not (kept & ~mask).any()
    full = mask.all(1)
    alone = 0.4**3  # probability that all three would go; then one stays
    assert abs(kept[full].float().mean().item() - (0.6 + alone / 3)) < 0.03


def test_pooling_does_not_depend_on_who_shares_the_batch(rng):
    bags = [rng.normal(size=(n, 4)) for n in (1, 6, 3, 2)]
    pooling = AttentionPooling(epochs=5).fit(bags, rng.normal(size=(4, 4)))
    together = pooling.transform(bags)
    for row, bag in enumerate(bags):
        assert_allclose(pooling.transform([bag])[0], together[row], atol=1e-6)
        assert_allclose(pooling.weights([bag])[0].sum(), 1, atol=1e-6)


def test_pooling_and_a_linear_map_commute(rng):
    bags, matrix = [rng.normal(size=(n, 4)) for n in (5, 2, 3)], rng.normal(size=(4, 6))
    pooling = AttentionPooling(epochs=5, weight_decay=0).fit(bags, rng.normal(size=(3, 4)))
    pooled = [weights @ bag @ matrix for weights, bag in zip(pooling.weights(bags), bags, strict=True)]
    mapped = [weights @ (bag @ matrix) for weights, bag in zip(pooling.weights(bags), bags, strict=True)]
    assert_allclose(pooled, mapped)
    assert_allclose(unit(np.array(pooled)), unit(pooling.transform(bags) @ matrix), atol=1e-5)


def test_pooling_finds_the_vector_that_matters(rng):
    """Each bag holds its target, marked in the last column, among noise."""
    targets = np.hstack([rng.normal(size=(100, 6)), np.full((100, 1), 2.0)])
    noise = np.concatenate([rng.normal(size=(100, 4, 6)), np.full((100, 4, 1), -2.0)], axis=2)
    bags = list(np.concatenate([targets[:, None], noise], axis=1))
    pooling = AttentionPooling(weight_decay=0).fit(bags[:60], targets[:60])
    assert np.mean([weights[0] for weights in pooling.weights(bags[60:])]) > 0.6


# what encoders compute before they pool


def test_patches_and_tokens_average_to_the_encoders_vectors(tmp_path, monkeypatch):
    from PIL import Image, ImageDraw

    from xmr_lab.encoders import EfficientNetLite0, MiniLM
    from xmr_lab.encoders.unpooled import patches, token_names, tokens

    monkeypatch.setenv("XMR_CACHE", str(tmp_path))
    encoder, texts = MiniLM(), ["A lion.", "The moon and five stars over the sea at night.", "Two cats"]
    found = tokens(encoder, texts, progress=False)
    want = encoder.encode(texts, normalize=False, progress=False)
    assert_allclose([each.mean(axis=0) for each in found], want, atol=1e-5)
    assert [len(each) for each in found] == [len(names) for names in token_names(encoder, texts)]
    assert_allclose(tokens(encoder, texts[:1], progress=False)[0], found[0], atol=1e-6)

    picture = Image.new("RGB", (100, 60), "white")
    ImageDraw.Draw(picture).ellipse((10, 10, 60, 50), fill="red")
    network = EfficientNetLite0()
    found = patches(network, [picture, picture.rotate(90)], progress=False)
    assert found.shape == (2, 49, 1280)
    want = network.encode([picture, picture.rotate(90)], normalize=False, progress=False)
    assert_allclose(found.mean(axis=1), want, atol=1e-5)
