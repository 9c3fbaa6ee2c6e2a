"""What many items are decoded from, in little memory: each distinct text or file name once, a number for each row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

from xmr_lab._progress import progress_bar

__all__ = ["Column", "digests"]

WHOLE = 65_536  # bytes; larger files of a column are told apart by their size and their two ends
END = 4096


class Column(Sequence):
    """Texts or paths of files, some of them missing, made when they are touched.

    Args:
        values: the distinct ones; of files, the names relative to ``folder``.
        codes: (n,) which of them each row has, -1 for none.
        folder: where the files lie; None for texts.

    Examples:
        >>> column = Column(pa.array(["a cat", "a dog"]), np.array([1, -1, 0]))
        >>> list(column), list(column.take(np.array([2, 0])))
        (['a dog', None, 'a cat'], ['a cat', 'a dog'])
    """

    def __init__(self, values: pa.Array, codes: np.ndarray, folder: Path | None = None) -> None:
        self.values, self.codes, self.folder = values, codes, folder

    @classmethod
    def pack(cls, chunks: Sequence[pa.DictionaryArray], folder: Path | None = None) -> Column:
        """A column of dictionary-encoded parts."""
        whole = pa.chunked_array(chunks, type=pa.dictionary(pa.int32(), pa.string())).unify_dictionaries()
        codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in whole.chunks]
        values = whole.chunk(0).dictionary if whole.num_chunks else pa.array([], pa.string())
        return cls(values, np.concatenate([np.empty(0, np.int32), *codes]).astype(np.int32), folder)

    def take(self, rows: np.ndarray) -> Column:
        """Some rows; the values are shared."""
        return Column(self.values, self.codes[rows], self.folder)

    def value(self, code: int) -> str | Path:
        text = self.values[code].as_py()
        return text if self.folder is None else self.folder / text

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int) -> str | Path | None: ...
    @overload
    def __getitem__(self, row: slice) -> list[str | Path | None]: ...
    def __getitem__(self, row: int | slice) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        code = int(self.codes[row])
        return None if code < 0 else self.value(code)


def digests(sources: Sequence[str | bytes | Path | None]) -> Iterator[bytes]:
    """SHA-256 of the content of each source, in order; of a file of a column, if large, of its size and its ends."""
    if not isinstance(sources, Column):
        for source in sources:
            yield hashlib.sha256(_content(source)).digest()
        return
    known, done = np.zeros((len(sources.values), 32), np.uint8), np.zeros(len(sources.values), bool)
    with progress_bar(len(sources), "Reading what identifies the files", sources.folder is not None, "file") as bar:
        for code in sources.codes:
            if not done[code]:
                source, done[code] = sources.value(code), True
                content = _ends(source) if isinstance(source, Path) else _content(source)
                known[code] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
            yield known[code].tobytes()
            bar.update()


def _content(source: str | bytes | Path | None) -> bytes:
    if isinstance(source, Path):
        return source.read_bytes()
    return source.encode() if isinstance(source, str) else source or b""


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        if (size := file.seek(0, 2)) <= WHOLE:
            file.seek(0)
            return file.read()
        file.seek(0)
        head = file.read(END)
        file.seek(-END, 2)
        return b"%d bytes " % size + head + file.read()
