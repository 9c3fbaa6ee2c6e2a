"""Scores freed of hubs: gallery items that are near to every query are put back by what they score on average.

All three take scores, (n_queries, n_gallery), larger is better, and return scores of the same shape and scale: they
subtract from each gallery item's column how easily it is found, as `csls` and `inverted_softmax` measure it on a
bank of other queries (training queries, so that a query's result does not depend on who else is asking), or on
the queries themselves.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from xmr_lab._validation import check_scores

__all__ = ["csls", "dual_softmax", "inverted_softmax"]


def csls(scores: np.ndarray, bank_scores: np.ndarray | None = None, *, k: int = 10) -> np.ndarray:
    r"""Cross-domain similarity local scaling: a score counts by how far it stands out on both sides.

    :math:`2 s_{ij} - r_i - r_j`, with :math:`r` the mean of the ``k`` best scores of the row or of the column. An item
    that is near to everything (a hub) stands out nowhere.

    Args:
        scores: (n_queries, n_gallery).
        bank_scores: (n_bank, n_gallery), scores of other queries with the same gallery, from which the columns'
            :math:`r_j` are taken. Without, from ``scores``: then each query's result depends on the other queries.
        k: how many neighbours; at most all of them.

    References:
        Conneau et al. (2018), arXiv:1710.04087.

    Examples:
        >>> csls(np.array([[0.9, 0.8], [0.9, 0.1]]), k=1).round(1)
        array([[ 0. , -0.1],
               [ 0. , -1.5]])
    """
    scores, bank = _with_bank(scores, bank_scores)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    row = np.sort(scores, axis=1)[:, -k:].mean(axis=1, keepdims=True)
    column = np.sort(bank, axis=0)[-k:].mean(axis=0, keepdims=True)
    return 2 * scores - row - column


def inverted_softmax(
    scores: np.ndarray, bank_scores: np.ndarray | None = None, *, temperature: float = 0.05, dynamic: int = 0
) -> np.ndarray:
    r"""Softmax over queries instead of over the gallery: whose favourite is this item?

    :math:`s_{ij} - \tau \log \operatorname{mean}_b e^{s_{bj} / \tau}` over the queries b of the bank, which ranks as
    :math:`e^{s_{ij}/\tau} / \sum_b e^{s_{bj}/\tau}` does. A large :math:`\tau` subtracts the mean of a column, a
    small one its largest entry.

    Args:
        scores: (n_queries, n_gallery).
        bank_scores: (n_bank, n_gallery), scores of other queries, such as those of training, with the same gallery.
            Without, the queries are their own bank: allowed only where all of them are known at once.
        temperature: the scale :math:`\tau`, in units of the scores.
        dynamic: correct only queries whose best item is among the ``dynamic`` best of a query of the bank (1 is
            QB-Norm's dynamic inverted softmax); 0 corrects all.

    References:
        Smith et al. (2017), arXiv:1702.03859; with a bank of training queries: Bogolin et al. (2022), QB-Norm,
        arXiv:2112.12777.

    Examples:
        >>> hub = np.array([[0.9, 0.8], [0.9, 0.1]])  # both queries like the first item
        >>> inverted_softmax(hub).argmax(axis=1)
        array([1, 0])
    """
    scores, bank = _with_bank(scores, bank_scores)
    _check_temperature(temperature)
    if not 0 <= dynamic <= scores.shape[1]:
        raise ValueError(f"dynamic must lie between 0 and the {scores.shape[1]} items of the gallery, got {dynamic}")
    corrected = scores - temperature * (logsumexp(bank / temperature, axis=0) - np.log(len(bank)))
    if not dynamic:
        return corrected
    hubs = np.unique(np.argpartition(-bank, dynamic - 1, axis=1)[:, :dynamic])
    return np.where(np.isin(scores.argmax(axis=1), hubs)[:, None], corrected, scores)


def dual_softmax(scores: np.ndarray, *, temperature: float = 0.05) -> np.ndarray:
    r"""Softmax over the gallery times softmax over the queries: high where both sides choose each other.

    Returns :math:`\tau` times its logarithm. It needs all queries at once (it is transductive): a system that
    answers queries one by one cannot use it, and a query's result depends on who else is asking.

    Args:
        scores: (n_queries, n_gallery).
        temperature: the scale :math:`\tau`, in units of the scores.

    References:
        Rocco et al. (2018), soft mutual nearest neighbours, arXiv:1810.10510; for retrieval, Cheng et al. (2021),
        arXiv:2109.04290.

    Examples:
        >>> hub = np.array([[0.9, 0.8], [0.9, 0.1]])
        >>> bool(np.allclose(dual_softmax(hub), dual_softmax(hub.T).T))
        True
    """
    scores = check_scores(scores)
    _check_temperature(temperature)
    logits = scores / temperature
    return temperature * (2 * logits - logsumexp(logits, axis=1, keepdims=True) - logsumexp(logits, axis=0))


def _with_bank(scores: np.ndarray, bank_scores: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    scores = check_scores(scores)
    bank = scores if bank_scores is None else check_scores(bank_scores, "bank_scores")
    if bank.shape[1] != scores.shape[1]:
        raise ValueError(
            f"scores and bank_scores must be of the same gallery, got {scores.shape[1]} and {bank.shape[1]} columns"
        )
    return scores, bank


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
