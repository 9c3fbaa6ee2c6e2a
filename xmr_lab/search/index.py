"""The index of a folder: what its files hold, as vectors, so that only what is new has to be computed.

It lies in the cache folder, never in the reader's. Vectors go by the contents of an item, and are written a few
dozen at a time: what was finished before an interruption is not done again, nor is an item that was moved or
renamed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout

from xmr_lab._files import write
from xmr_lab._progress import progress_bar
from xmr_lab.data import Collection, load_folder
from xmr_lab.data.check import fault
from xmr_lab.encoders.base import fingerprint_of
from xmr_lab.encoders.cache import cache_folder, load_arrays, run, save_arrays

__all__ = ["CHUNK", "FolderIndex"]

CHUNK = 32  # items between two saves: what an interruption can lose
FILES = "files.json"
NAMES = {"text": "captions", "image": "pictures", "audio": "sounds"}


@dataclass
class Count:
    """How many items were asked for, and how many of them had to be computed, in how many seconds."""

    items: int = 0
    computed: int = 0
    seconds: float = 0.0


@dataclass
class FolderIndex:
    """The index of one folder; use it within ``with index.open():``.

    Args:
        folder: the reader's folder; only read.
        force: compute everything again.
    """

    folder: Path
    force: bool = False
    counts: dict[str, Count] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder).resolve()
        name = re.sub(r"\W+", "-", self.folder.name)[:40]
        digest = hashlib.sha256(str(self.folder).encode(errors="surrogateescape")).hexdigest()[:12]
        self.place = cache_folder() / "indexes" / f"{name}-{digest}"
        self._files: dict[str, list] = {}  # name: [size, time of change, SHA-256, modality, fault]
        self._used: dict[Path, set[bytes]] = {}

    @contextmanager
    def open(self) -> Iterator[FolderIndex]:
        """Hold the index: another process that wants it waits."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder} is {'not a folder' if self.folder.exists() else 'no such folder'}")
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.place / ".lock")
            try:
                lock.acquire(timeout=2)
            except Timeout:
                print(f"Waiting for another process that is at the index of {self.folder.name} …", file=sys.stderr)
                lock.acquire()
        except OSError as error:
            raise OSError(f"cannot keep an index: {error}. Set XMR_CACHE to a folder that can be written to") from error
        try:
            for scratch in self.place.rglob("*.tmp"):  # of a process that was killed
                scratch.unlink(missing_ok=True)
            if self.force:
                for path in self.place.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.name != ".lock":
                        path.unlink()
            self._files = self._read_files()
            yield self
        finally:
            lock.release()

    def load(self, broken: Literal["raise", "skip"] = "raise") -> Collection:
        """The folder as a collection; files that were found whole and have not changed are not checked again."""
        files: dict[str, list] = {}

        def check(modality: str, path: Path) -> str | None:
            name, state = path.relative_to(self.folder).as_posix(), path.stat()
            known = self._files.get(name)
            if known is None or known[4] or known[:2] != [state.st_size, state.st_mtime_ns] or known[3] != modality:
                reason = fault(modality, path)
                digest = None if reason else hashlib.sha256(path.read_bytes()).hexdigest()
                known = [state.st_size, state.st_mtime_ns, digest, modality, reason]
            files[name] = known
            return known[4]

        try:
            return load_folder(self.folder, broken=broken, check=check)
        finally:
            self._files = self._files | files
            write(json.dumps(self._files), self.place / FILES)

    def embed(self, encoder: Any, items: Sequence[Any], *, method: str = "encode") -> np.ndarray:
        """The vectors of the items of a view, (n, d) float32; those that are not kept are computed, and kept."""
        start = time.perf_counter()
        keys = [self._key(source) for source in items.sources]  # type: ignore[attr-defined]
        place = self.place / fingerprint_of(encoder.fingerprint, method)[:16]
        kept = self._read(place)
        missing = [row for key, row in {key: row for row, key in enumerate(keys)}.items() if key not in kept]
        language = getattr(encoder, "language", "")  # of speech
        what = f"speech ({language})" if language else NAMES[encoder.modality]
        with progress_bar(len(missing), f"Index: {what}", True) as bar:
            for first in range(0, len(missing), CHUNK):
                rows = missing[first : first + CHUNK]
                values = run(encoder, Some(items, rows), method, False)
                fresh = {keys[row]: value for row, value in zip(rows, values, strict=True)}
                place.mkdir(exist_ok=True)
                joined = np.frombuffer(b"".join(fresh), np.uint8).reshape(-1, 32)
                arrays = {"keys": joined, "values": np.stack([*fresh.values()])}
                save_arrays(place / f"{next(iter(fresh)).hex()[:16]}.safetensors", arrays, {"items": str(len(rows))})
                kept |= fresh
                bar.update(len(rows))
        self._used[place] = self._used.get(place, set()) | set(keys)
        count = self.counts.setdefault(what, Count())
        count.items, count.computed = count.items + len(keys), count.computed + len(missing)
        count.seconds += time.perf_counter() - start
        return np.stack([kept[key] for key in keys])

    def tidy(self) -> None:
        """Drop the chunks, and what is known of files, that no item of the folder needs any more.

        To be called when all that the folder has was asked for.
        """
        for place in [path for path in self.place.iterdir() if path.is_dir()]:
            used = self._used.get(place, set())
            for path in place.glob("*.safetensors"):
                arrays = load_arrays(path)
                if arrays is None or not used & {bytes(key) for key in arrays["keys"]}:
                    path.unlink(missing_ok=True)
        self._files = {name: known for name, known in self._files.items() if (self.folder / name).is_file()}
        write(json.dumps(self._files), self.place / FILES)

    def remove(self) -> bool:
        """Delete the index; whether there was one. The folder itself is not touched."""
        if not self.place.exists():
            return False
        with FileLock(self.place / ".lock"):  # wait for whoever is at it
            pass
        shutil.rmtree(self.place)
        return True

    def size(self) -> int:
        """Bytes that it takes."""
        return sum(path.stat().st_size for path in self.place.rglob("*") if path.is_file())

    def _read_files(self) -> dict[str, list]:
        try:
            return json.loads((self.place / FILES).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            warnings.warn(f"the list of files in {self.place.name} is damaged; checking all again", stacklevel=2)
            return {}

    def _read(self, place: Path) -> dict[bytes, np.ndarray]:
        kept: dict[bytes, np.ndarray] = {}
        for path in sorted(place.glob("*.safetensors")):
            if (arrays := load_arrays(path)) is not None:
                kept |= {bytes(key): value for key, value in zip(arrays["keys"], arrays["values"], strict=True)}
        return kept

    def _key(self, source: Any) -> bytes:
        if isinstance(source, Path):
            known = self._files.get(source.relative_to(self.folder).as_posix())
            return bytes.fromhex(known[2]) if known and known[2] else hashlib.sha256(source.read_bytes()).digest()
        return hashlib.sha256(source.encode() if isinstance(source, str) else source).digest()


class Some(Sequence):
    """Some rows of a view, decoded when they are touched."""

    def __init__(self, items: Any, rows: list[int]) -> None:
        self.items, self.rows = items, rows
        self.ids = [items.ids[row] for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:  # type: ignore[override]
        return self.items[self.rows[i]]
