"""ConSE: a picture becomes the mean of its likely class names, and no pair is needed."""

from __future__ import annotations

import numpy as np

from xmr_lab._validation import check_view, unit

__all__ = ["ConSE"]


class ConSE:
    r"""Convex combination of semantic embeddings.

    A classifier gives each picture the probabilities :math:`p_c` of its classes; the picture is placed at
    :math:`\sum_{c \in \text{top } T} p_c^{\gamma} s_c`, where :math:`s_c` is the embedding of the name of class
    :math:`c` in the text space. Captions are only centred. Nothing is learned from pairs.

    Args:
        class_embeddings: (n_classes, d) text embeddings of the class names.
        top: how many classes take part.
        sharpness: the exponent gamma; 1 is the published method, smaller values listen to unlikely classes more.
        center: subtract the mean of the class embeddings from both views, which removes what all names share.

    References:
        Norouzi et al. (2014), arXiv:1312.5650.
    """

    def __init__(
        self, class_embeddings: np.ndarray, *, top: int = 10, sharpness: float = 1.0, center: bool = True
    ) -> None:
        names = np.asarray(class_embeddings, dtype=np.float64)
        if names.ndim != 2 or not np.isfinite(names).all():
            raise ValueError(f"class_embeddings must be finite, of shape (n_classes, d); got {names.shape}")
        if not 1 <= top <= len(names):
            raise ValueError(f"top must lie between 1 and the {len(names)} classes, got {top}")
        if not sharpness > 0:
            raise ValueError(f"sharpness must be positive, got {sharpness}")
        self.top, self.sharpness = top, sharpness
        self.mean_ = names.mean(axis=0) if center else np.zeros(names.shape[1])
        self.names_ = names - self.mean_

    def fit(self, x: object = None, y: object = None) -> ConSE:
        """Nothing to fit; here so that it can stand where the other matchers stand."""
        return self

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Class probabilities (n, n_classes) as view 0, text embeddings (n, d) as view 1: (n, d) of length 1."""
        weights = check_view(x, view, len(self.names_), len(self.mean_))
        if view == 1:
            return unit(weights - self.mean_)
        if (weights < 0).any():
            raise ValueError("view 0 must be class probabilities; found a negative number")
        dropped = np.argpartition(weights, -self.top, axis=1)[:, : -self.top]
        weights = weights**self.sharpness
        np.put_along_axis(weights, dropped, 0.0, axis=1)
        return unit(weights @ self.names_)
