"""Which gallery items are relevant to which query: the forms in which one can say it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

# a boolean matrix (dense or sparse) | (query labels, gallery labels) | a list of gallery rows for each query
Relevance: TypeAlias = ArrayLike | sparse.sparray | sparse.spmatrix | tuple[ArrayLike, ArrayLike] | list[Any]


def relevance_matrix(relevant: Relevance, n_queries: int, n_gallery: int) -> sparse.csr_array:
    """Relevance in one form: a sparse boolean matrix.

    Args:
        relevant: one of

            - a boolean matrix (n_queries, n_gallery), a numpy array or a scipy sparse one;
            - a *tuple* of query labels (n_queries,) and gallery labels (n_gallery,): same label, relevant;
            - a *list* with, for each query, the gallery rows that are relevant to it (possibly none).
        n_queries: number of queries.
        n_gallery: number of gallery items.

    Returns:
        (n_queries, n_gallery) boolean, with sorted rows and no stored zeros.

    Raises:
        ValueError: if the shape does not fit, a matrix is not boolean, a label is missing (NaN or None), or
            a row number is repeated or outside the gallery.

    Examples:
        >>> relevance_matrix((["cat", "dog"], ["dog", "cat", "cat"]), 2, 3).toarray()
        array([[False,  True,  True],
               [ True, False, False]])
        >>> relevance_matrix([[1, 2], []], 2, 3).toarray()
        array([[False,  True,  True],
               [False, False, False]])
    """
    shape = (n_queries, n_gallery)
    if isinstance(relevant, tuple):
        return _from_labels(relevant, shape)
    if isinstance(relevant, list):
        return _from_lists(relevant, shape)
    matrix: Any = relevant if sparse.issparse(relevant) else np.asarray(relevant)
    if matrix.shape != shape or matrix.dtype != bool:
        raise ValueError(
            f"relevant must be a boolean matrix of shape {shape}, got {matrix.dtype} {matrix.shape}; "
            "or give a tuple of two label arrays, or a list of arrays of gallery rows"
        )
    matrix = sparse.csr_array(matrix, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _from_labels(labels: tuple[Any, ...], shape: tuple[int, int]) -> sparse.csr_array:
    arrays = [np.asarray(side) for side in labels]
    if [side.shape for side in arrays] != [(n,) for n in shape]:
        raise ValueError(
            f"a tuple must hold two label arrays of shapes {(shape[0],)} and {(shape[1],)}, got "
            f"{[side.shape for side in arrays]}; for rows of the gallery give a list"
        )
    if any(label is None or label != label for side in arrays for label in side.tolist()):
        raise ValueError("a label is missing (NaN or None): drop these items or give each a label of its own")
    codes = np.unique(np.concatenate(arrays), return_inverse=True)[1]
    queries, gallery = codes[: shape[0]], codes[shape[0] :]
    by_label = np.argsort(gallery, kind="stable")  # items of one label side by side, in gallery order
    first = np.searchsorted(gallery[by_label], queries, side="left")
    counts = np.searchsorted(gallery[by_label], queries, side="right") - first
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = by_label[np.arange(starts[-1]) + np.repeat(first - starts[:-1], counts)]
    return sparse.csr_array((np.ones(len(rows), bool), rows, starts), shape=shape)


def _from_lists(lists: list[Any], shape: tuple[int, int]) -> sparse.csr_array:
    if len(lists) != shape[0]:
        raise ValueError(f"a list must hold the gallery rows of each of {shape[0]} queries, got {len(lists)}")
    rows = [np.asarray(item) for item in lists]
    for query, item in enumerate(rows):
        if item.ndim != 1 or (item.size and item.dtype.kind not in "iu"):
            raise ValueError(f"query {query}: expected row numbers, got {item.dtype} {item.shape}")
        if item.size and not 0 <= item.min() <= item.max() < shape[1]:
            raise ValueError(f"query {query}: a gallery row is outside 0 … {shape[1] - 1}")
        if len(np.unique(item)) != len(item):
            raise ValueError(f"query {query}: a gallery row is listed twice")
    starts = np.concatenate([[0], np.cumsum([len(item) for item in rows])])
    flat = np.concatenate([np.sort(item).astype(np.int64) for item in rows]) if rows else np.empty(0, int)
    return sparse.csr_array((np.ones(len(flat), bool), flat, starts), shape=shape)
