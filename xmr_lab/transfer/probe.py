"""The linear probe: the network stays as it is, one linear layer is trained on its features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from torch import nn

__all__ = ["linear_probe"]


def linear_probe(x: ArrayLike, y: ArrayLike, *, penalty: float = 1e-3, weights: ArrayLike | None = None) -> nn.Linear:
    r"""Multinomial logistic regression on frozen features, as a layer that can be put on top of the network.

    Minimises :math:`\tfrac1n\sum_i -\log\operatorname{softmax}(Wx_i+b)_{y_i} + \tfrac\lambda2\lVert W\rVert_F^2`
    with L-BFGS. The problem is convex: there is one answer, without seed or learning rate. scikit-learn's
    ``LogisticRegression(C=1 / (n * penalty))`` has the same (twice that ``C`` for two classes, for which it
    keeps one vector, the difference of the two).

    Args:
        x: (n, d) features.
        y: (n,) classes 0, 1, …, each at least once.
        penalty: :math:`\lambda`, positive.
        weights: (n_classes,) weight of the classes in the loss; all 1 by default.

    Returns:
        a layer (d) -> (n_classes).

    Raises:
        ValueError: for NaN, shapes that do not fit, classes that are missing, or a penalty that is not positive.

    References:
        Alain & Bengio (2016), arXiv:1610.01644.

    Examples:
        >>> head = linear_probe([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
        >>> head(torch.tensor([[0.5], [2.5]])).argmax(1)
        tensor([0, 1])
    """
    x, y = np.asarray(x, np.float64), np.asarray(y)
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"expected finite features (n, d) and classes (n,), got shapes {x.shape} and {y.shape}")
    if y.dtype.kind not in "iu" or y.min() < 0 or len(np.unique(y)) != y.max() + 1 or y.max() < 1:
        raise ValueError(
            "y must hold classes 0, 1, …, at least two, none of them left out; "
            f"got {np.unique(y)[:8].tolist()}. Use np.unique(labels, return_inverse=True)[1]"
        )
    n_classes, (n, d) = int(y.max()) + 1, x.shape
    if not penalty > 0:
        raise ValueError(f"penalty must be positive, got {penalty}")
    each = np.ones(n_classes) if weights is None else np.asarray(weights, np.float64)
    if each.shape != (n_classes,) or not (each > 0).all():
        raise ValueError(f"expected {n_classes} positive weights, one a class, got {each}")
    share, target = each[y, None] / n, np.eye(n_classes)[y]  # (n, 1), (n, n_classes)
    # The best W lies in the span of the rows; there it has at most n columns. Centring moves only b.
    mean = x.mean(axis=0)
    basis = np.linalg.qr((x - mean).T)[0] if n < d else np.eye(d)  # (d, min(n, d)), orthonormal columns
    x, width = (x - mean) @ basis, basis.shape[1]

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = np.split(theta, [n_classes * width])
        w = w.reshape(n_classes, width)
        logits = x @ w.T + b  # (n, n_classes)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        error = share * (np.exp(log_p) - target)
        gradient = np.concatenate([(error.T @ x + penalty * w).ravel(), error.sum(axis=0)])
        return float(-(share * target * log_p).sum() + penalty / 2 * (w**2).sum()), gradient

    start = np.zeros(n_classes * (width + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "gtol": 1e-7, "ftol": 1e-12})
    weight, bias = found.x[:-n_classes].reshape(n_classes, width) @ basis.T, found.x[-n_classes:]
    head = nn.Linear(d, n_classes)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias - weight @ mean))
    return head
