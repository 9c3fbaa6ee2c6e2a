"""Encoders that learn from training items: fitted once, what they learnt kept on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from filelock import FileLock

from .base import array_digest, fingerprint_of
from .cache import cache_folder, fingerprint_of_items, load_arrays, save_arrays

__all__ = ["Trainable", "cached_fit", "from_bytes", "to_bytes"]


@runtime_checkable
class Trainable(Protocol):
    """An `Encoder` that learns.

    Attributes:
        settings: all that decides, with the items, what is learnt; as JSON can hold it, seed included.
    """

    @property
    def settings(self) -> Any: ...

    def fit(self, items: Sequence[Any], targets: Sequence[Any] | None = None) -> Any:
        """Learn from items, and from what each stands for where the encoder asks for it; returns itself."""

    def state(self) -> dict[str, np.ndarray]:
        """What was learnt, as arrays."""

    def restore(self, state: dict[str, np.ndarray]) -> Any:
        """The inverse of `state`; returns itself."""


T = TypeVar("T", bound=Trainable)


def cached_fit(
    encoder: T,
    items: Sequence[Any],
    targets: Sequence[Any] | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> T:
    """``encoder.fit(items, targets)``, computed only if nobody has done it before.

    Args:
        encoder: not fitted yet; it is changed and returned.
        items: what to learn from, a view of a collection or a list.
        targets: labels, sentences or vectors, one an item, where the encoder asks for them.
        cache_dir: instead of `cache.cache_folder`.

    Raises:
        TypeError: if the encoder is not `Trainable`.
        ValueError: if there is not one target for each item, or as its own ``fit``.
    """
    if not isinstance(encoder, Trainable):
        raise TypeError(f"{type(encoder).__name__} has nothing to keep: it needs settings, fit, state and restore")
    if targets is not None and len(targets) != len(items):
        raise ValueError(f"one target for each item is needed, got {len(targets)} for {len(items)}")
    learnt_from = [type(encoder).__name__, encoder.settings, fingerprint_of_items(items), _fingerprint(targets)]
    folder = Path(cache_dir) if cache_dir else cache_folder()
    path = folder / f"{fingerprint_of('fit', *learnt_from)}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if (state := load_arrays(path)) is not None:
                return encoder.restore(state)
            encoder.fit(items, targets)
            about = {"encoder": type(encoder).__name__, "method": "fit", "items": str(len(items))}
            save_arrays(path, encoder.state(), about)
    except OSError:  # no cache that can be written to
        encoder.fit(items, targets)
    return encoder


def to_bytes(words: Sequence[str]) -> np.ndarray:
    """Words as an array for `Trainable.state`: UTF-8, one a line."""
    return np.frombuffer("\n".join(words).encode(), np.uint8)


def from_bytes(array: np.ndarray) -> list[str]:
    """The inverse of `to_bytes`.

    Examples:
        >>> from_bytes(to_bytes(["ein", "Löwe"]))
        ['ein', 'Löwe']
    """
    return array.tobytes().decode().split("\n") if array.size else []


def _fingerprint(targets: Sequence[Any] | None) -> str:
    if targets is None:
        return "none"
    array = np.asarray(targets)
    return array_digest({"targets": array}) if array.dtype.kind in "biuf" else fingerprint_of(array.tolist())
