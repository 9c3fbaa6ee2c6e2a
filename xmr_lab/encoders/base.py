"""What every encoder has in common: the protocol, and one loop that prepares items while it computes."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np

from xmr_lab._progress import progress_bar

__all__ = ["BatchEncoder", "Encoder", "NamedItems", "array_digest", "fingerprint_of", "progress_bar", "unit_rows"]


@runtime_checkable
class Encoder(Protocol):
    """Turns items of one modality into vectors.

    Attributes:
        modality: ``"image"``, ``"text"`` or ``"audio"``.
        dim: the length of a vector.
        fingerprint: hash of all that decides the vectors: weights, preprocessing, version of the code.
    """

    @property
    def modality(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def encode(
        self, items: Sequence[Any], *, batch_size: int = 32, normalize: bool = True, progress: bool = True
    ) -> np.ndarray:
        """(n, dim) float32, one row an item, of length 1 if ``normalize``."""
        ...


class BatchEncoder(ABC):
    """An encoder that is given by two steps: prepare one item, embed a batch of prepared ones.

    The next batch is prepared in a thread while the network computes.
    """

    modality: str
    dim: int
    fingerprint: str

    @abstractmethod
    def prepare(self, item: Any) -> Any:
        """What the network takes for one item.

        Raises:
            TypeError, ValueError: if the item cannot be encoded; `encode` adds which one it is.
        """

    @abstractmethod
    def embed(self, prepared: list[Any]) -> np.ndarray:
        """(len(prepared), dim) vectors; those of an item must not depend on the others."""

    def encode(
        self, items: Sequence[Any], *, batch_size: int = 32, normalize: bool = True, progress: bool = True
    ) -> np.ndarray:
        """One vector an item, in the order of the items.

        Args:
            items: a view of a collection, or a list.
            batch_size: how many items are prepared and embedded together. The vectors do not depend on it.
            normalize: scale every vector to length 1 (a zero vector stays zero).
            progress: show a bar if it takes more than a second; ``XMR_PROGRESS=0`` turns all bars off.

        Returns:
            (n, dim) float32.

        Raises:
            TypeError: if an item is of the wrong type.
            ValueError: if an item is damaged, empty or holds NaN; the message names it.
        """
        vectors, done = np.empty((len(NamedItems(items)), self.dim), np.float32), 0
        for batch in self.batches(items, batch_size=batch_size, progress=progress):
            vectors[done : done + len(batch)] = self.embed(batch)
            done += len(batch)
        return unit_rows(vectors) if normalize else vectors

    def batches(self, items: Sequence[Any], *, batch_size: int, progress: bool) -> Iterator[list[Any]]:
        """Prepared items, batch by batch, one batch ahead of the caller."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        named = NamedItems(items)
        starts = range(0, len(named), batch_size)

        def load(start: int) -> list[Any]:
            return [named.call(self.prepare, i) for i in range(start, min(start + batch_size, len(named)))]

        label = f"{type(self).__name__}: {self.modality}"
        with ThreadPoolExecutor(1) as pool, progress_bar(len(named), label, progress) as bar:
            ahead = pool.submit(load, 0) if starts else None
            for start in starts:
                batch = ahead.result()  # type: ignore[union-attr]
                if start + batch_size < len(named):
                    ahead = pool.submit(load, start + batch_size)
                yield batch
                bar.update(len(batch))


class NamedItems:
    """Items that can be named in an error message: by their collection's id, else by their number."""

    def __init__(self, items: Sequence[Any]) -> None:
        if isinstance(items, str) or not (hasattr(items, "__len__") and hasattr(items, "__getitem__")):
            raise TypeError(
                f"expected a sequence of items, got one {type(items).__name__}. Put it into a list: [item]."
            )
        self.items = items
        self.ids = getattr(items, "ids", None)

    def __len__(self) -> int:
        return len(self.items)

    def name(self, i: int) -> str:
        return f"item {i}" if self.ids is None else f"item {i}, {self.ids[i]!r}"

    def call(self, function: Any, i: int) -> Any:
        """``function`` of item ``i``; an error it raises says which item that was."""
        item = self.items[i]
        try:
            return function(item)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError  # some of its kinds take no message
            raise kind(f"{error} ({self.name(i)})") from error


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero.

    Examples:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], dtype="float32"))
        array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
    """
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def fingerprint_of(*parts: Any) -> str:
    """Hash of anything JSON can hold: what an encoder's vectors depend on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def array_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of named arrays: what a trained encoder's vectors depend on."""
    whole = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        whole.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()
