"""What matchers and transfer methods ask of their inputs, with messages that say what came and what was expected."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["check_pairs", "check_scores", "check_view", "check_views", "require_fitted", "unit"]

ORDINALS = "first", "second", "third", "fourth"


def check_pairs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two views as float64 with as many rows each."""
    x, y = check_views(x, y)
    return x, y


def check_views(*views: np.ndarray, missing: bool = False) -> list[np.ndarray]:
    """Two or more views as float64, row i of each describing the same item.

    Args:
        missing: allow rows that are all NaN, which say that the item lacks this modality; each item has one view at
            least, and each view two items.
    """
    if len(views) < 2:
        raise ValueError(f"at least two views are needed to fit; got {len(views)}")
    names = ["x", "y"] if len(views) == 2 else [f"view {i}" for i in range(len(views))]
    checked = [_check(view, name, missing) for view, name in zip(views, names, strict=True)]
    for view, name in zip(checked[1:], names[1:], strict=True):
        if len(view) != len(checked[0]):
            raise ValueError(
                f"{names[0]} and {name} must be paired row by row; "
                f"{names[0]} has {len(checked[0])} rows and {name} has {len(view)}"
            )
    if len(checked[0]) < 2:
        raise ValueError(f"at least two pairs are needed to fit; got {len(checked[0])}")
    present = np.stack([~np.isnan(view).all(axis=1) for view in checked])  # (n_views, n_items)
    if not present.any(axis=0).all():
        raise ValueError(f"item {int(np.argmin(present.any(axis=0)))} is missing in every view; leave it out")
    if (present.sum(axis=1) < 2).any():
        raise ValueError(f"{names[int(np.argmin(present.sum(axis=1)))]} has fewer than two rows that are not missing")
    return checked


def check_view(x: np.ndarray, view: int, *dims: int) -> np.ndarray:
    """Rows to be transformed, of one of the views that were fitted; they must have the width it was fitted with."""
    if view not in range(len(dims)):
        places = [f"{i} (the {ORDINALS[i]} argument of fit)" for i in range(len(dims))]
        raise ValueError(f"view must be {' or '.join([', '.join(places[:-1]), places[-1]])}, got {view}")
    x = _check(x, f"view {view}")
    if x.shape[1] != dims[view]:
        raise ValueError(f"view {view} was fitted with {dims[view]} columns; got {x.shape[1]}")
    return x


def check_scores(scores: ArrayLike, name: str = "scores") -> np.ndarray:
    """Scores as a finite float64 matrix (n_queries, n_gallery) with at least one row and column."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"{name} must be a finite, non-empty matrix (n_queries, n_gallery); got shape {scores.shape}")
    return scores


def require_fitted(matcher: object, attribute: str) -> None:
    if not hasattr(matcher, attribute):
        raise RuntimeError(f"this {type(matcher).__name__} is not fitted yet; call fit(x, y) first")


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1 (zero rows stay zero), float32."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.where(norms > 0, norms, 1)).astype(np.float32)


def _check(x: np.ndarray, name: str, missing: bool = False) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"{name} must have the shape (n_items, n_features); got {x.shape}")
    bad = ~np.isfinite(x)
    if missing:
        bad &= ~np.isnan(x).all(axis=1, keepdims=True)
    if bad.any():
        raise ValueError(f"{name} holds NaN or infinity in row {int(np.argwhere(bad)[0, 0])}")
    return x
