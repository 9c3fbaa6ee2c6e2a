"""Per-query values -> what one may say: intervals, paired tests, many comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

__all__ = ["bootstrap_interval", "bootstrap_of", "holm", "paired_permutation_test"]

BATCH = 2**22  # random numbers held at a time


def bootstrap_interval(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    statistic: Literal["mean", "median"] = "mean",
    method: Literal["percentile", "bca"] = "percentile",
    rng: np.random.Generator | int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of the mean (or median), resampling whole groups, and seeds if there are any.

    Items that share a group (the captions of one picture) are not independent; drawing groups instead of
    items keeps the interval honest. Values of several seeds on the same items vary in two ways, so seeds and
    groups are both drawn; for a mean, that errs on the wide side (Owen 2007).

    The percentile interval lies askew where the values are skewed. ``"bca"`` moves its ends by how far the resamples
    are off centre (bias) and by how much the spread changes with the value (acceleration), the latter by a jackknife
    that leaves out one group after another (Efron 1987).

    Args:
        values: (n,) one value an item, or (n_seeds, n), of which only the mean; NaN (a query without a
            relevant item) is left out.
        groups: (n,) labels; None if every item stands for itself.
        n_resamples: number of resamples.
        confidence: share of intervals that should hold the true value.
        statistic: what the interval is of.
        method: ``"percentile"``, or ``"bca"``, for values (n,) of two groups at least: average over seeds first.
        rng: generator, or a seed for one.

    Raises:
        ValueError: if no value is left, an argument is out of range, or ``"bca"`` has one group or several seeds.

    References:
        Efron (1987), Better bootstrap confidence intervals, doi:10.1080/01621459.1987.10478410.
        Field & Welsh (2007), doi:10.1111/j.1467-9868.2007.00593.x, on resampling clusters.
        Owen (2007), The pigeonhole bootstrap, doi:10.1214/07-AOAS122, on resampling two ways at once.

    Examples:
        >>> low, high = bootstrap_interval([0.0, 1.0] * 50)
        >>> round(low, 1), round(high, 1)
        (0.4, 0.6)
    """
    if n_resamples < 1 or not 0 < confidence < 1 or statistic not in ("mean", "median"):
        raise ValueError("need n_resamples >= 1, 0 < confidence < 1 and statistic 'mean' or 'median'")
    if method not in ("percentile", "bca"):
        raise ValueError(f"method must be 'percentile' or 'bca', got {method!r}")
    seeds = np.atleast_2d(np.asarray(values, np.float64))  # (n_seeds, n)
    if len(seeds) > 1 and statistic != "mean":
        raise ValueError("with several seeds, only the interval of the mean is defined; got 'median'")
    if np.ndim(values) > 2 or (np.isnan(seeds) != np.isnan(seeds[:1])).any():
        raise ValueError("need values (n,) or (n_seeds, n) of the same queries, the same ones NaN for each seed")
    values, codes, n_groups = _grouped(seeds.mean(axis=0), groups)
    if method == "bca" and (len(seeds) > 1 or n_groups < 2):
        raise ValueError(f"'bca' needs one value an item and two groups at least; got {len(seeds)} seeds (average "
                         f"over them first, or use 'percentile') and {n_groups} groups")  # fmt: skip
    rng = np.random.default_rng(rng)
    order = np.argsort(values)
    sizes = np.bincount(codes)
    kept = seeds[:, ~np.isnan(seeds[0])]
    sums = np.stack([np.bincount(codes, row) for row in kept])  # (n_seeds, n_groups)
    results = []
    for n in _batches(n_resamples, len(values)):
        drawn = rng.integers(n_groups, size=(n, n_groups))
        if len(seeds) > 1:
            times = rng.multinomial(len(seeds), [1 / len(seeds)] * len(seeds), size=n) / len(seeds)  # (n, n_seeds)
            totals = (times @ sums)[np.arange(n)[:, None], drawn].sum(axis=1)
            results.append(totals / sizes[drawn].sum(axis=1))
        elif statistic == "mean":
            results.append(sums[0, drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
        else:
            times = np.stack([np.bincount(row, minlength=n_groups) for row in drawn])  # (n, n_groups)
            rank = np.cumsum(times[:, codes[order]], axis=1)  # rank of the last copy of each sorted value
            total = rank[:, -1:]
            low, high = (rank <= (total - 1) // 2).sum(axis=1), (rank <= total // 2).sum(axis=1)
            results.append((values[order[low]] + values[order[high]]) / 2)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    resampled = np.concatenate(results)
    if method == "bca":
        tails = _bca_tails(tails, resampled, values, codes, statistic)
    low, high = np.quantile(resampled, tails)
    return float(low), float(high)


def _bca_tails(
    tails: np.ndarray,
    resampled: np.ndarray,
    values: np.ndarray,
    codes: np.ndarray,
    statistic: Literal["mean", "median"],
) -> np.ndarray:
    """The quantiles of the resampled statistics, (2,), at which the BCa interval ends."""
    observed = getattr(np, statistic)(values)
    if statistic == "mean":
        sums, sizes = np.bincount(codes, values), np.bincount(codes)
        without = (sums.sum() - sums) / (sizes.sum() - sizes)  # (n_groups,)
    else:
        without = np.array([np.median(values[codes != group]) for group in range(codes.max() + 1)])
    off = without.mean() - without
    spread = (off**2).sum()
    acceleration = (off**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    # Equal sums may differ by rounding; equal ones count half, as discrete values have many.
    near = 1e-12 * np.abs(values).max()
    below = ((resampled < observed - near).mean() + (resampled <= observed + near).mean()) / 2
    bias = ndtri(np.clip(below, 0.5 / len(resampled), 1 - 0.5 / len(resampled)))
    at = bias + ndtri(tails)
    return ndtr(bias + at / (1 - acceleration * at))


def bootstrap_of(
    statistic: Callable[[np.ndarray], float],
    groups: ArrayLike,
    *,
    n_resamples: int = 500,
    confidence: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> tuple[float, float]:
    """`bootstrap_interval` of anything that is computed from a set of items, such as an F1 score or a distance.

    Args:
        statistic: takes the positions of the drawn items, (n_drawn,) integers with repetitions.
        groups: (n,) labels; whole groups are drawn.

    Examples:
        >>> right = np.array([0, 1] * 50)
        >>> low, high = bootstrap_of(lambda rows: right[rows].mean(), np.arange(100))
        >>> 0.3 < low < 0.5 < high < 0.7
        True
    """
    if n_resamples < 1 or not 0 < confidence < 1:
        raise ValueError("need n_resamples >= 1 and 0 < confidence < 1")
    _, codes, n_groups = _grouped(np.zeros(len(np.asarray(groups))), groups)
    members = [np.flatnonzero(codes == group) for group in range(n_groups)]
    rng = np.random.default_rng(rng)
    draws = (rng.integers(n_groups, size=n_groups) for _ in range(n_resamples))
    results = [statistic(np.concatenate([members[group] for group in drawn])) for drawn in draws]
    tail = (1 - confidence) / 2
    low, high = np.quantile(results, [tail, 1 - tail])
    return float(low), float(high)


def paired_permutation_test(
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    n_resamples: int = 10_000,
    rng: np.random.Generator | int = 0,
) -> float:
    """Two-sided p-value of the difference of two systems' means on the same queries.

    If the systems were alike, exchanging their values for a query would change nothing. Whole groups are
    exchanged together. All 2^groups exchanges are tried where that is no more than ``n_resamples``; else
    as many random ones, counting the observed one among them, so that the p-value is never 0.

    Args:
        a: (n,) values of one system.
        b: (n,) values of the other on the same queries; a query where either is NaN is left out.
        groups: (n,) labels; None if every query stands for itself.
        n_resamples: number of random exchanges.
        rng: generator, or a seed for one.

    Raises:
        ValueError: if the sizes differ or no pair is left.

    References:
        Smucker, Allan & Carterette (2007), doi:10.1145/1321440.1321528; for the added one, Phipson & Smyth
        (2010), doi:10.2202/1544-6115.1585.

    Examples:
        >>> paired_permutation_test([1, 1, 1, 1], [0, 0, 0, 0])  # 2 of 16 exchanges are as extreme
        0.125
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"the two systems need values for the same queries, got {a.shape} and {b.shape}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
    differences, codes, n_groups = _grouped(a - b, groups)
    sums = np.bincount(codes, differences)  # (n_groups,)
    observed = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()  # equal sums may differ by rounding
    if n_groups < 63 and 2**n_groups <= n_resamples:
        exchanges = np.arange(2**n_groups)[:, None] >> np.arange(n_groups) & 1  # (2^n_groups, n_groups)
        return float(np.mean(np.abs((1 - 2 * exchanges) @ sums) >= observed))
    rng = np.random.default_rng(rng)
    extreme = 0
    for n in _batches(n_resamples, n_groups):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (n, n_groups), dtype=np.int8)
        extreme += int(np.sum(np.abs(signs @ sums) >= observed))
    return (extreme + 1) / (n_resamples + 1)


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values of several comparisons, raised so that each may be read at its face value (Holm 1979).

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must be a list of numbers between 0 and 1")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def _grouped(values: ArrayLike, groups: ArrayLike | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Values that are not NaN, the number of each one's group, and how many groups there are."""
    values = np.asarray(values, np.float64)
    labels = np.arange(len(values)) if groups is None else np.asarray(groups)
    if values.ndim != 1 or labels.shape != values.shape:
        raise ValueError(f"need one group for each value, got {labels.shape} and {values.shape}")
    kept = ~np.isnan(values)
    if not kept.any():
        raise ValueError("no value is left: they are all NaN, or there are none")
    names, codes = np.unique(labels[kept], return_inverse=True)
    return values[kept], codes, len(names)


def _batches(n: int, width: int) -> list[int]:
    """n resamples of ``width`` numbers each, in batches that fit in memory."""
    size = max(1, BATCH // width)
    return [min(size, n - start) for start in range(0, n, size)]
