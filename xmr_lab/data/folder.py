"""Bring your own: a folder with a table of items and the files that it names, or with loose files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from xmr_lab._progress import progress_bar

from .check import PICTURES, SOUNDS, BrokenFile, BrokenFiles, fault
from .collection import Collection, Field
from .full import DATA_SETS, load_data_set
from .splits import connected_groups, stratified_group_split

__all__ = ["load_folder"]

# in a CSV only an empty cell is missing: "None" and "NA" are texts like others
TABLES = {"metadata.csv": partial(pd.read_csv, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8-sig"),
          "metadata.jsonl": partial(pd.read_json, dtype=str, lines=True),
          "metadata.parquet": pd.read_parquet}  # fmt: skip
SPLITS = ("train", "validation", "test")
KINDS = {ending: "image" for ending in PICTURES} | {ending: "audio" for ending in SOUNDS} | {".txt": "text"}
UNREAD = {".heic", ".heif", ".avif", ".svg", ".m4a", ".aac", ".wma", ".aiff", ".amr", ".webm", ".mp4", ".mov"}
LONGEST_TEXT = 100_000  # bytes

Check = Callable[[str, Path], str | None]


def load_folder(
    path: str | Path, *, broken: Literal["raise", "skip"] = "raise", seed: int = 0, check: Check = fault
) -> Collection:
    """A collection from a folder with ``metadata.csv`` (or ``.jsonl``, ``.parquet``), one row an item.

    Columns, all but ``id`` optional: ``id``; ``text`` or ``text_<language>``; ``image``; ``audio`` (sounds)
    or ``audio_<language>`` (speech), file names relative to the folder; ``label`` (category); ``group``
    (items that must share a split); ``concept`` (items that answer the same query; by default those with
    the same first text); ``domain``; ``split`` (train, validation, test; by default drawn by group, within
    label, from ``seed``). An empty cell is a missing modality, or takes the default. Other columns stay in
    the table.

    Without such a table, the pictures, sounds and texts (``.txt``) in the folder and below it are the items: files
    of one name that differ in their ending are one item, its id the name without it.

    ``coco:/data/coco`` is the full-size data set `coco` in the folder ``/data/coco`` (`load_data_set`), by which every
    notebook and command that takes a folder takes such a set, too; ``broken="skip"`` then also takes a part of it.

    Args:
        path: the folder.
        broken: what happens if files are missing, damaged, beyond a limit (`xmr_lab.data.check.fault`) or outside
            the folder: ``"raise"``, all of them in one error, or ``"skip"``. An item keeps what is whole, and is
            left out if nothing is. What was left out, and why, is in the collection's ``left_out``.
        check: what says why a file cannot be used, given ``"image"`` or ``"audio"`` and its path.

    Raises:
        FileNotFoundError: if there is nothing to load.
        BrokenFiles: a ValueError that lists the files that cannot be used.
        ValueError: for an id that is missing or stands twice, an unknown split, a group in two splits, or a
            table without a single text, image or audio.
    """
    if broken not in ("raise", "skip"):
        raise ValueError(f"broken is 'raise' or 'skip', got {broken!r}")
    prefix, _, rest = str(path).partition(":")
    if rest and prefix in DATA_SETS:
        return load_data_set(prefix, rest, broken=broken, partial=broken == "skip")
    if not (folder := Path(path).resolve()).is_dir():
        raise FileNotFoundError(f"{path} is {'not a folder' if folder.exists() else 'no such folder'}")
    found = [name for name in TABLES if (folder / name).is_file()]
    if len(found) > 1:
        raise FileNotFoundError(f"{path} holds {' and '.join(found)}, but must hold one of them")
    table, left_out = _read(folder, found[0]) if found else _loose(folder)
    name = found[0] if found else folder.name

    fields = []
    for column in table:
        modality, _, language = str(column).partition("_")
        if modality in ("text", "audio", "image") and not (modality == "image" and language):
            values: list = [None if pd.isna(value) or value == "" else str(value) for value in table[column]]
            if modality != "text":
                values, faults = _checked(folder, table["id"], str(column), values, check)
                left_out += faults
            fields.append(Field(modality, language or None, partial(list, values)))
    if left_out and broken == "raise":
        raise BrokenFiles(folder.name, left_out)
    nothing = [not any(field.sources[row] is not None for field in fields) for row in range(len(table))]
    if all(nothing):
        lost = f": none of its {len(left_out)} files can be used, such as {left_out[0]}" if left_out else ""
        raise ValueError(f"{name} has no text, image or audio{lost or '; see load_folder for the columns'}")

    texts = next((field.sources for field in fields if field.modality == "text"), [None] * len(table))
    concepts = [str(text).casefold().strip(" .") if text else id for text, id in zip(texts, table["id"], strict=True)]
    table["concept"] = _filled(table, "concept", concepts)
    table["group"] = _filled(table, "group", table["concept"])
    table["label"] = _filled(table, "label", "item")
    faulty = {each.id for each in left_out}
    table = table[[not (empty and id in faulty) for empty, id in zip(nothing, table["id"], strict=True)]]
    if "split" not in table:  # neither a group nor a concept may be torn
        links = [link for column in ("group", "concept") for link in _links(table[column])]
        together = connected_groups(len(table), links)
        table = table.assign(split=stratified_group_split(table["label"], together, seed=seed))
    if unknown := set(table["split"]) - set(SPLITS):
        raise ValueError(f"split is one of {', '.join(SPLITS)}; got {', '.join(map(repr, sorted(map(str, unknown))))}")
    if len(torn := table.groupby("group")["split"].nunique().loc[lambda count: count > 1]):
        raise ValueError(f"group {torn.index[0]!r} is in more than one split; a group must stay together")
    fields = [field for field in fields if any(source is not None for source in field.sources)]
    name = folder.name.encode(errors="replace").decode()
    return Collection(name, table, fields, left_out=tuple(left_out))


def has_table(folder: Path) -> bool:
    """Whether a table says what the items are; else all loose files are."""
    return any((folder / name).is_file() for name in TABLES)


def _read(folder: Path, name: str) -> tuple[pd.DataFrame, list[BrokenFile]]:
    """The table of the folder; nothing is broken yet."""
    try:
        table = TABLES[name](folder / name).reset_index(drop=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} in {folder} is not UTF-8 ({error}); save it as UTF-8") from error
    except (ValueError, OSError) as error:
        raise ValueError(f"cannot read {name} in {folder}: {error}") from error
    if "id" not in table or table["id"].isna().any():
        raise ValueError(f"{name} needs a column 'id' with a value in each of its {len(table)} rows")
    table["id"] = table["id"].astype(str)
    return table, []


def _loose(folder: Path) -> tuple[pd.DataFrame, list[BrokenFile]]:
    """A table made of the files' names, and those that are texts, pictures or sounds but cannot be read."""
    rows: dict[str, dict[str, str]] = {}
    left_out = []
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for path in (Path(place) / name for name in sorted(names) if not name.startswith(".")):
            name, ending = path.relative_to(folder).as_posix(), path.suffix.lower()
            id = name.removesuffix(path.suffix)
            if not _is_unicode(name):
                left_out.append(BrokenFile(id, "file", name, "its name is not UTF-8; rename it"))
                continue
            if ending in UNREAD:
                read = ", ".join(sorted(KINDS))
                left_out.append(BrokenFile(id, "file", name, f"this kind is not read; those that are: {read}"))
            if not (kind := KINDS.get(ending)):
                continue
            if kind in rows.get(id, ()):
                id = name  # two pictures of one name are two items
            try:
                rows.setdefault(id, {})[kind] = _text(folder, name) if kind == "text" else name
            except ValueError as error:
                left_out.append(BrokenFile(id, kind, name, str(error)))
    if not rows and not left_out:
        raise FileNotFoundError(
            f"{folder} holds none of {', '.join(TABLES)}, and no files of the kinds {', '.join(sorted(KINDS))}"
        )
    columns = {kind: [row.get(kind) for row in rows.values()] for kind in ("text", "image", "audio")}
    return pd.DataFrame({"id": [*rows], **columns}, dtype=object), left_out


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in name)  # how a file's name has bytes that are not UTF-8


def _text(folder: Path, name: str) -> str:
    path = _inside(folder, name)
    if (size := path.stat().st_size) > LONGEST_TEXT:
        raise ValueError(f"has {size / 1000:.0f} kB; texts of at most {LONGEST_TEXT // 1000} are read")
    try:
        text = path.read_text("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    if not text:
        raise ValueError("is empty")
    return text


def _checked(
    folder: Path, ids: Sequence[str], column: str, names: list[str | None], check: Check
) -> tuple[list[Path | None], list[BrokenFile]]:
    """The path of each file, None for those that cannot be used; and these, with the reason."""
    modality = column.partition("_")[0]

    def place(name: str) -> Path | str:
        try:
            path = _inside(folder, name)
        except ValueError as error:
            return str(error)
        return check(modality, path) or path

    unique = list(dict.fromkeys(name for name in names if name))
    found: dict[str, Path | str] = {}
    with ThreadPoolExecutor() as pool, progress_bar(len(unique), f"Checking: {column}", True, "file") as bar:
        for name, result in zip(unique, pool.map(place, unique), strict=True):
            found[name] = result
            bar.update()
    places = [None if name is None else found[name] for name in names]
    faults = [
        BrokenFile(id, column, str(name), reason)
        for id, name, reason in zip(ids, names, places, strict=True)
        if isinstance(reason, str)
    ]
    return [path if isinstance(path, Path) else None for path in places], faults


def _filled(table: pd.DataFrame, column: str, default: Sequence[str] | str) -> pd.Series:
    """The column as text, with the default where it has no value."""
    given = table[column] if column in table else pd.Series(None, index=table.index)
    return given.astype(object).where(given.notna(), pd.Series(default, index=table.index)).astype(str)


def _links(values: Iterable[str]) -> list[tuple[int, int]]:
    """Each row with the first row of the same value."""
    first: dict[str, int] = {}
    return [(first.setdefault(value, row), row) for row, value in enumerate(values)]


def _inside(folder: Path, name: str) -> Path:
    """The file's path, if it lies in the folder (links followed) and exists.

    Raises:
        ValueError: if not; the message goes on after the file's name.
    """
    try:
        target = (folder / name).resolve()
        if not target.is_relative_to(folder):
            raise ValueError("leaves the folder; only files inside it are read")
        if not target.is_file():
            raise ValueError("is a folder, not a file" if target.is_dir() else "is not there (not a file)")
    except (OSError, RuntimeError) as error:  # a name too long, a link that leads to itself
        why = error.strerror if isinstance(error, OSError) else "a link that leads to itself"
        raise ValueError(f"cannot be opened ({why})") from error
    return target
