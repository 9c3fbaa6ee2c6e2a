"""How far two domains lie apart: numbers that are 0 if nothing tells their rows apart."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist, pdist
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

__all__ = ["check_domains", "check_rows", "coral_distance", "mmd", "mmd_test", "proxy_a_distance"]


def mmd(source: np.ndarray, target: np.ndarray, *, bandwidth: float | None = None) -> float:
    r"""Squared maximum mean discrepancy, unbiased.

    With the kernel :math:`k(a, b) = e^{-\lVert a-b \rVert^2 / 2\sigma^2}`,

    .. math:: \frac{1}{m(m-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n(n-1)} \sum_{i \ne j} k(z_i, z_j)
              - \frac{2}{mn} \sum_{ij} k(x_i, z_j)

    Its expectation is 0 if both come from one distribution, so it may be negative.

    Args:
        source: (m, d) rows, m at least 2.
        target: (n, d) rows, likewise.
        bandwidth: sigma; by default the median distance between any two rows.

    Raises:
        ValueError: for NaN, wrong shapes, or a bandwidth that is not positive.

    References:
        Gretton et al. (2012), A kernel two-sample test, JMLR 13:723-773.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> a, b = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
        >>> round(mmd(a, b), 2), round(mmd(a, b + 1), 2)
        (0.0, 0.22)
    """
    source, target = check_domains(source, target)
    return _unbiased(_kernel(np.vstack([source, target]), bandwidth), len(source))


def mmd_test(
    source: np.ndarray,
    target: np.ndarray,
    *,
    bandwidth: float | None = None,
    n_resamples: int = 500,
    rng: np.random.Generator | int = 0,
) -> tuple[float, float]:
    """`mmd` and its p-value: how often rows dealt out at random to the two domains lie as far apart.

    Args:
        source, target, bandwidth: as in `mmd`.
        n_resamples: random deals; the observed one counts among them, so the p-value is never 0.
        rng: generator, or a seed for one.
    """
    source, target = check_domains(source, target)
    kernel, m = _kernel(np.vstack([source, target]), bandwidth), len(source)
    observed, rng = _unbiased(kernel, m), np.random.default_rng(rng)
    deals = (rng.permutation(len(kernel)) for _ in range(n_resamples))
    extreme = sum(_unbiased(kernel[np.ix_(deal, deal)], m) >= observed for deal in deals)
    return observed, (extreme + 1) / (n_resamples + 1)


def _kernel(x: np.ndarray, bandwidth: float | None) -> np.ndarray:
    sigma = float(np.median(pdist(x))) if bandwidth is None else bandwidth
    if not sigma > 0:
        raise ValueError(
            f"the bandwidth must be positive, got {sigma}" + " (most rows are equal)" * (bandwidth is None)
        )
    return np.exp(-cdist(x, x, "sqeuclidean") / (2 * sigma**2))


def _unbiased(kernel: np.ndarray, m: int) -> float:
    """The first m rows against the others; each row's kernel with itself, which is 1, is left out."""
    n = len(kernel) - m
    within = (kernel[:m, :m].sum() - m) / (m * (m - 1)) + (kernel[m:, m:].sum() - n) / (n * (n - 1))
    return float(within - 2 * kernel[:m, m:].mean())


def coral_distance(source: np.ndarray, target: np.ndarray) -> float:
    r"""Distance of the covariances, :math:`\lVert \Sigma_s - \Sigma_t \rVert_F^2 / 4d^2`; blind to a shift of the mean.

    References:
        Sun & Saenko (2016), Deep CORAL, arXiv:1607.01719.

    Examples:
        >>> coral_distance([[0.0], [2.0]], [[5.0], [7.0]])
        0.0
    """
    source, target = check_domains(source, target)
    difference = np.atleast_2d(np.cov(source, rowvar=False) - np.cov(target, rowvar=False))
    return float((difference**2).sum() / (4 * len(difference) ** 2))


def proxy_a_distance(
    source: np.ndarray,
    target: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    C: float = 1.0,
    n_splits: int = 5,
    seed: int = 0,
) -> float:
    r"""How well a linear classifier tells the domains apart: :math:`2(1 - 2\epsilon)`, :math:`\epsilon` its error.

    The error is cross-validated and averaged over the two domains, so that a larger one weighs no more. 0 if
    they cannot be told apart, 2 if they always can; a little below 0 by chance.

    Args:
        source: (m, d) rows.
        target: (n, d) rows.
        groups: (m + n,) labels of rows, source first, that are not independent; a group stays in one fold.
        C: inverse penalty of the logistic regression on standardised columns.
        n_splits: folds.
        seed: of the folds.

    References:
        Ben-David et al. (2007), Analysis of representations for domain adaptation, NIPS 19.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(100, 2))
        >>> round(proxy_a_distance(x[:50], x[50:] + 9), 2)
        2.0
    """
    source, target = check_domains(source, target)
    domain = np.repeat([0, 1], [len(source), len(target)])
    if groups is not None and np.shape(groups) != domain.shape:
        raise ValueError(f"need one group for each of {len(domain)} rows, source first; got shape {np.shape(groups)}")
    if min(len(source), len(target)) < n_splits:
        raise ValueError(f"{n_splits} folds need as many rows of each domain, got {len(source)} and {len(target)}")
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = kind(n_splits, shuffle=True, random_state=seed)
    both, guessed = np.vstack([source, target]), np.empty_like(domain)
    for learn, guess in folds.split(both, domain, groups):
        scaler = StandardScaler().fit(both[learn])
        classifier = LogisticRegression(C=C, class_weight="balanced", max_iter=1000)
        classifier.fit(scaler.transform(both[learn]), domain[learn])
        guessed[guess] = classifier.predict(scaler.transform(both[guess]))
    error = np.mean([np.mean(guessed[domain == side] != side) for side in (0, 1)])
    return float(2 * (1 - 2 * error))


def check_domains(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two domains as float64, with as many columns, two rows each at least; they need not pair."""
    source, target = check_rows(source, "source"), check_rows(target, "target")
    if source.shape[1] != target.shape[1]:
        raise ValueError(f"source and target need the same columns, got {source.shape[1]} and {target.shape[1]}")
    if min(len(source), len(target)) < 2:
        raise ValueError(f"at least two rows of each domain are needed, got {len(source)} and {len(target)}")
    return source, target


def check_rows(x: np.ndarray, name: str) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"{name} must have the shape (n_rows, n_columns), got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} holds NaN or infinity in row {int(np.argwhere(~np.isfinite(x))[0, 0])}")
    return x
