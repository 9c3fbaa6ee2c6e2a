"""A full-size data set from its official folder: read, counted, its files looked for, and made a collection."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial as bind
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from xmr_lab._progress import progress_bar
from xmr_lab.data.check import BrokenFile, BrokenFiles
from xmr_lab.data.collection import Collection
from xmr_lab.data.columns import Column
from xmr_lab.data.splits import connected_groups, stratified_group_split
from xmr_lab.data.view import Field

from . import audiocaps, clotho, coco, esc50, flickr, imagenet, librispeech
from .common import FILES, DataSet, Missing, Rows

__all__ = ["DATA_SETS", "load_data_set", "present"]

DATA_SETS = {
    each.name: each
    for each in (
        imagenet.IMAGENET,
        coco.COCO,
        coco.COCO_2014,
        coco.SPOKEN_COCO,
        flickr.FLICKR8K,
        flickr.FLICKR_AUDIO,
        flickr.FLICKR30K,
        flickr.FLICKR30K_TOKENS,
        librispeech.LIBRISPEECH,
        audiocaps.AUDIOCAPS,
        clotho.CLOTHO,
        esc50.ESC50,
    )
}
SPLITS = ("train", "validation", "test")
UNITS = {"image": "pictures", "sound": "sounds", "speech": "recordings", "rows": "items", "label": "categories"}
SLICE = 1000  # files that a thread looks at in one go


def present(modality: str, path: Path) -> str | None:
    """Why a file cannot be used, or None; only whether it is there and not empty is looked at."""
    try:
        if path.is_dir():
            return "is a folder, not a file"
        return None if path.stat().st_size else "is empty"
    except FileNotFoundError:
        return "is not there"
    except (OSError, ValueError) as error:
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


def load_data_set(
    name: str,
    path: str | Path,
    *,
    parts: Sequence[str] | None = None,
    split: str | None = None,
    partial: bool = False,
    broken: Literal["raise", "skip"] = "raise",
    check: Callable[[str, Path], str | None] = present,
) -> Collection:
    """A full-size data set as a collection, from the folder that its official archives unpack to.

    A row is the finest thing there is: a caption, a recording or, without either, a picture or sound. What is shared
    is repeated: a picture with five captions stands in five rows of one ``group`` and ``concept``, but
    is encoded once; ``collection.images.distinct()`` is the gallery of pictures. The column ``part`` has the
    official name of an item's part. Nothing is decoded before it is touched, nor kept afterwards.

    Args:
        name: such as ``"coco"``; `DATA_SETS` has them all, with where to get them, their sizes and terms.
        path: the folder.
        parts: only these official parts, such as ``["dev-clean", "test-clean"]``; the others need not be there.
        split: only the parts of ``"train"``, ``"validation"`` or ``"test"``.
        partial: accept that something is missing from the lists. By default the numbers of items of each part must
            be the official ones.
        broken: what happens if entries are damaged, stand twice, or name files that are missing, empty or outside
            the folder: ``"raise"``, all of them in one error, or ``"skip"``: these items are left out, and listed in
            the collection's ``left_out``.
        check: what says why a file cannot be used. By default only its presence and size are looked at;
            `xmr_lab.data.check.fault` decodes every file.

    Raises:
        FileNotFoundError: if the folder or a list in it is missing; the message says where to get it.
        BrokenFiles: a ValueError that lists the entries that cannot be used.
        ValueError: for an unknown name, part or split, a list that cannot be read, or wrong numbers of items.

    Examples:
        >>> print(DATA_SETS["esc50"].remedy())  # as the error says if the folder is missing
        ESC-50, 600 MB
          from: https://github.com/karolpiczak/ESC-50
          terms: CC BY-NC
          folder: meta/esc50.csv, audio/*.wav
    """
    if broken not in ("raise", "skip"):
        raise ValueError(f"broken is 'raise' or 'skip', got {broken!r}")
    if name not in DATA_SETS:
        raise ValueError(f"no data set {name!r}; there are {', '.join(DATA_SETS)}")
    data_set, folder = DATA_SETS[name], Path(path).expanduser().absolute()
    wanted = _wanted(data_set, parts, split)
    rows = Rows(folder, wanted)
    try:
        if not folder.is_dir():
            raise Missing(f"{path} is {'not a folder' if folder.exists() else 'no such folder'}")
        data_set.read(rows)
        table, sources = rows.finish()
    except Missing as error:
        raise FileNotFoundError(f"{error}.\n{data_set.remedy()}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{data_set.title}: {rows.at or folder.name}: {what}") from error

    keep, twice = _once(table)
    faults = rows.faults + twice
    if not partial and (not faults or broken == "skip"):
        _check_counts(data_set, wanted, table[keep], {kind: column.codes[keep] for kind, column in sources.items()})
    for kind in [kind for kind in FILES if kind in sources]:
        missing, found = _look_for(folder, table["id"], kind, sources[kind], check)
        faults += found
        keep &= ~missing
    if faults and broken == "raise":
        raise BrokenFiles(folder.name, faults, data_set.remedy())
    if not keep.any():
        why = f"no item can be used; the first fault: {faults[0]}" if faults else f"no items in {folder.name!r}"
        raise ValueError(f"{data_set.title}: {why}\n{data_set.remedy()}")
    sources = {kind: column.take(np.flatnonzero(keep)) for kind, column in sources.items()}
    table = table[keep].reset_index(drop=True)
    table["split"] = table["part"].map(data_set.parts)
    if (table["split"] == "").any():  # nobody drew one
        groups = connected_groups(len(table), _neighbours(table["group"]))
        table["split"] = stratified_group_split(table["label"], groups)
    fields = [Field(*FILES.get(kind, ("text", "en")), bind(_same, column)) for kind, column in sources.items()]
    return Collection(name, table, fields, left_out=tuple(faults))


def _same(column: Column) -> Column:
    return column


def _wanted(data_set: DataSet, parts: Sequence[str] | None, split: str | None) -> frozenset[str]:
    known = data_set.parts
    if isinstance(parts, str) or not set(parts or ()) <= known.keys():
        raise ValueError(f"parts of {data_set.name} are a list of some of {', '.join(known)}; got {parts!r}")
    if split is not None and split not in (splits := {each for each in known.values() if each}):
        raise ValueError(f"{data_set.name} has no split {split!r}; it has {', '.join(sorted(splits)) or 'none'}")
    wanted = frozenset(part for part in parts or known if split in (None, known[part]))
    if not wanted:
        raise ValueError(f"none of the parts {', '.join(parts or ())} of {data_set.name} belongs to {split!r}")
    return wanted


def _once(table: pd.DataFrame) -> tuple[np.ndarray, list[BrokenFile]]:
    """(n,) bool: the rows of a new id, of a group that is in one part only; and what is wrong with the others."""
    again = table["id"].duplicated().to_numpy()
    faults = [BrokenFile(id, "id", id, "stands more than once") for id in table["id"][again].unique()]
    pairs = table[["group", "part"]].drop_duplicates()
    torn = pairs[pairs["group"].duplicated(keep=False)].groupby("group", sort=False)["part"].agg(", ".join)
    faults += [BrokenFile(str(group), "part", both, "is in more than one part") for group, both in torn.items()]
    return ~again & ~table["group"].isin(torn.index).to_numpy(), faults


def _check_counts(data_set: DataSet, wanted: frozenset[str], table: pd.DataFrame, codes: dict[str, np.ndarray]) -> None:
    """Compare with the official numbers.

    Raises:
        ValueError: with all that differ.
    """
    wrong = []
    for counted, by_part in data_set.counts.items():
        if counted == "rows":
            found = table["part"].value_counts()
        else:
            values = pd.Series(codes[counted] if counted in codes else table["label"].to_numpy(), index=table.index)
            found = values.groupby(table["part"]).nunique()
        for part in (part for part in by_part if part in wanted):
            if (have := int(found.get(part, 0))) != by_part[part]:
                wrong.append(f"  {part}: {by_part[part]:,} {UNITS[counted]} expected, {have:,} found")
    if wrong:
        advice = (
            "Fetch the rest, name the parts that are there (parts=…), or take it as it is (--partial, partial=True)."
        )
        raise ValueError("\n".join([f"{data_set.title} is not whole:", *wrong, advice, data_set.remedy()]))


def _look_for(
    folder: Path, ids: pd.Series, kind: str, column: Column, check: Callable[[str, Path], str | None]
) -> tuple[np.ndarray, list[BrokenFile]]:
    """(n,) bool: the rows whose file cannot be used; and these files, with the reason."""
    used = np.unique(column.codes[column.codes >= 0])
    root = os.path.realpath(folder)

    def look(some: np.ndarray) -> list[tuple[int, str]]:
        found = []
        for code in some:
            path = Path(column.value(code))
            why = _leads_out(path, root) if path.is_symlink() else None
            if why := why or check(FILES[kind][0], path):
                found.append((int(code), why))
        return found

    bad: dict[int, str] = {}
    label = f"Looking for files: {kind}"
    with ThreadPoolExecutor() as pool, progress_bar(len(used), label, True, "file") as bar:
        for some, found in zip(_slices(used), pool.map(look, _slices(used)), strict=True):
            bad.update(found)
            bar.update(len(some))
    missing = np.isin(column.codes, np.fromiter(bad, np.int32, len(bad)))
    rows = np.flatnonzero(missing)
    first = rows[np.unique(column.codes[rows], return_index=True)[1]]
    return missing, [
        BrokenFile(ids.iat[row], kind, column.values[code := int(column.codes[row])].as_py(), bad[code])
        for row in np.sort(first)
    ]


def _slices(codes: np.ndarray) -> Iterator[np.ndarray]:
    return (codes[start : start + SLICE] for start in range(0, len(codes), SLICE))


def _leads_out(path: Path, root: str) -> str | None:
    """Whether a link leaves both the data set and its own folder, which may itself be a link to another disk."""
    target = os.path.realpath(path)
    homes = (root, os.path.realpath(path.parent))
    inside = any(os.path.commonpath([home, target]) == home for home in homes)
    return None if inside else "is a link that leaves the folder; only files inside it are read"


def _neighbours(groups: pd.Series) -> list[tuple[int, int]]:
    """Each row with the first of its group."""
    codes = pd.factorize(groups)[0]
    first = np.unique(codes, return_index=True)[1]
    return [(int(first[code]), row) for row, code in enumerate(codes)]
