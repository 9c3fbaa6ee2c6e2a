"""Label propagation: what is known of a few items flows along a neighbourhood graph to those that resemble them."""

from __future__ import annotations

import numpy as np

from xmr_lab._validation import check_pairs, check_view, require_fitted, unit
from xmr_lab.matching.graph import keep_nearest, knn_graph, label_propagation

__all__ = ["PairPropagation", "knn_graph", "label_propagation"]


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
        near = keep_nearest(unit(x - mean) @ unit(items - mean).T, min(self.k, len(items)))  # (n, n_items)
        return unit(_shares(near @ reached) - _shares(reached).mean(axis=0))


def _shares(reached: np.ndarray) -> np.ndarray:
    """Square roots of the rows' shares, so that their dot product compares two distributions."""
    total = reached.sum(axis=1, keepdims=True)
    return np.sqrt(reached / np.where(total > 0, total, 1))
