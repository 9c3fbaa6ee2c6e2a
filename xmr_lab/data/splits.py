"""Groups that must not be torn apart, and train/validation/test splits that keep them whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["FRACTIONS", "connected_groups", "near_duplicates", "stratified_group_split"]

FRACTIONS = {"train": 0.6, "validation": 0.15, "test": 0.25}


def connected_groups(n: int, links: Iterable[tuple[int, int]]) -> np.ndarray:
    """Number the groups that remain when every linked pair must stay together: (n,) int.

    Examples:
        >>> connected_groups(4, [(0, 2)])
        array([0, 1, 0, 2])
    """
    pairs = np.array(list(links), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def near_duplicates(
    images: Sequence[Image.Image], blocks: Sequence[str], *, threshold: float = 0.92, side: int = 24
) -> list[tuple[int, int]]:
    """Pairs of pictures in the same block that look alike, the mirror image included.

    Each picture is cut to its opaque part, centred on a white square and shrunk to ``side`` x ``side``;
    two are alike if the correlation of these pixels reaches ``threshold``.
    """
    straight = np.stack([_signature(image, side) for image in images])
    mirrored = np.stack([_signature(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), side) for image in images])
    alike = np.maximum(straight @ straight.T, straight @ mirrored.T) >= threshold  # (n, n)
    names = np.asarray(blocks)
    alike &= names[:, None] == names[None, :]
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(alike, 1))]


def _signature(image: Image.Image, side: int) -> np.ndarray:
    """The picture as a vector of length 1 and mean 0: (3 * side**2,). Zero for an even surface."""
    rgba = image.convert("RGBA")
    rgba = rgba.crop(rgba.getchannel("A").getbbox() or (0, 0, *rgba.size))
    square = Image.new("RGBA", (max(rgba.size),) * 2, "white")
    square.alpha_composite(rgba, ((square.width - rgba.width) // 2, (square.height - rgba.height) // 2))
    pixels = np.asarray(square.convert("RGB").resize((side, side), Image.Resampling.BOX), dtype=float).ravel()
    pixels -= pixels.mean()
    return pixels / max(float(np.linalg.norm(pixels)), 1e-9)


def stratified_group_split(
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
) -> np.ndarray:
    """Split so that no group is torn apart and each label has nearly the same share in every part.

    Deterministic on every platform: groups go, the largest first and equals in the order of a hash, to
    the part that lacks most items of their label.

    Returns:
        (n,) names of the parts.

    Examples:
        >>> parts = stratified_group_split(["a"] * 20, range(20))
        >>> {name: int((parts == name).sum()) for name in FRACTIONS}
        {'train': 12, 'validation': 3, 'test': 5}
    """
    kinds, names_of_groups = np.asarray(labels), np.asarray(groups).tolist()
    names, shares = list(fractions), np.array(list(fractions.values()))
    members: dict[int | str, list[int]] = {}
    for row, group in enumerate(names_of_groups):
        members.setdefault(group, []).append(row)

    def order(group: int | str) -> tuple[int, str]:
        return -len(members[group]), hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()

    wanted = {label: shares * (kinds == label).sum() for label in np.unique(kinds)}
    wanted_in_all = shares * len(kinds)  # settles what a label alone leaves open
    parts = np.empty(len(kinds), dtype=object)
    for group in sorted(members, key=order):
        rows = members[group]
        values, counts = np.unique(kinds[rows], return_counts=True)
        lack = wanted[values[counts.argmax()]]
        best = max(range(len(names)), key=lambda i: (lack[i] / shares[i], wanted_in_all[i] / shares[i]))
        parts[rows] = names[best]
        for value, count in zip(values, counts, strict=True):
            wanted[value][best] -= count
        wanted_in_all[best] -= len(rows)
    return parts
