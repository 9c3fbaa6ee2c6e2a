"""What `retrieval` and `metrics` share: checked vectors, the error of a product, and work in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

Metric = Literal["cosine", "dot"]
_BLAS_LIMIT = Lock()  # two calls that limit it at a time would restore it in the wrong order
TILE = 512  # side of a tile: 1 MB of float32 scores stays in the cache, and the product is as fast as it gets


def as_vectors(queries: ArrayLike, gallery: ArrayLike, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Queries and gallery as finite float matrices of one type, of unit length if the metric is cosine.

    float64 (and integers) stay float64, everything smaller becomes float32. A vector of zeros has no
    direction: its cosine with anything is 0.
    """
    if metric not in ("cosine", "dot"):
        raise ValueError(f"metric must be 'cosine' or 'dot', got {metric!r}")
    x, y = np.asarray(queries), np.asarray(gallery)
    for name, array in (("queries", x), ("gallery", y)):
        if array.ndim != 2 or array.dtype.kind not in "fiub":
            raise ValueError(f"{name} must be a matrix of real numbers, got {array.dtype} {array.shape}")
        if array.size == 0:
            raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"queries have {x.shape[1]} dimensions, the gallery has {y.shape[1]}")
    dtype = np.float32 if np.result_type(x, y, np.float32) == np.float32 else np.float64
    return _finite(x, "queries", dtype, metric), _finite(y, "gallery", dtype, metric)


def _finite(array: np.ndarray, name: str, dtype: Any, metric: Metric) -> np.ndarray:
    array = np.ascontiguousarray(array, dtype)
    norms = row_norms(array)
    if not np.isfinite(norms).all():
        row = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise ValueError(f"{name} must be finite: row {row} holds NaN, infinity or numbers too large")
    return array if metric == "dot" else array / np.where(norms > 0, norms, 1)[:, None].astype(dtype)


def row_norms(array: np.ndarray) -> np.ndarray:
    """(n,) float64, the same for identical rows wherever they stand."""
    from xmr_lab import _kernels

    rows, squares = np.arange(len(array)), np.empty(len(array))
    _kernels.score_pairs(array, array, rows, rows, squares)
    return np.sqrt(squares)


def rounding_error(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """How far a score of each query can be from the exact one, whatever the order of additions. (n_queries,)

    The standard bound n·u / (1 - n·u) times the lengths of the vectors, with a few units to spare for the
    rounding of the result and of this very computation (Higham 2002, section 3.1,
    doi:10.1137/1.9780898718027).
    """
    limits = np.finfo(queries.dtype)
    lengths = row_norms(queries) * row_norms(gallery).max()  # (n_queries,)
    if not lengths.max() < limits.max / 2:
        raise ValueError(f"the scores are too large for {queries.dtype}: scale the vectors or use cosine")
    unit = (queries.shape[1] + 16) * limits.eps / 2
    return (unit / (1 - unit) * lengths + limits.tiny).astype(queries.dtype)


def slices(n: int, size: int | None) -> list[slice]:
    """0 … n cut into pieces of ``size``."""
    size = TILE if size is None else size
    if size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {size}")
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def tiles(n: int, m: int, size: int | None) -> list[tuple[slice, slice]]:
    return list(product(slices(n, size), slices(m, size)))


def in_threads(work: Callable[..., None], items: Iterable[Any]) -> None:
    """Do ``work`` on every item, each thread running its own single-threaded matrix products.

    As many threads as the BLAS would use, so OMP_NUM_THREADS and its kind are respected.
    """
    from threadpoolctl import ThreadpoolController

    with _BLAS_LIMIT:
        blas = ThreadpoolController().select(user_api="blas")
        threads = max((lib.num_threads for lib in blas.lib_controllers), default=os.cpu_count() or 1)
        with blas.limit(limits=1), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(work, items):
                pass  # a worker's exception is raised here
