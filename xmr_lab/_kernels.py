"""The inner loops of retrieval and metrics, compiled by numba when first needed.

A tile of scores from the matrix product is only a filter here. Its last bits depend on the BLAS, on the
number of threads and on where the tile was cut: of two identical vectors one may score higher. So whatever
lies too close to a decision (within the proven rounding error of the product) is scored again by `dot`,
whose order of additions is fixed. Results hence do not depend on the tiles, and identical vectors tie.

Loops over a row count in 32 bits and compare with `&`: that is what lets the compiler vectorise them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

LANES = 32  # partial sums of a dot product: wide enough to keep the vector units busy
BLOCK = 128  # scores looked at together: small enough to be looked at twice at no cost


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without holding the interpreter's lock, keeping the result on disk where that is possible."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
        return njit(nogil=True)(function)


@_compiled
def dot(x, y, lanes):
    """x · y in float64, always added up in the same order; ``lanes`` is scratch space, (LANES,) float64."""
    d = len(x)
    whole = d - d % LANES
    lanes[:] = 0.0
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] += np.float64(x[start + lane]) * np.float64(y[start + lane])
    for i in range(whole, d):
        lanes[i - whole] += np.float64(x[i]) * np.float64(y[i])
    width = LANES // 2
    while width:
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
        width //= 2
    return lanes[0]


@_compiled
def score_pairs(x, y, rows, columns, out):
    """out[p] = x[rows[p]] · y[columns[p]], rounded to the type of ``out``."""
    lanes = np.empty(LANES)
    for p in range(len(rows)):
        out[p] = dot(x[rows[p]], y[columns[p]], lanes)


@_compiled
def score_all(x, y, out):
    """out[i, j] = x[i] · y[j], rounded to the type of ``out``."""
    lanes = np.empty(LANES)
    for i in range(len(x)):
        for j in range(len(y)):
            out[i, j] = dot(x[i], y[j], lanes)


@_compiled
def count_tile(scores, x, y, starts, levels, slack, above, tied):
    """Count, for each row of a tile, the scores above and equal to each of the row's levels.

    ``scores`` (n, m) is the product of ``x`` (n, d) and ``y`` (m, d) up to ``slack`` (n,), or exact where
    that is 0. The levels of row i are ``levels[starts[i] : starts[i + 1]]``; counts are added to ``above``
    and ``tied``, which begin with row 0's. Scores near a level are replaced by the exact ones.
    """
    lanes = np.empty(LANES)
    exact = np.empty(BLOCK, np.bool_)
    n, m = scores.shape
    for i in range(n):
        for start in range(0, m, BLOCK):
            row = scores[i, start : start + BLOCK]
            exact[:] = slack[i] == 0
            for g in range(starts[i], starts[i + 1]):
                level = levels[g]
                low, high = level - slack[i], level + slack[i]
                n_above, n_near = np.int32(0), np.int32(0)
                for j in range(len(row)):
                    n_above = np.int32(n_above + np.int32(row[j] > high))
                    n_near = np.int32(n_near + np.int32(row[j] >= low))
                if n_near > n_above:  # something is too close to tell
                    for j in range(len(row)):
                        if (row[j] >= low) & (row[j] <= high) & (not exact[j]):
                            row[j] = dot(x[i], y[start + j], lanes)
                            exact[j] = True
                    n_above, n_tied = np.int32(0), np.int32(0)
                    for j in range(len(row)):
                        n_above = np.int32(n_above + np.int32(row[j] > level))
                        n_tied = np.int32(n_tied + np.int32(row[j] == level))
                    tied[g - starts[0]] += n_tied
                above[g - starts[0]] += n_above


@_compiled
def transposed(tile):
    """A contiguous copy of tile.T, by squares that fit in registers: several times numpy's speed."""
    n, m = tile.shape
    out = np.empty((m, n), tile.dtype)
    n_whole, m_whole = n - n % 8, m - m % 8
    for i in range(0, n_whole, 8):
        for start in range(0, m_whole, 8):
            for j in range(start, start + 8):
                for step in range(8):
                    out[j, i + step] = tile[i + step, j]
    for i in range(n):
        for j in range(m_whole if i < n_whole else 0, m):
            out[j, i] = tile[i, j]
    return out


@_compiled
def top_tile(scores, x, y, slack, offset, best, ids):
    """Let a tile's scores into each row's heap of the best so far: ``best`` and ``ids``, (n, k).

    The root of a heap is its worst member: the lowest score and, among equals, the highest id. Column j
    of the tile is gallery item ``offset + j``.
    """
    lanes = np.empty(LANES)
    n, m = scores.shape
    for i in range(n):
        heap, names = best[i], ids[i]
        for start in range(0, m, BLOCK):
            row = scores[i, start : start + BLOCK]
            limit = heap[0] - slack[i]
            n_near = np.int32(0)
            for j in range(len(row)):
                n_near = np.int32(n_near + np.int32(row[j] >= limit))
            if n_near == 0:
                continue
            for j in range(len(row)):
                if row[j] >= heap[0] - slack[i]:
                    row[j] = dot(x[i], y[start + j], lanes)
                    name = offset + start + j
                    if row[j] > heap[0] or (row[j] == heap[0] and name < names[0]):
                        _replace_root(heap, names, row[j], name)


@_compiled
def _replace_root(heap, names, score, name):
    k = len(heap)
    at = 0
    while True:
        child = 2 * at + 1
        if child >= k:
            break
        other = child + 1
        if other < k and (heap[other] < heap[child] or (heap[other] == heap[child] and names[other] > names[child])):
            child = other
        if heap[child] > score or (heap[child] == score and names[child] < name):
            break
        heap[at], names[at] = heap[child], names[child]
        at = child
    heap[at], names[at] = score, name
