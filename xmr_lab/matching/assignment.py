"""Pairings of queries with gallery items: each used once, exactly (`hungarian`) or softly (`sinkhorn`).

All of them look at all queries at once: what one query gets depends on what the others ask.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.special import logsumexp

from xmr_lab._validation import check_scores

__all__ = ["hungarian", "maximum_matching", "sinkhorn"]


def maximum_matching(edges: np.ndarray) -> np.ndarray:
    """Pair as many queries as possible along the edges, each gallery item once at most; scores play no part.

    Args:
        edges: (n_queries, n_gallery), nonzero where a pair is allowed.

    Returns:
        (n_queries,) the gallery item of each query, -1 if it has none.

    References:
        Hopcroft & Karp (1973), doi:10.1137/0202019; computed by scipy.

    Examples:
        >>> maximum_matching(np.array([[1, 1], [1, 0]])).tolist()
        [1, 0]
    """
    return maximum_bipartite_matching(sparse.csr_array(check_scores(edges) != 0), perm_type="column").astype(np.int64)


def hungarian(scores: np.ndarray) -> np.ndarray:
    """The one-to-one pairing with the largest sum of scores (maximum-weight bipartite matching).

    Args:
        scores: (n_queries, n_gallery), larger is better.

    Returns:
        (n_queries,) the gallery item of each query, -1 if there are more queries than items and it has none.

    References:
        Kuhn (1955), doi:10.1002/nav.3800020109; computed by scipy, after Crouse (2016), doi:10.1109/TAES.2016.140952.

    Examples:
        >>> hungarian(np.array([[0.9, 0.8], [0.9, 0.1]])).tolist()  # the first query gives way
        [1, 0]
    """
    scores = check_scores(scores)
    pairing = np.full(len(scores), -1)
    rows, columns = linear_sum_assignment(scores, maximize=True)
    pairing[rows] = columns
    return pairing


def sinkhorn(
    scores: np.ndarray, *, temperature: float = 0.1, iterations: int = 1000, tolerance: float = 1e-6
) -> np.ndarray:
    r"""The pairing, softly: :math:`e^{s_{ij}/\tau}`, rows and columns scaled in turn until their sums are equal.

    This is optimal transport with the cost :math:`-s` and the entropy weighted by :math:`\tau`; as :math:`\tau` goes to
    0, it becomes the one-to-one pairing of `hungarian` (if that is unique). It ranks: a row holds how likely each item
    is for a query, *given* that every item is asked for equally often.

    Args:
        scores: (n_queries, n_gallery), larger is better.
        temperature: :math:`\tau`, in units of the scores.
        iterations: how many times, at most, each side is scaled.
        tolerance: stop when all row sums are this near to 1. Column sums are n_queries / n_gallery after each turn.

    Returns:
        (n_queries, n_gallery) not negative.

    Raises:
        ValueError: for scores that are empty or not finite, or numbers out of range.

    References:
        Sinkhorn & Knopp (1967), doi:10.2140/pjm.1967.21.343; Cuturi (2013), arXiv:1306.0895; in logarithms: Schmitzer
        (2019), arXiv:1610.06519.

    Examples:
        >>> sinkhorn(np.array([[0.9, 0.8], [0.9, 0.1]]), temperature=0.1).round(2)
        array([[0.03, 0.97],
               [0.97, 0.03]])
    """
    scores = check_scores(scores)
    if not temperature > 0 or iterations < 1:
        raise ValueError(f"need temperature > 0 and iterations >= 1, got {temperature} and {iterations}")
    logits = scores / temperature
    share = np.log(len(scores) / scores.shape[1])
    for _ in range(iterations):
        logits = logits - logsumexp(logits, axis=1, keepdims=True)
        logits = logits - logsumexp(logits, axis=0, keepdims=True) + share
        if np.abs(np.exp(logsumexp(logits, axis=1)) - 1).max() <= tolerance:
            break
    return np.exp(logits)
