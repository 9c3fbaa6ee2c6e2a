"""The Stamps collection: where it lies, whether it is intact, and how to load it."""

from __future__ import annotations

import hashlib
import os
from functools import cache, partial
from pathlib import Path

import pyarrow.parquet as pq

from .collection import Collection, Field

__all__ = ["load_stamps", "stamps_folder", "verify"]

ITEMS, SUMS = "items.parquet", "SHA256SUMS"
REMEDY = "Restore it with 'git checkout -- data/stamps', or build it again (see data/README.md)."


def stamps_folder() -> Path:
    """``data/stamps`` beside the package, or what the environment variable ``XMR_STAMPS`` names."""
    return Path(os.environ.get("XMR_STAMPS") or Path(__file__).parents[2] / "data" / "stamps")


def expected_sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256, as the build wrote them.

    Raises:
        FileNotFoundError: if the folder holds no collection.
        ValueError: if the list is damaged.
    """
    path = folder / SUMS
    if not path.is_file():
        raise FileNotFoundError(f"no Stamps collection in {folder}: {SUMS} is missing. {REMEDY}")
    lines = [line.partition("  ") for line in path.read_text("utf-8").splitlines()]
    sums = {name: digest for digest, _, name in lines}
    if ITEMS not in sums or "" in sums:
        raise ValueError(f"{SUMS} in {folder} is damaged. {REMEDY}")
    return sums


def checked(folder: Path, name: str) -> Path:
    """The path of one file of the collection, once its checksum has been found right.

    Raises:
        FileNotFoundError, ValueError: if it is missing or differs from what was built.
    """
    path, expected = folder / name, expected_sums(folder)[name]
    if not path.is_file():
        raise FileNotFoundError(f"{name} is missing from {folder}. {REMEDY}")
    _check_once(path, path.stat().st_mtime_ns, path.stat().st_size, expected)
    return path


@cache
def _check_once(path: Path, mtime: int, size: int, expected: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        message = f"{path.name} is not the file that was built: expected SHA-256 {expected[:12]}…, got {found[:12]}…. "
        raise ValueError(message + REMEDY)


def verify(folder: Path | None = None) -> list[str]:
    """Check every file of the collection; returns their names.

    Raises:
        FileNotFoundError, ValueError: at the first that is missing or differs.
    """
    folder = folder or stamps_folder()
    return [checked(folder, name).name for name in expected_sums(folder)]


def load_stamps(folder: Path | str | None = None, *, letters: bool = False) -> Collection:
    """The embedded collection: pictures, captions in many languages, speech in some, sound effects.

    Args:
        folder: where it lies; by default the ``data/stamps`` that ships with the project.
        letters: also the letters of the alphabets, which have names but no captions worth searching.

    Raises:
        FileNotFoundError, ValueError: if a file is missing or damaged.

    Examples:
        >>> stamps = load_stamps()
        >>> stamps["animals/mammals/cats/tiger"].texts["es"]
        'Un tigre.'
    """
    folder = Path(folder) if folder else stamps_folder()
    items = pq.read_table(checked(folder, ITEMS))
    texts = [name for name in items.column_names if name.startswith("text_")]
    files = ("image", "sound")
    table = items.drop_columns([*texts, *files]).to_pandas()

    def column(name: str) -> list:
        return items.column(name).to_pylist()

    def contents(name: str) -> list[bytes | None]:
        return [value and value["bytes"] for value in column(name)]

    def speech(name: str) -> list[bytes | None]:
        spoken = pq.read_table(checked(folder, name)).to_pylist()
        by_id = {row["id"]: row["audio"]["bytes"] for row in spoken}
        return [by_id.get(id) for id in column("id")]

    fields = [Field("image", None, partial(contents, "image")), Field("audio", None, partial(contents, "sound"))]
    fields += [Field("text", name.removeprefix("text_"), partial(column, name)) for name in texts]
    spoken = sorted(name for name in expected_sums(folder) if name.startswith("speech_"))
    fields += [Field("audio", name.removeprefix("speech_").split(".")[0], partial(speech, name)) for name in spoken]
    if not letters:
        table = table[~table["category"].str.startswith("symbols/alphabets")]
    return Collection("stamps", table, fields)
