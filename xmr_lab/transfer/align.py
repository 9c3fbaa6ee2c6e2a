"""Alignment without labels: move the rows of a source domain to where the rows of a target domain lie.

Each class has ``fit(source, target)`` on unpaired, unlabelled rows, and ``transform(x, domain=…)``, which takes
rows of either domain into one common space. A model is then trained on the source there, and used on the target.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import ot
from scipy import linalg
from scipy.spatial.distance import cdist

from .shift import check_domains, check_rows

__all__ = ["CORAL", "Domain", "DomainCentering", "OptimalTransport"]

Domain = Literal["source", "target"]


class _Alignment:
    """What the three have in common: checked rows in, and the question of which domain they come from."""

    means_: dict[str, np.ndarray]

    def _rows(self, x: np.ndarray, domain: str) -> np.ndarray:
        if not hasattr(self, "means_"):
            raise RuntimeError(f"this {type(self).__name__} is not fitted yet; call fit(source, target) first")
        if domain not in self.means_:
            raise ValueError(f"domain must be 'source' or 'target', got {domain!r}")
        x, width = check_rows(x, domain), len(self.means_[domain])
        if x.shape[1] != width:
            raise ValueError(f"{type(self).__name__} was fitted with {width} columns, got {x.shape[1]}")
        return x


class DomainCentering(_Alignment):
    """Subtract from the rows of each domain their own mean.

    The oldest remedy for a change of microphone, there under the name of cepstral mean normalisation.

    References:
        Atal (1974), doi:10.1121/1.1914702.

    Examples:
        >>> centering = DomainCentering().fit([[0.0], [2.0]], [[10.0], [12.0]])
        >>> centering.transform([[0.0]], domain="source"), centering.transform([[10.0]], domain="target")
        (array([[-1.]]), array([[-1.]]))
    """

    def fit(self, source: np.ndarray, target: np.ndarray) -> DomainCentering:
        """Fit to unpaired rows ``source`` (n_s, d) and ``target`` (n_t, d)."""
        source, target = check_domains(source, target)
        self.means_ = {"source": source.mean(axis=0), "target": target.mean(axis=0)}
        return self

    def transform(self, x: np.ndarray, domain: Domain = "source") -> np.ndarray:
        """Rows (n, d) of one domain, centred."""
        return self._rows(x, domain) - self.means_[domain]


class CORAL(_Alignment):
    r"""Correlation alignment: give the source the mean and the covariance of the target.

    Centred source rows are whitened and then coloured like the target,

    .. math:: x \mapsto (x - \mu_s)\, \Sigma_s^{-1/2}\, \Sigma_t^{1/2},

    target rows are centred. Both covariances are blended with a multiple of the identity,
    :math:`(1-r)\Sigma + r \tfrac{\operatorname{tr}\Sigma}{d} I`: with fewer rows than columns they have no inverse.

    Args:
        regularization: r in [0, 1]; 0 needs more source rows than columns, 1 leaves centring and one common scale.

    References:
        Sun, Feng & Saenko (2016), arXiv:1511.05547.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> source, target = rng.normal(size=(50, 2)), rng.normal(size=(60, 2)) @ [[3, 1], [0, 1]] + 5
        >>> moved = CORAL(regularization=0).fit(source, target).transform(source)
        >>> bool(np.allclose(np.cov(moved.T), np.cov(target.T)))
        True
    """

    def __init__(self, regularization: float = 0.1) -> None:
        if not 0 <= regularization <= 1:
            raise ValueError(f"regularization must lie in [0, 1], got {regularization}")
        self.regularization = regularization

    def fit(self, source: np.ndarray, target: np.ndarray) -> CORAL:
        """Fit to unpaired rows ``source`` (n_s, d) and ``target`` (n_t, d).

        Raises:
            ValueError: for NaN, wrong shapes, or a source covariance without an inverse.
        """
        source, target = check_domains(source, target)
        self.means_ = {"source": source.mean(axis=0), "target": target.mean(axis=0)}
        values, vectors = self._eigen(source)
        if values[0] <= values[-1] * 1e-10:
            raise ValueError(
                f"{len(source)} source rows do not vary in all of {source.shape[1]} directions, so they cannot be "
                "whitened; give a larger regularization, or reduce the columns (PCA) first"
            )
        whiten = vectors / np.sqrt(values) @ vectors.T  # (d, d)
        values, vectors = self._eigen(target)
        self.weights_ = whiten @ (vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T)  # (d, d)
        return self

    def _eigen(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors of the regularised covariance."""
        covariance = np.atleast_2d(np.cov(x, rowvar=False))
        ridge = self.regularization * np.trace(covariance) / len(covariance)
        regularized = (1 - self.regularization) * covariance + ridge * np.eye(len(covariance))
        return linalg.eigh(regularized, driver="evd")  # others may fail if many eigenvalues are equal

    def transform(self, x: np.ndarray, domain: Domain = "source") -> np.ndarray:
        """Rows (n, d): of the source, coloured like the target; of the target, centred."""
        x = self._rows(x, domain) - self.means_[domain]
        return x @ self.weights_ if domain == "source" else x


class OptimalTransport(_Alignment):
    r"""Move each source row to the mean of the target rows that optimal transport assigns to it.

    The plan moves all the mass of the source onto the target at the least cost,

    .. math:: \min_{P \ge 0} \sum_{ij} P_{ij} \frac{\lVert x_i - z_j \rVert^2}{c} - \varepsilon H(P),
              \qquad P 1 = \tfrac{1}{n_s}, \; P^\top 1 = \tfrac{1}{n_t},

    with the mean cost :math:`c` as the unit. Source row :math:`i` moves to :math:`n_s \sum_j P_{ij} z_j`; a row that
    was not there in `fit` moves as far as its nearest neighbour among those that were. Target rows stay.

    Args:
        regularization: epsilon; 0 solves the problem exactly, large values move every row to the target's mean.

    References:
        Courty et al. (2017), arXiv:1507.00504; new rows: Ferradans et al. (2014), doi:10.1137/130929886.

    Examples:
        >>> source, target = np.array([[0.0], [1.0]]), np.array([[11.0], [10.0]])
        >>> OptimalTransport(regularization=0).fit(source, target).transform(source).tolist()
        [[10.0], [11.0]]
    """

    def __init__(self, regularization: float = 0.02) -> None:
        if not regularization >= 0:
            raise ValueError(f"regularization must be 0 or more, got {regularization}")
        self.regularization = regularization

    def fit(self, source: np.ndarray, target: np.ndarray) -> OptimalTransport:
        """Fit to unpaired rows ``source`` (n_s, d) and ``target`` (n_t, d)."""
        source, target = check_domains(source, target)
        self.means_ = {"source": source.mean(axis=0), "target": target.mean(axis=0)}
        cost = cdist(source, target, "sqeuclidean")  # (n_s, n_t)
        cost /= cost.mean() or 1.0
        if self.regularization:
            # in logarithms only where exp(-cost / epsilon) would vanish: ten times slower
            method = "sinkhorn" if cost.max() < 500 * self.regularization else "sinkhorn_log"
            options = {"method": method, "numItermax": 2000, "stopThr": 1e-6, "warn": False}
            self.plan_ = ot.sinkhorn([], [], cost, self.regularization, **options)
        else:
            self.plan_ = ot.emd([], [], cost)
        self.source_ = source
        self.shifts_ = self.plan_ / self.plan_.sum(axis=1, keepdims=True) @ target - source  # (n_s, d)
        return self

    def transform(self, x: np.ndarray, domain: Domain = "source") -> np.ndarray:
        """Rows (n, d): of the source, moved; of the target, as they are."""
        x = self._rows(x, domain)
        return x + self.shifts_[cdist(x, self.source_).argmin(axis=1)] if domain == "source" else x
