"""The metrics: where the relevant items stand -> one value for each query.

Every value is the expectation over a random order of tied items, in closed form (McSherry & Najork 2008,
doi:10.1007/978-3-540-78646-7_38), so constant scores score exactly chance. A query without a relevant item
has no value: NaN. In the formulas a tie group with relevant items has a items above it, t items and r
relevant ones in it, and c relevant ones above it; R is the number of relevant items in the gallery.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from xmr_lab.metrics.ranks import RelevantRanks


def hit_rate_at_k(ranks: RelevantRanks, k: int) -> np.ndarray:
    r"""Probability that at least one relevant item is among the top ``k``.

    The R@k of CLIP-style papers; not `recall_at_k`. Of the m = clip(k - a, 0, t) places that the first group
    takes in the top ``k``, all miss with probability :math:`\binom{t-r}{m} / \binom{t}{m}`.

    Args:
        ranks: what `rank_relevant` returns.
        k: cut-off, at least 1; larger than the gallery counts as the whole gallery.

    Returns:
        (n_queries,) values in [0, 1], NaN where nothing is relevant.

    Raises:
        ValueError: if ``k`` is below 1.
    """
    k = _cutoff(ranks, k)
    some, a, t, r = _first_groups(ranks)
    places = np.clip(k - a, 0, t)
    few, many = np.minimum(r, places), np.maximum(r, places)
    miss = np.ones(len(a))
    for i in range(few.max(initial=0)):  # C(t - r, m) / C(t, m) as a product, symmetric in r and m
        miss *= np.where(i < few, np.maximum(t - many - i, 0) / np.maximum(t - i, 1), 1)
    return _spread(ranks, some, 1 - miss)


def recall_at_k(ranks: RelevantRanks, k: int) -> np.ndarray:
    """Share of the relevant items that are among the top ``k``. (n_queries,)

    As `hit_rate_at_k` in its arguments; equal to it where one item is relevant.
    """
    return _found(ranks, k) / _positive(ranks.n_relevant)


def precision_at_k(ranks: RelevantRanks, k: int) -> np.ndarray:
    """Share of the top ``k`` that is relevant. (n_queries,)

    As `hit_rate_at_k` in its arguments. (trec_eval divides by ``k`` even if the gallery is smaller.)
    """
    return _found(ranks, k) / _cutoff(ranks, k)


def f1_at_k(ranks: RelevantRanks, k: int) -> np.ndarray:
    """Harmonic mean of precision and recall at ``k``: 2 · found / (k + R). (n_queries,)

    As `hit_rate_at_k` in its arguments. Linear in what is found, so the expectation is exact.
    """
    return 2 * _found(ranks, k) / (_cutoff(ranks, k) + ranks.n_relevant)


def average_precision(ranks: RelevantRanks) -> np.ndarray:
    r"""Mean, over the relevant items, of the precision at their ranks; its mean over queries is mAP.

    The place a + x of a tie group holds a relevant item with probability r / t, and then the expected number
    of relevant items down to it is c + 1 + (x - 1)(r - 1) / (t - 1). Summed over x in closed form, with
    harmonic numbers H:

    .. math:: \frac{r}{t R} \bigl[(c + 1 - (a + 1) b)(H_{a+t} - H_a) + t b\bigr], \quad b = \frac{r-1}{t-1}

    Returns:
        (n_queries,) values in (0, 1], NaN where nothing is relevant.
    """
    a, t, r, query = ranks.above, ranks.tied, ranks.relevant, ranks.query
    n_relevant = ranks.n_relevant
    c = np.cumsum(r) - r - (np.cumsum(n_relevant) - n_relevant)[query]  # relevant items above the group
    b = (r - 1) / np.maximum(t - 1, 1)
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, ranks.n_gallery + 1))])
    tied = (c + 1 - (a + 1) * b) * (harmonic[a + t] - harmonic[a]) + t * b
    total = np.where(t == 1, (c + 1) / (a + 1), r / t * tied)  # without ties no rounding of harmonic sums
    return _sum(ranks, total) / _positive(n_relevant)


def ndcg_at_k(ranks: RelevantRanks, k: int) -> np.ndarray:
    """Discounted cumulative gain of the top ``k``, relative to the best possible; relevance counts 0 or 1.

    A relevant item at rank i gains 1 / log2(1 + i). As `hit_rate_at_k` in its arguments.

    Returns:
        (n_queries,) values in [0, 1], NaN where nothing is relevant.

    References:
        Järvelin & Kekäläinen (2002), doi:10.1145/582415.582418.
    """
    k = _cutoff(ranks, k)
    gains = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])  # (k + 1,) of the first ranks
    places = gains[np.minimum(ranks.above + ranks.tied, k)] - gains[np.minimum(ranks.above, k)]
    ideal = gains[np.minimum(ranks.n_relevant, k)]
    return _sum(ranks, ranks.relevant / ranks.tied * places) / _positive(ideal)


def reciprocal_rank(ranks: RelevantRanks) -> np.ndarray:
    r"""Expected reciprocal of the rank of the first relevant item; its mean over queries is MRR.

    The first relevant item of a tie group is its x-th with probability
    :math:`\binom{t-x}{r-1} / \binom{t}{r}`.

    Returns:
        (n_queries,) values in (0, 1], NaN where nothing is relevant.
    """
    some, a, t, r = _first_groups(ranks)
    values = 1 / (a + 1.0)
    tied = np.flatnonzero(r < t)
    kinds, which = np.unique(np.stack([a, t, r])[:, tied], axis=1, return_inverse=True)
    expected = np.empty(kinds.shape[1])
    for i, (above, size, relevant) in enumerate(kinds.T):
        x = np.arange(1, size - relevant + 2)
        hit = relevant / (size - x + 1)  # the x-th is relevant, given that those before it are not
        first = hit * np.concatenate([[1], np.cumprod(1 - hit[:-1])])
        expected[i] = np.sum(first / (above + x))
    values[tied] = expected[which.ravel()]
    return _spread(ranks, some, values)


def first_rank(ranks: RelevantRanks) -> np.ndarray:
    """Expected rank, from 1, of the first relevant item: a + (t + 1) / (r + 1); its median is "median rank".

    Returns:
        (n_queries,) values in [1, n_gallery], NaN where nothing is relevant.
    """
    some, a, t, r = _first_groups(ranks)
    return _spread(ranks, some, a + (t + 1) / (r + 1))


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> np.ndarray:
    """1 where the predicted label is right, else 0, for each item; the mean is the accuracy. (n,) float64

    Raises:
        ValueError: if the arrays are empty or differ in shape.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"need as many predictions as labels, got {predictions.shape} and {labels.shape}")
    return (labels == predictions).astype(np.float64)


def f1_score(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Mean over the classes of the harmonic mean of precision and recall ("macro" F1).

    A class among the labels or predictions counts, also if it is never predicted (0).

    Raises:
        ValueError: if the arrays are empty or differ in shape.
    """
    from sklearn.metrics import f1_score as sklearn_f1

    accuracy(labels, predictions)  # for its checks
    return float(sklearn_f1(labels, predictions, average="macro", zero_division=0))


def _cutoff(ranks: RelevantRanks, k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return min(int(k), ranks.n_gallery)


def _found(ranks: RelevantRanks, k: int) -> np.ndarray:
    """(n_queries,) expected number of relevant items among the top k, NaN where nothing is relevant."""
    share = np.clip(_cutoff(ranks, k) - ranks.above, 0, ranks.tied) / ranks.tied
    return np.where(ranks.n_relevant > 0, _sum(ranks, ranks.relevant * share), np.nan)


def _sum(ranks: RelevantRanks, of_groups: np.ndarray) -> np.ndarray:
    return np.bincount(ranks.query, of_groups, minlength=len(ranks))


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _first_groups(ranks: RelevantRanks) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which queries have a relevant item, and a, t, r of their best group."""
    some = np.diff(ranks.starts) > 0
    first = ranks.starts[:-1][some]
    return some, ranks.above[first], ranks.tied[first], ranks.relevant[first]


def _spread(ranks: RelevantRanks, some: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = np.full(len(ranks), np.nan)
    out[some] = values
    return out
