"""Gromov-Wasserstein: match two spaces by their inner distances alone, without a single pair."""

from __future__ import annotations

from typing import Literal

import numpy as np
import ot
from scipy.stats import rankdata

from xmr_lab._validation import check_view, require_fitted, unit
from xmr_lab.fusion import standardize_scores
from xmr_lab.matching.assignment import sinkhorn
from xmr_lab.matching.ridge import RidgeMap

__all__ = ["GromovWasserstein", "gromov_loss", "inner_distances"]

Distances = Literal["cosine", "rank"]


def inner_distances(x: np.ndarray, kind: Distances = "rank") -> np.ndarray:
    """Distances among the rows, with mean 0 and deviation 1, so that those of two spaces can be compared.

    Args:
        x: (n, d), three rows at least.
        kind: ``"cosine"`` takes one minus the cosine of what differs from the mean; ``"rank"`` only how each of these
            distances stands among all of them, so that the two spaces' distances are equally spread.

    Returns:
        (n, n) symmetric, smallest on the diagonal.
    """
    x = check_view(x, 0, np.shape(x)[-1])
    if len(x) < 3:
        raise ValueError(f"at least three rows are needed to compare distances; got {len(x)}")
    if kind not in ("cosine", "rank"):
        raise ValueError(f"kind must be 'cosine' or 'rank', got {kind!r}")
    directions = unit(x - x.mean(axis=0)).astype(np.float64)
    upper = np.triu_indices(len(x), 1)
    values = 1 - (directions @ directions.T)[upper]
    values = standardize_scores((rankdata(values) if kind == "rank" else values)[None])[0]
    distances = np.full((len(x), len(x)), values.min())
    distances[upper] = distances.T[upper] = values
    return distances


def gromov_loss(a: np.ndarray, b: np.ndarray, plan: np.ndarray) -> float:
    r"""How much the plan distorts distances: :math:`\sum (a_{ik} - b_{jl})^2 P_{ij} P_{kl}`.

    Args:
        a, b: (n, n) and (m, m) distances.
        plan: (n, m) of sum 1.

    Examples:
        >>> a = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
        >>> plans = np.eye(3) / 3, np.eye(3)[::-1] / 3  # a mirror image is as good
        >>> [abs(round(gromov_loss(a, a, plan), 9)) for plan in plans]
        [0.0, 0.0]
    """
    rows, columns = plan.sum(axis=1), plan.sum(axis=0)
    fixed = rows @ a**2 @ rows + columns @ b**2 @ columns
    return float(fixed - 2 * np.sum((a @ plan @ b) * plan))


class GromovWasserstein:
    r"""Find which items belong together from how far they are from each other within each view.

    The plan :math:`P` has equal sums of rows and of columns, and items far apart in one view should go to items far
    apart in the other:

    .. math:: \min_P \; \alpha \sum_{ijkl} (a_{ik} - b_{jl})^2 P_{ij} P_{kl} - (1 - \alpha) \sum_{ij} P_{ij} s_{ij},

    with scores :math:`s` of any other matcher (*fused* Gromov-Wasserstein), or without. It is not convex: what is
    found depends on where one starts. New items are placed by a ridge map from x to where the plan sends its rows.

    Args:
        structure: alpha, in [0, 1]; less than 1 needs scores.
        distances: see `inner_distances`.
        ridge: penalty of the map.
        max_iter: steps of conditional gradient.
        seed: start from a random plan; None starts from the plan that knows nothing.

    References:
        Mémoli (2011), doi:10.1007/s10208-011-9093-5; Peyré, Cuturi & Solomon (2016), ICML; fused: Vayer et al. (2019),
        arXiv:1805.09114; matching languages so: Alvarez-Melis & Jaakkola (2018), arXiv:1809.00013. Computed by POT:
        Flamary et al. (2021), JMLR 22(78).

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(12, 3))
        >>> y = x[::-1] @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]  # turned, in another order
        >>> matcher = GromovWasserstein().fit(x, y)
        >>> matcher.plan_.argmax(axis=1).tolist()
        [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    """

    def __init__(
        self,
        *,
        structure: float = 1.0,
        distances: Distances = "rank",
        ridge: float = 1e-2,
        max_iter: int = 200,
        seed: int | None = None,
    ) -> None:
        if not 0 <= structure <= 1 or max_iter < 1:
            raise ValueError(f"need structure in [0, 1] and max_iter >= 1, got {structure} and {max_iter}")
        self.structure, self.distances, self.ridge = structure, distances, ridge
        self.max_iter, self.seed = max_iter, seed

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        scores: np.ndarray | None = None,
        pairs: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> GromovWasserstein:
        """Fit to rows ``x`` (n, d_x) and ``y`` (m, d_y), in any order.

        Args:
            scores: (n, m) of another matcher, standardised here.
            pairs: rows of x and rows of y that are known to belong together; the search starts there.

        Raises:
            ValueError: for shapes that do not fit, NaN, or ``structure`` below 1 without scores.
        """
        a, b = inner_distances(x, self.distances), inner_distances(y, self.distances)
        n, m = len(a), len(b)
        if (scores is None) != (self.structure == 1):
            raise ValueError(f"scores are needed if structure is below 1, and only then; structure is {self.structure}")
        cost = np.zeros((n, m)) if scores is None else -standardize_scores(scores)
        if cost.shape != (n, m):
            raise ValueError(f"scores must be of shape {n, m}, x by y; got {cost.shape}")
        options = {"G0": self._start(n, m, pairs), "alpha": self.structure, "max_iter": self.max_iter}
        self.plan_ = ot.gromov.fused_gromov_wasserstein(cost, a, b, symmetric=True, **options)
        self.loss_ = gromov_loss(a, b, self.plan_)
        sent = self.plan_ / self.plan_.sum(axis=1, keepdims=True) @ np.asarray(y, np.float64)  # (n, d_y)
        self.map_ = RidgeMap(self.ridge).fit(x, sent)
        return self

    def _start(self, n: int, m: int, pairs: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
        """A plan to start from: (n, m), equal sums of rows and of columns."""
        start = np.ones((n, m))
        if self.seed is not None:
            start = np.random.default_rng(self.seed).random((n, m)) ** 4  # uneven enough to lead somewhere else
        if pairs is not None:
            rows, columns = (np.asarray(side) for side in pairs)
            start[rows], start[:, columns] = 1e-9, 1e-9
            start[rows, columns] = 1.0
        return sinkhorn(np.log(start + 1e-12), temperature=1.0) / n

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the second view's space, (n, d_y) float32 of length 1."""
        require_fitted(self, "map_")
        return self.map_.transform(x, view)
