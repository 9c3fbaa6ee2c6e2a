"""Label propagation: what is known of a few items flows along a neighbourhood graph to those that resemble them."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from xmr_lab._validation import check_pairs, check_view, require_fitted, unit

__all__ = ["PairPropagation", "knn_graph", "label_propagation"]


def knn_graph(x: np.ndarray, *, k: int = 10) -> np.ndarray:
    """Each item joined with its ``k`` nearest, by the cosine of what differs from the mean.

    Args:
        x: (n, d).
        k: neighbours; at most all others. The graph is made symmetric, so an item may have more.

    Returns:
        (n, n) symmetric weights in [0, 1], the diagonal 0; negative cosines count as 0.

    Raises:
        ValueError: for fewer than two rows, NaN, or ``k`` below 1.
    """
    x, _ = check_pairs(x, x)
    directions = unit(x - x.mean(axis=0))
    similar = directions @ directions.T
    np.fill_diagonal(similar, -np.inf)  # nobody is a neighbour of themselves
    nearest = _keep_nearest(similar, min(k, len(x) - 1))
    return np.maximum(nearest, nearest.T)


def _keep_nearest(similar: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` largest entries of each row, negative ones as 0, everything else 0."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    best = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    kept = np.zeros(similar.shape)
    np.put_along_axis(kept, best, np.clip(np.take_along_axis(similar, best, axis=1), 0, 1), axis=1)
    return kept


def label_propagation(weights: np.ndarray, labels: np.ndarray, *, alpha: float = 0.9) -> np.ndarray:
    r"""Spread labels over a graph: each item takes ``alpha`` from its neighbours and the rest from its own label.

    With :math:`S = D^{-1/2} W D^{-1/2}`, the fixed point of :math:`F \leftarrow \alpha S F + (1-\alpha) Y`, in closed
    form :math:`F = (1-\alpha)(I - \alpha S)^{-1} Y`.

    Args:
        weights: (n, n) symmetric, not negative; an item without neighbours keeps what it has.
        labels: (n, n_labels), a row of zeros where nothing is known.
        alpha: how far labels travel, in [0, 1).

    Returns:
        (n, n_labels), not normalised.

    Raises:
        ValueError: for shapes that do not fit, or weights that are negative or not symmetric.

    References:
        Zhou et al. (2004), Learning with local and global consistency, NIPS 16; after Zhu & Ghahramani (2002), Learning
        from labeled and unlabeled data with label propagation, CMU-CALD-02-107.

    Examples:
        >>> path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> label_propagation(path, np.array([[1, 0], [0, 0], [0, 1]]), alpha=0.5).argmax(axis=1)
        array([0, 0, 1])
    """
    weights, labels = np.asarray(weights, np.float64), np.asarray(labels, np.float64)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or labels.shape[:1] != weights.shape[:1]:
        raise ValueError(f"need weights (n, n) and labels (n, n_labels), got {weights.shape} and {labels.shape}")
    if not (weights >= 0).all() or not np.allclose(weights, weights.T):
        raise ValueError("weights must be symmetric and not negative; `knn_graph` makes such a graph")
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha must lie in [0, 1), got {alpha}")
    degree = weights.sum(axis=1)
    scale = 1 / np.sqrt(np.where(degree > 0, degree, 1))
    system = np.eye(len(weights)) - alpha * scale[:, None] * weights * scale
    return (1 - alpha) * linalg.solve(system, labels, assume_a="pos")


class PairPropagation:
    """Match items by the pairs to which they are connected, each side in its own graph.

    Each pair is a label of its own. It spreads from its picture over the graph of pictures and from its caption over
    the graph of captions, unpaired ones included; an item is then described by how much of each pair reached it,
    which means the same on both sides. New items take what their nearest items in the graph have.

    Args:
        k: neighbours in the graphs, and of new items.
        alpha: see `label_propagation`.

    References:
        Zhou et al. (2004), NIPS 16; new items: Delalleau, Bengio & Le Roux (2005), AISTATS; describing items by their
        similarity to anchors: Moschella et al. (2023), arXiv:2209.15430.
    """

    def __init__(self, *, k: int = 10, alpha: float = 0.9) -> None:
        if k < 1 or not 0 <= alpha < 1:
            raise ValueError(f"need k >= 1 and 0 <= alpha < 1, got {k} and {alpha}")
        self.k, self.alpha = k, alpha

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        unpaired_x: np.ndarray | None = None,
        unpaired_y: np.ndarray | None = None,
    ) -> PairPropagation:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y), and to unpaired rows of either, in any order.

        Raises:
            ValueError: for shapes that do not fit, or NaN.
        """
        x, y = check_pairs(x, y)
        dims = x.shape[1], y.shape[1]
        self.items_, self.reached_ = [], []
        for view, (paired, unpaired) in enumerate([(x, unpaired_x), (y, unpaired_y)]):
            more = np.empty((0, dims[view])) if unpaired is None else check_view(unpaired, view, *dims)
            items = np.concatenate([paired, more])  # (n + m, d)
            labels = np.eye(len(items), len(paired))  # (n + m, n): pair i at row i
            reached = label_propagation(knn_graph(items, k=self.k), labels, alpha=self.alpha)
            self.items_.append(items)
            self.reached_.append(reached / reached.sum(axis=0))  # every pair hands out the same
        return self

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view as their shares of the pairs, (n, n_pairs) float32 of length 1."""
        require_fitted(self, "items_")
        x = check_view(x, view, *(items.shape[1] for items in self.items_))
        items, reached = self.items_[view], self.reached_[view]
        mean = items.mean(axis=0)
        near = _keep_nearest(unit(x - mean) @ unit(items - mean).T, min(self.k, len(items)))  # (n, n_items)
        return unit(_shares(near @ reached) - _shares(reached).mean(axis=0))


def _shares(reached: np.ndarray) -> np.ndarray:
    """Square roots of the rows' shares, so that their dot product compares two distributions."""
    total = reached.sum(axis=1, keepdims=True)
    return np.sqrt(reached / np.where(total > 0, total, 1))
