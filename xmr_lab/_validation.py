"""What matchers and transfer methods ask of their inputs, with messages that say what came and what was expected."""

from __future__ import annotations

import numpy as np

__all__ = ["check_pairs", "check_view", "require_fitted", "unit"]


def check_pairs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two views as float64 with as many rows each."""
    x, y = _check(x, "x"), _check(y, "y")
    if len(x) != len(y):
        raise ValueError(f"x and y must be paired row by row; x has {len(x)} rows and y has {len(y)}")
    if len(x) < 2:
        raise ValueError(f"at least two pairs are needed to fit; got {len(x)}")
    return x, y


def check_view(x: np.ndarray, view: int, *dims: int) -> np.ndarray:
    """Rows to be transformed, of view 0 or 1; they must have the width that the view was fitted with."""
    if view not in (0, 1):
        raise ValueError(f"view must be 0 (the first argument of fit) or 1 (the second), got {view}")
    x = _check(x, f"view {view}")
    if x.shape[1] != dims[view]:
        raise ValueError(f"view {view} was fitted with {dims[view]} columns; got {x.shape[1]}")
    return x


def require_fitted(matcher: object, attribute: str) -> None:
    if not hasattr(matcher, attribute):
        raise RuntimeError(f"this {type(matcher).__name__} is not fitted yet; call fit(x, y) first")


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1 (zero rows stay zero), float32."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.where(norms > 0, norms, 1)).astype(np.float32)


def _check(x: np.ndarray, name: str) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"{name} must have the shape (n_items, n_features); got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} holds NaN or infinity in row {int(np.argwhere(~np.isfinite(x))[0, 0])}")
    return x
