"""Transfer by instance: source examples count as much as they look like the target."""

from __future__ import annotations

import numpy as np
from scipy import linalg
from sklearn.linear_model import LogisticRegression

from xmr_lab._validation import check_pairs
from xmr_lab.matching import RidgeMap

from .shift import check_domains

__all__ = ["WeightedRidgeMap", "density_ratio", "effective_sample_size"]


def density_ratio(
    source: np.ndarray, target: np.ndarray, *, regularization: float = 1.0, largest: float = np.inf
) -> np.ndarray:
    r"""How much more often each source example would occur in the target domain, by a domain classifier.

    By Bayes' rule :math:`\tfrac{p_t(x)}{p_s(x)} = \tfrac{n_s}{n_t} \tfrac{p(t|x)}{p(s|x)}`, and logistic regression
    estimates the second factor. It looks at the examples alone, not at their partners.

    Args:
        source, target: (n_source, d) and (n_target, d).
        regularization: strength of the classifier's penalty. With more features than examples a weak one
            separates the domains perfectly, and the weights then say nothing.
        largest: weights above it are cut off: more bias, less variance.

    Returns:
        (n_source,) positive, with mean 1.

    Raises:
        ValueError: for empty domains, different widths, NaN, or an argument out of range.

    References:
        Shimodaira (2000), doi:10.1016/S0378-3758(00)00115-4, on the weights; Sugiyama, Suzuki & Kanamori (2012),
        doi:10.1017/CBO9781139035613, on ways to estimate them.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> source, target = rng.normal(0, 1, size=(400, 1)), rng.normal(1, 1, size=(400, 1))
        >>> weights = density_ratio(source, target)
        >>> bool(weights[source[:, 0] > 1].mean() > 2), round(float(weights.mean()), 6)
        (True, 1.0)
    """
    source, target = check_domains(source, target)
    if not (regularization > 0 and largest > 0):
        raise ValueError(f"regularization and largest must be positive, got {regularization} and {largest}")
    x = np.concatenate([source, target])
    is_target = np.arange(len(x)) >= len(source)
    scale = np.sqrt(x.var(axis=0).mean()) or 1.0  # the same penalty means the same for rows of any length
    classifier = LogisticRegression(C=1 / regularization, max_iter=1000).fit((x - x.mean(axis=0)) / scale, is_target)
    log_odds = classifier.decision_function((source - x.mean(axis=0)) / scale)
    weights = np.exp(np.clip(log_odds + np.log(len(source) / len(target)), -30, 30))
    weights = np.minimum(weights, largest)
    return weights / weights.mean()


def effective_sample_size(weights: np.ndarray) -> float:
    r"""How many equally weighted examples would be worth as much: :math:`(\sum w)^2 / \sum w^2`.

    References:
        Kish (1965), Survey Sampling, Wiley.

    Examples:
        >>> effective_sample_size([1, 1, 1, 1]), effective_sample_size([1, 0, 0, 0])
        (4.0, 1.0)
    """
    weights = _check_weights(weights)
    return float(weights.sum() ** 2 / (weights**2).sum())


class WeightedRidgeMap(RidgeMap):
    r"""`xmr_lab.matching.RidgeMap` in which pairs count differently.

    Minimises :math:`\sum_i w_i \lVert x_i W - y_i \rVert^2 + \alpha n \lVert W \rVert_F^2`, weights scaled to mean 1,
    both views centred on their weighted means. A map that can fit every pair exactly does so whatever the weights.

    Args:
        alpha: strength of the penalty, relative to the number of pairs.

    References:
        Shimodaira (2000), doi:10.1016/S0378-3758(00)00115-4.
    """

    def fit(self, x: np.ndarray, y: np.ndarray, *, weights: np.ndarray | None = None) -> WeightedRidgeMap:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y) with ``weights`` (n,), all alike by default.

        Raises:
            ValueError: for shapes that do not pair, fewer than two rows, NaN, or weights that are negative or all 0.
        """
        x, y = check_pairs(x, y)
        weights = _check_weights(np.ones(len(x)) if weights is None else weights)
        if len(weights) != len(x):
            raise ValueError(f"weights must have one entry for each of {len(x)} pairs, got {len(weights)}")
        weights = weights / weights.mean()
        self.means_ = np.average(x, axis=0, weights=weights), np.average(y, axis=0, weights=weights)
        root = np.sqrt(weights)[:, None]
        x, y = root * (x - self.means_[0]), root * (y - self.means_[1])
        penalty = self.alpha * len(x)
        if len(x) < x.shape[1]:  # the dual is smaller, and gives the same map
            self.weights_ = x.T @ linalg.solve(x @ x.T + penalty * np.eye(len(x)), y, assume_a="pos")
        else:
            self.weights_ = linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y, assume_a="pos")
        return self


def _check_weights(weights: np.ndarray) -> np.ndarray:
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
        raise ValueError("weights must be finite, not negative and not all 0, of shape (n,)")
    return weights
