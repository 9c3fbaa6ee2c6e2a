"""Embeddings are computed once: kept on disk, shared by all notebooks, verified when read.

Where: the folder in the environment's ``XMR_CACHE``, else the user's cache folder. What: one
safetensors file for each (encoder, items, method), with the SHA-256 of its arrays inside.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image
from platformdirs import user_cache_dir
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from xmr_lab.data.audio import Audio

from .base import Encoder, array_digest, fingerprint_of, progress_bar

__all__ = ["cache_folder", "cache_info", "cached", "cached_encode", "clear_cache", "fingerprint_of_items"]

PART = 1024  # items between two saves: what an interruption can lose
Values = np.ndarray | list[np.ndarray]


def cached_encode(
    encoder: Encoder,
    items: Sequence[Any],
    *,
    normalize: bool = True,
    progress: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """``encoder.encode(items)``, computed only if nobody has done it before.

    Safe with several processes: the second one waits for the first. A damaged file is computed again,
    with a warning; an interrupted computation goes on where it was last saved.

    Args:
        items: a view of a collection, or a list of texts, pictures or sounds.
        cache_dir: instead of `cache_folder`.

    Returns:
        (n, dim) float32.
    """
    return cached(
        encoder, items, method="encode" if normalize else "encode_raw", progress=progress, cache_dir=cache_dir
    )


def cached(
    encoder: Encoder,
    items: Sequence[Any],
    *,
    method: str = "encode",
    progress: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Any:
    """Another output of an encoder, such as ``"class_probabilities"`` or ``"frames"``, by the same cache.

    Args:
        method: a method of the encoder called as ``method(items, progress=…)`` that returns an array with
            a row an item, or a list with an array an item; or ``"encode_raw"``: encode, not normalised.
    """
    if not len(items):
        return run(encoder, items, method, progress)
    if shared := getattr(items, "shared", None):  # a picture under five captions is encoded, and kept, once
        once, which = shared
        values = cached(encoder, once, method=method, progress=progress, cache_dir=cache_dir)
        return values[which] if isinstance(values, np.ndarray) else [values[i] for i in which]
    folder = Path(cache_dir) if cache_dir else cache_folder()
    key = fingerprint_of(encoder.fingerprint, fingerprint_of_items(items), method)
    path = folder / f"{key}.safetensors"
    lock = FileLock(folder / f"{key}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:  # a folder that cannot be written to can still be read
        if (kept := load(path)) is not None:
            return kept
        warnings.warn(f"no cache: {error}. Set XMR_CACHE to a folder that can be written to.", stacklevel=2)
        return run(encoder, items, method, progress)
    try:
        values = load(path)
        return compute(encoder, items, method, progress, path) if values is None else values
    finally:
        lock.release()


def compute(encoder: Encoder, items: Sequence[Any], method: str, progress: bool, path: Path) -> Values:
    """Part by part, each saved as soon as it is there, then all as one file."""
    about = {"encoder": type(encoder).__name__, "method": method, "items": str(len(items))}
    if len(items) <= PART:
        values = run(encoder, items, method, progress)
        save(path, values, about)
        return values
    files, parts = [], []
    with progress_bar(len(items), f"{type(encoder).__name__}: {method}", progress) as bar:
        for start in range(0, len(items), PART):
            part = Part(items, start, min(start + PART, len(items)))
            files.append(path.with_suffix(f".part-{start}"))
            kept = load(files[-1])
            parts.append(run(encoder, part, method, progress=False) if kept is None else kept)
            if kept is None:
                save(files[-1], parts[-1], about)
            bar.update(len(part))
    whole = np.concatenate(parts) if isinstance(parts[0], np.ndarray) else list(chain(*parts))
    save(path, whole, about)
    for file in files:
        file.unlink(missing_ok=True)
    return whole


def run(encoder: Encoder, items: Sequence[Any], method: str, progress: bool) -> Values:
    if method == "encode_raw":
        return encoder.encode(items, normalize=False, progress=progress)
    return getattr(encoder, method)(items, progress=progress)


class Part(Sequence):
    """Some consecutive items, decoded no earlier than the whole would."""

    def __init__(self, items: Sequence[Any], start: int, stop: int) -> None:
        self.items, self.start, self.stop = items, start, stop
        self.ids = items.ids[start:stop] if hasattr(items, "ids") else range(start, stop)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, i: int) -> Any:  # type: ignore[override]
        if not 0 <= i < len(self):
            raise IndexError(i)
        return self.items[self.start + i]


def save(path: Path, values: Values, about: dict[str, str]) -> None:
    if isinstance(values, np.ndarray):
        arrays = {"values": values}
    else:
        lengths = np.array([len(value) for value in values], dtype=np.int64)
        arrays = {"values": np.concatenate(values), "lengths": lengths}
    save_arrays(path, arrays, about)


def save_arrays(path: Path, arrays: dict[str, np.ndarray], about: dict[str, str]) -> None:
    """Write beside the target, then rename: a reader sees the whole file or none."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(safetensors.save(arrays, {**about, "sha256": array_digest(arrays)}))
        os.replace(temporary, path)
    except OSError as error:
        warnings.warn(f"not kept in the cache: {error}", stacklevel=2)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> Values | None:
    """What `save` wrote, or None if there is nothing, or nothing whole."""
    arrays = load_arrays(path)
    if arrays is None or "lengths" not in arrays:
        return None if arrays is None else arrays["values"]
    return np.split(arrays["values"], np.cumsum(arrays["lengths"])[:-1])


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """What `save_arrays` wrote, or None if there is nothing, or nothing whole."""
    if not path.exists():
        return None
    try:
        data = path.read_bytes()
        arrays = {name: array.copy() for name, array in safetensors.load(data).items()}
        if array_digest(arrays) != metadata(path)["sha256"]:
            raise ValueError("its SHA-256 does not fit")
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        warnings.warn(f"the cached file {path.name} is damaged ({error}); computing it again", stacklevel=2)
        return None
    return arrays


def metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}


def fingerprint_of_items(items: Sequence[Any]) -> str:
    """The view's own fingerprint, or a hash of the contents of texts, pictures and sounds, in order."""
    if hasattr(items, "fingerprint"):
        return items.fingerprint
    whole = hashlib.sha256()
    for item in items:
        whole.update(hashlib.sha256(content(item)).digest())
    return whole.hexdigest()


def content(item: Any) -> bytes:
    if isinstance(item, str):
        return b"text " + item.encode()
    if isinstance(item, Image.Image):
        pixels = item.convert("RGBA") if item.mode in ("P", "PA") else item  # a palette counts, not its order
        return f"image {pixels.mode} {pixels.size} ".encode() + pixels.tobytes()
    if isinstance(item, Audio):
        samples = np.ascontiguousarray(item.samples)
        return f"audio {item.rate} {samples.dtype.str} {samples.shape} ".encode() + samples.tobytes()
    raise TypeError(f"expected a text, a PIL picture or an Audio, got {type(item).__name__}")


def cache_folder() -> Path:
    """Where embeddings are kept: ``XMR_CACHE`` in the environment, else the user's cache folder."""
    return Path(os.environ.get("XMR_CACHE") or user_cache_dir("xmr-lab"))


def cache_info(cache_dir: str | os.PathLike[str] | None = None) -> list[dict[str, str | int]]:
    """What the cache holds: a dict for each file, with encoder, method, items, bytes and file name."""
    rows: list[dict[str, str | int]] = []
    for path in sorted((Path(cache_dir) if cache_dir else cache_folder()).glob("*.safetensors")):
        try:
            about = metadata(path)
        except SafetensorError:
            about = {"encoder": "(damaged)"}
        size = path.stat().st_size
        row = {name: about.get(name, "") for name in ("encoder", "method", "items")}
        rows.append({**row, "bytes": size, "file": path.name})
    return rows


def clear_cache(cache_dir: str | os.PathLike[str] | None = None) -> int:
    """Delete all that the cache holds; returns the number of files of embeddings deleted.

    The empty lock files stay: another process may hold one.
    """
    folder = Path(cache_dir) if cache_dir else cache_folder()
    finished = list(folder.glob("*.safetensors"))
    for path in [*finished, *folder.glob("*.part-*"), *folder.glob("*.tmp")]:
        path.unlink(missing_ok=True)
    return len(finished)
