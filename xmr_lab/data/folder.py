"""Bring your own: a folder with a table of items and the files that it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from .collection import Collection, Field
from .splits import connected_groups, stratified_group_split

__all__ = ["load_folder"]

# in a CSV only an empty cell is missing: "None" and "NA" are texts like others
TABLES = {"metadata.csv": partial(pd.read_csv, dtype=str, keep_default_na=False, na_values=[""]),
          "metadata.jsonl": partial(pd.read_json, dtype=str, lines=True),
          "metadata.parquet": pd.read_parquet}  # fmt: skip
SPLITS = ("train", "validation", "test")


def load_folder(path: str | Path, *, seed: int = 0) -> Collection:
    """A collection from a folder with ``metadata.csv`` (or ``.jsonl``, ``.parquet``), one row an item.

    Columns, all but ``id`` optional: ``id``; ``text`` or ``text_<language>``; ``image``; ``audio`` (sounds)
    or ``audio_<language>`` (speech), file names relative to the folder; ``label`` (category); ``group``
    (items that must share a split); ``concept`` (items that answer the same query; by default those with
    the same first text); ``domain``; ``split`` (train, validation, test; by default drawn by group, within
    label, from ``seed``). An empty cell is a missing modality, or takes the default. Other columns stay in
    the table.

    Raises:
        FileNotFoundError: if the table or a file that it names is missing.
        ValueError: for an id that is missing or stands twice, a path that leaves the folder, an unknown
            split, a group in two splits, or a table without a single text, image or audio.
    """
    folder = Path(path).resolve()
    found = [name for name in TABLES if (folder / name).is_file()]
    if len(found) != 1:
        problem = "holds none of" if not found else f"holds {' and '.join(found)}, but must hold one of"
        raise FileNotFoundError(f"{path} {problem} {', '.join(TABLES)}")
    try:
        table = TABLES[found[0]](folder / found[0])
    except (ValueError, OSError) as error:
        raise ValueError(f"cannot read {found[0]} in {path}: {error}") from error
    table = table.reset_index(drop=True)
    if "id" not in table or table["id"].isna().any():
        raise ValueError(f"{found[0]} needs a column 'id' with a value in each of its {len(table)} rows")
    table["id"] = table["id"].astype(str)

    fields = []
    for column in table:
        modality, _, language = str(column).partition("_")
        if modality in ("text", "audio", "image") and not (modality == "image" and language):
            values: list = [None if pd.isna(value) or value == "" else str(value) for value in table[column]]
            if modality != "text":
                values = [value and _inside(folder, value, str(column)) for value in values]
            fields.append(Field(modality, language or None, partial(list, values)))
    if not any(any(source is not None for source in field.sources) for field in fields):
        raise ValueError(f"{found[0]} has no text, image or audio; see load_folder's documentation for the columns")

    texts = next((field.sources for field in fields if field.modality == "text"), [None] * len(table))
    concepts = [str(text).casefold().strip(" .") if text else id for text, id in zip(texts, table["id"], strict=True)]
    table["concept"] = _filled(table, "concept", concepts)
    table["group"] = _filled(table, "group", table["concept"])
    table["label"] = _filled(table, "label", "item")
    if "split" not in table:  # neither a group nor a concept may be torn
        links = [link for column in ("group", "concept") for link in _links(table[column])]
        together = connected_groups(len(table), links)
        table["split"] = stratified_group_split(table["label"], together, seed=seed)
    if unknown := set(table["split"]) - set(SPLITS):
        raise ValueError(f"split is one of {', '.join(SPLITS)}; got {', '.join(map(repr, sorted(map(str, unknown))))}")
    if len(torn := table.groupby("group")["split"].nunique().loc[lambda count: count > 1]):
        raise ValueError(f"group {torn.index[0]!r} is in more than one split; a group must stay together")
    return Collection(folder.name, table, [f for f in fields if any(source is not None for source in f.sources)])


def _filled(table: pd.DataFrame, column: str, default: Sequence[str] | str) -> pd.Series:
    """The column as text, with the default where it has no value."""
    given = table[column] if column in table else pd.Series(None, index=table.index)
    return given.astype(object).where(given.notna(), pd.Series(default, index=table.index)).astype(str)


def _links(values: Iterable[str]) -> list[tuple[int, int]]:
    """Each row with the first row of the same value."""
    first: dict[str, int] = {}
    return [(first.setdefault(value, row), row) for row, value in enumerate(values)]


def _inside(folder: Path, name: str, column: str) -> Path:
    """The file's path, if it lies in the folder (links followed) and exists."""
    target = (folder / name).resolve()
    if not target.is_relative_to(folder):
        raise ValueError(f"{column} {name!r} leaves the folder {folder.name!r}; only files inside it are read")
    if not target.is_file():
        raise FileNotFoundError(f"{column} {name!r} is not a file in {folder}")
    return target
