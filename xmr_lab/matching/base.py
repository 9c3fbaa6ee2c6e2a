"""What every matcher offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

__all__ = ["Matcher"]


class Matcher(Protocol):
    """Brings views of the same items into one space.

    ``fit(x, y)``, or ``fit(x, y, z)`` where it can take three, learns from rows that belong together: row i of each
    view describes item i. A matcher that can do with less takes a row of NaN for a view that an item lacks.
    ``transform(rows, view)`` then takes rows of the first (0), second (1) or third (2) view into the shared space, as
    float32 rows of length 1, so that a cosine compares any with any.
    """

    @property
    def fit(self) -> Callable[..., Any]: ...

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray: ...
