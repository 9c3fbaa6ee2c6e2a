"""One modality of a collection, item by item, each decoded when it is touched and not kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd

from .audio import decode_audio
from .check import cut_short
from .columns import Column, digests
from .image import decode_image

__all__ = ["MODALITIES", "Field", "View", "decode"]

MODALITIES = ("image", "text", "audio")


def decode(modality: str, source: Any, id: str) -> Any:
    if modality == "text":
        return source
    name = f"{modality} of item {id!r}"
    if isinstance(source, Path):
        name += f" ({source.name})"
        if not source.is_file():
            raise ValueError(f"cannot decode {name}: the file is no longer there")
    if modality == "image":
        return decode_image(source, name=name)
    if isinstance(source, Path) and cut_short(source.read_bytes()):  # the decoder passes over it in silence
        raise ValueError(f"cannot decode {name} as a sound: it is cut short, its end is missing")
    return decode_audio(source, name=name)


@dataclass(frozen=True)
class Field:
    """One modality of a collection (a text or speech in one language): a source for each row, or None.

    A source is a string (text), the bytes of a file, or its path. ``load`` is called once, at first use.
    """

    modality: str
    language: str | None
    load: Callable[[], Sequence[str | bytes | Path | None]]

    @cached_property
    def sources(self) -> Sequence[str | bytes | Path | None]:
        return self.load()

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"unknown modality {self.modality!r}; expected one of {', '.join(MODALITIES)}")


class View(Sequence):
    """The items of one modality, in the collection's order, each decoded when it is touched.

    Args:
        table: of the collection; its index says which source of ``field`` each row has.
        positions: (n,) rows of the table; by default those that have a source.

    Attributes:
        modality: ``"image"``, ``"text"`` or ``"audio"``.
        positions: (n,) row of each item in the collection.
    """

    def __init__(self, table: pd.DataFrame, field: Field, positions: np.ndarray | None = None) -> None:
        rows, sources = table.index.to_numpy(), field.sources
        if positions is None:
            if isinstance(sources, Column):
                positions = np.flatnonzero(sources.codes[rows] >= 0)
            else:
                positions = np.array([i for i, row in enumerate(rows) if sources[row] is not None], dtype=np.int64)
        self.modality, self.language, self.positions = field.modality, field.language, positions
        self._whole, self._field = table, field
        self._table = table if len(positions) == len(rows) else table.iloc[positions]
        kept = rows[positions]
        self._sources = sources.take(kept) if isinstance(sources, Column) else [sources[row] for row in kept]

    @property
    def sources(self) -> Sequence[str | bytes | Path]:
        """What the items are decoded from."""
        return self._sources  # type: ignore[return-value]

    @cached_property
    def ids(self) -> np.ndarray:
        return self._table["id"].to_numpy()

    @property
    def groups(self) -> np.ndarray:
        return self._table["group"].to_numpy()

    @property
    def labels(self) -> np.ndarray:
        return self._table["label"].to_numpy()

    @property
    def concepts(self) -> np.ndarray:
        return self._table["concept"].to_numpy()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the contents in order; the embedding cache goes by it.

        Of full-size data sets, large files are told apart by their size and their two ends (`columns.digests`).
        """
        digest = hashlib.sha256(self.modality.encode())
        for content in digests(self._sources):
            digest.update(content)
        return digest.hexdigest()

    def distinct(self) -> View:
        """The items without repetitions: of rows that share a file (or a text) and a concept, the first.

        A picture with five captions stands in five rows. As a gallery to search, or to be shown, it counts once:
        ``collection.images.distinct()``; relevance is then by ``concepts``.
        """
        repeated = pd.DataFrame({"source": self._codes, "concept": self.concepts}).duplicated().to_numpy()
        return View(self._whole, self._field, self.positions[~repeated])

    @cached_property
    def shared(self) -> tuple[View, np.ndarray] | None:
        """Each file once, as a view, and (n,) which of them every item has; None if no file is repeated.

        `encoders.cached` encodes the former and repeats the rows.
        """
        if not len(self) or not isinstance(self._sources[0], Path):
            return None
        _, first, which = np.unique(self._codes, return_index=True, return_inverse=True)
        if len(first) == len(self):
            return None
        order = np.argsort(first)  # in the order in which they come
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return View(self._whole, self._field, self.positions[first[order]]), place[which]

    @property
    def _codes(self) -> np.ndarray:
        """(n,) the same number for the same source."""
        if isinstance(self._sources, Column):
            return self._sources.codes
        return pd.factorize(pd.Series(self._sources, dtype=object))[0]

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        source = self._sources[index]
        return source if self.modality == "text" else decode(self.modality, source, self._table["id"].iat[index])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        language = f", language={self.language!r}" if self.language else ""
        return f"View({len(self)} x {self.modality}{language})"
