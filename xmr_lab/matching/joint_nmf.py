"""Joint non-negative matrix factorisation: factors that only add, so that each can be read as a topic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from xmr_lab._validation import check_view, check_views, require_fitted, unit

from .factorisation import scales_of

__all__ = ["JointNMF", "nmf"]


def nmf(x: np.ndarray, n_components: int, *, n_iterations: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    r"""Non-negative matrix factorisation :math:`X \approx T H` by multiplicative updates.

    :math:`T \leftarrow T \odot X H^\top / T H H^\top` and likewise for H: no step raises the squared error, and what is
    not negative stays so.

    Args:
        x: (n, d), not negative.

    Returns:
        T (n, n_components) and H (n_components, d).

    Raises:
        ValueError: if ``x`` is not a finite, non-negative matrix, or n_components is below 1.

    References:
        Lee & Seung (2001), Algorithms for non-negative matrix factorization, NeurIPS 13.

    Examples:
        >>> x = np.outer([1, 2, 3], [1, 0, 2])
        >>> t, h = nmf(x, 1)
        >>> bool(np.allclose(t @ h, x))
        True
    """
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all() or (x < 0).any() or n_components < 1:
        raise ValueError(
            f"need a finite matrix without negative numbers and n_components >= 1, got {x.shape}, {n_components}"
        )
    rng = np.random.default_rng(seed)
    size = np.sqrt(x.mean() / n_components)
    t = size * rng.uniform(0.5, 1.5, (len(x), n_components))
    h = size * rng.uniform(0.5, 1.5, (n_components, x.shape[1]))
    tiny = np.finfo(float).tiny ** 0.5
    for _ in range(n_iterations):
        t *= (x @ h.T) / (t @ (h @ h.T) + tiny)
        h *= (t.T @ x) / ((t.T @ t) @ h + tiny)
    return t, h


class JointNMF:
    r"""Views side by side, factorised without negative numbers: a part of a picture together with a part of a text.

    A view that holds negative numbers in training is split into its positive and its negative part, :math:`[x_+, x_-]`.
    Views are scaled to rows of mean squared length 1, times their weights, but not centred. A row of one view alone has
    the factors :math:`\arg\min_{t \ge 0} \lVert x - H_v^\top t \rVert^2`, solved exactly.

    Args:
        n_components: factors.
        weights: one positive number a view, multiplied with its squared length; equal by default.
        center: subtract the mean of the factors over the training items, of each view alone, before comparing.
        n_iterations, seed: as in `nmf`.

    References:
        Lee & Seung (1999), doi:10.1038/44565; over modalities: Akata, Thurau & Bauckhage (2011), Non-negative matrix
        factorization in multimodality data for segmentation and label prediction, Computer Vision Winter Workshop.
    """

    def __init__(
        self,
        n_components: int = 32,
        *,
        weights: Sequence[float] | None = None,
        center: bool = True,
        n_iterations: int = 200,
        seed: int = 0,
    ) -> None:
        if n_components < 1 or n_iterations < 1:
            raise ValueError(f"need n_components and n_iterations >= 1, got {n_components} and {n_iterations}")
        self.n_components, self.weights, self.center = n_components, weights, center
        self.n_iterations, self.seed = n_iterations, seed

    def fit(self, *views: np.ndarray) -> JointNMF:
        """Fit to complete items: ``views`` (n, d_v) each, row i of all describing item i.

        Raises:
            ValueError: for views that do not pair, NaN, or a view of zeros.
        """
        checked = check_views(*views)
        self.dims_ = [view.shape[1] for view in checked]
        self.signed_ = [bool((view < 0).any()) for view in checked]
        parts = [_parts(view, signed) for view, signed in zip(checked, self.signed_, strict=True)]
        self.scales_ = scales_of(parts, self.weights, True)
        blocks = [part * scale for part, scale in zip(parts, self.scales_, strict=True)]
        self.factors_, joint = nmf(np.hstack(blocks), self.n_components, n_iterations=self.n_iterations, seed=self.seed)
        self.components_ = np.split(joint, np.cumsum([block.shape[1] for block in blocks])[:-1], axis=1)
        self.means_ = [self.factors(view, i).mean(axis=0) * self.center for i, view in enumerate(checked)]
        return self

    def factors(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """How much of each topic rows of one view hold, (n, n_components), not negative, neither centred nor scaled."""
        require_fitted(self, "components_")
        x = check_view(x, view, *self.dims_)
        if not self.signed_[view] and (x < 0).any():
            raise ValueError(f"view {view} had no negative numbers when it was fitted; it has now")
        basis, triangle = np.linalg.qr(self.components_[view].T)  # (width, k), (k, k): a smaller problem, as good
        targets = _parts(x, self.signed_[view]) * self.scales_[view] @ basis
        return np.array([nnls(triangle, target)[0] for target in targets])

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """The factors of rows that have one view alone, (n, n_components) float32 of length 1."""
        return unit(self.factors(x, view) - self.means_[view])


def _parts(x: np.ndarray, signed: bool) -> np.ndarray:
    """Positive and negative parts side by side, (n, 2 d); or the rows as they are."""
    return np.hstack([np.maximum(x, 0), np.maximum(-x, 0)]) if signed else x
