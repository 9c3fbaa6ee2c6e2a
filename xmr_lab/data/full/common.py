"""What the readers of full-size data sets share: a set's facts, the rows read so far, and what is wrong with them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from xmr_lab._progress import progress_bar
from xmr_lab.data.check import BrokenFile
from xmr_lab.data.columns import Column

__all__ = ["DataSet", "Missing", "Rows"]

PACK = 2_000  # rows kept as Python objects before they are packed
PIECE = 1 << 20  # characters of a JSON file read at a time
LONGEST = 16 * PIECE  # of one entry
AFTER = tuple(" \t\r\n,:]}")  # what can follow a JSON value
FILES = {"image": ("image", None), "sound": ("audio", None), "speech": ("audio", "en")}
COLUMNS = ("id", "part", "group", "concept", "label", "speaker", "domain", "text", *FILES)


class Missing(FileNotFoundError):
    """A file or folder of the official layout is not there."""


@dataclass(frozen=True)
class DataSet:
    """The facts about a data set, and how it is read.

    Attributes:
        read: adds the items of a folder to `Rows`.
        parts: the official names of its parts, and the split that each belongs to ("": drawn by group).
        counts: what is counted, and how often it is there in each part: ``rows``, or distinct ``image``, ``sound``,
            ``speech`` or ``label``. Empty where no official number was found.
        where, size, terms: where to get it, how large that is, and what it may be used for.
        layout: what has to lie in the folder.
    """

    name: str
    title: str
    read: Callable[[Rows], None]
    parts: Mapping[str, str]
    counts: Mapping[str, Mapping[str, int]]
    where: str
    size: str
    terms: str
    layout: str

    def remedy(self) -> str:
        facts = {"from": self.where, "terms": self.terms, "folder": self.layout}
        return "\n".join([f"{self.title}, {self.size}", *(f"  {name}: {text}" for name, text in facts.items())])


@dataclass
class Rows:
    """The items of a data set, packed as they are read.

    Args:
        folder: of the data set.
        parts: those that are wanted.

    Attributes:
        faults: what cannot be used, and why.
        at: the file being read and the place in it, for messages.
    """

    folder: Path
    parts: frozenset[str]
    faults: list[BrokenFile] = field(default_factory=list)
    at: str = ""
    _open: list[tuple] = field(default_factory=list)
    _packed: dict[str, list[pa.Array]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(
        self,
        part: str,
        id: str,
        *,
        group: str,
        concept: str | None = None,
        label: str = "item",
        text: str | None = None,
        image: str | None = None,
        sound: str | None = None,
        speech: str | None = None,
        speaker: str | None = None,
        domain: str | None = None,
    ) -> None:
        """One item; files by their name relative to the folder. Items of a group share a split, those of a concept
        (by default, of a group) answer the same query."""
        for column, name in (("image", image), ("sound", sound), ("speech", speech)):
            if name is not None and (why := _unsafe(name)):
                self.fault(id, column, name, why)
                return
        concept = group if concept is None else concept
        self._open.append((id, part, group, concept, label, speaker, domain, text, image, sound, speech))
        if len(self._open) == PACK:
            self._pack()

    def fault(self, id: str, column: str, name: str, reason: str) -> None:
        self.faults.append(BrokenFile(id, column, name, reason))

    def finish(self) -> tuple[pd.DataFrame, dict[str, Column]]:
        """The table of the items, and of each column of texts or files that is not empty, what it holds."""
        self._pack()
        table, sources = {}, {}
        for name in COLUMNS:
            chunks = self._packed.pop(name)
            if name == "text" or name in FILES:
                column = Column.pack(chunks, None if name == "text" else self.folder)
                if len(column.values):
                    sources[name] = column
            else:
                values = pa.chunked_array(chunks, pa.string())
                if name not in ("speaker", "domain") or values.null_count < len(values):
                    table[name] = values.to_pandas()
        return pd.DataFrame(table), sources

    def _pack(self) -> None:
        for name, values in zip(COLUMNS, zip(*self._open, strict=True), strict=False):
            array = pa.array(values, pa.string())
            self._packed[name].append(array.dictionary_encode() if name == "text" or name in FILES else array)
        self._open.clear()

    # -- files of the official layout --------------------------------------------------------------

    def need(self, *names: str) -> str:
        """The first of these files or folders that is there, relative to the folder.

        Raises:
            Missing: if none is.
        """
        for name in names:
            if (self.folder / name).exists():
                return name
        raise Missing(f"{names[0]} is not in {self.folder.name!r}" + "".join(f", nor is {name}" for name in names[1:]))

    def folders(self, names: Sequence[str], where: str) -> Iterator[str]:
        """The names, with a bar that says how far the reading of these folders is."""
        with progress_bar(len(names), f"Reading {where}", True, "folder") as bar:
            for name in names:
                yield name
                bar.update()

    def lines(self, name: str) -> Iterator[str]:
        """The lines of a text file that are not empty."""
        with (self.folder / self.need(name)).open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                self.at = f"{name}, line {number}"
                if line := line.strip("\r\n"):
                    yield line

    def table(self, name: str, *columns: str) -> Iterator[dict[str, str]]:
        """The rows of a CSV file.

        Raises:
            ValueError: if it lacks one of the columns.
        """
        with (self.folder / self.need(name)).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if lacking := [column for column in columns if column not in (reader.fieldnames or ())]:
                raise ValueError(f"{name} lacks the columns {', '.join(lacking)}; it has {reader.fieldnames}")
            for row in reader:
                self.at = f"{name}, line {reader.line_num}"
                if short := [column for column in columns if not row[column]]:
                    self.fault(next(iter(row.values())) or "", "list", self.at, f"has no {', '.join(short)}")
                    continue
                yield row

    def json(self, name: str, key: str) -> Iterator[Any]:
        """The elements of the array that stands under ``key`` in a JSON object, one at a time.

        The file is not read as a whole: COCO's lists would take gigabytes as Python objects.

        Raises:
            ValueError: if the file is damaged, or has no such array.
        """
        path, self.at = self.folder / self.need(name), name
        with (
            path.open(encoding="utf-8") as file,
            progress_bar(path.stat().st_size, f"Reading {name}", True, "B") as bar,
        ):
            scanner, found = _Scanner(file.read, bar.update), False
            scanner.skip("{")
            while not scanner.skip_if("}"):
                this = scanner.value()
                scanner.skip(":")
                if not scanner.skip_if("["):
                    scanner.value()
                else:
                    found, number = found or this == key, 0
                    while not scanner.skip_if("]"):
                        element = scanner.value()
                        if this == key:
                            number += 1
                            self.at = f"{name}, entry {number} of {key!r}"
                            yield element
                        scanner.skip_if(",")
                scanner.skip_if(",")
        if not found:
            raise ValueError(f"{name} has no list {key!r}")


class _Scanner:
    """JSON, value by value, from a text that comes in pieces."""

    def __init__(self, read: Callable[[int], str], report: Callable[[int], Any]) -> None:
        self.read, self.report, self.text, self.place = read, report, "", 0
        self.decode = json.JSONDecoder().raw_decode

    def more(self) -> None:
        piece = self.read(PIECE)
        if not piece or len(self.text) - self.place > LONGEST:
            raise ValueError("is cut short" if not piece else "is damaged")
        self.report(len(piece))
        self.text, self.place = self.text[self.place :] + piece, 0

    def skip_if(self, sign: str) -> bool:
        """Go over white space, then over this sign if it comes next."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in " \t\r\n":
                self.place += 1
            if self.place < len(self.text):
                break
            self.more()
        found = self.text[self.place] == sign
        self.place += found
        return found

    def skip(self, sign: str) -> None:
        if not self.skip_if(sign):
            raise ValueError(f"is damaged: expected {sign!r}, found {self.text[self.place : self.place + 20]!r}")

    def value(self) -> Any:
        self.skip_if("")
        while True:
            try:
                value, end = self.decode(self.text, self.place)
                if self.text[end : end + 1] in AFTER:  # else a number might go on
                    self.place = end
                    return value
            except json.JSONDecodeError as error:
                if error.pos < len(self.text) - 1000 and "Unterminated" not in error.msg:
                    raise ValueError(f"is damaged: {error.msg}, at {self.text[error.pos : error.pos + 20]!r}") from None
            self.more()


def _unsafe(name: str) -> str | None:
    """Why a file's name in a list must not be followed."""
    if not name or name[0] in "/~" or "\\" in name or "\0" in name or name[1:2] == ":" or ".." in name.split("/"):
        return "leaves the folder; only files inside it are read"
    return None
