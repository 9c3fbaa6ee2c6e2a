"""A collection: items with pictures, texts and sounds, selected by row and decoded when touched."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from .audio import Audio
from .check import BrokenFile
from .image import image_html
from .view import MODALITIES, Field, View, decode

__all__ = ["Collection", "Field", "Item", "View"]

SHOWN_FIRST = ("en", "zh_CN", "es", "fr", "de", "ru", "ar", "hi")  # when an item shows itself


@dataclass(frozen=True, eq=False)
class Item:
    """One item: its row of the table and what there is of it, decoded when it is touched."""

    row: pd.Series
    fields: Mapping[tuple[str, str | None], Field]

    @property
    def id(self) -> str:
        return self.row["id"]

    @cached_property
    def image(self) -> Image.Image | None:
        return self._get("image", None)

    @cached_property
    def texts(self) -> dict[str, str]:
        """By language; one in no language in particular is under ''."""
        found = {language: self._get(kind, language) for kind, language in self.fields if kind == "text"}
        return {language or "": text for language, text in found.items() if text is not None}

    @cached_property
    def speech(self) -> dict[str, Audio]:
        """By language."""
        found = {lang: self._get(kind, lang) for kind, lang in self.fields if kind == "audio" and lang}
        return {language: audio for language, audio in found.items() if audio is not None}

    @cached_property
    def sound(self) -> Audio | None:
        return self._get("audio", None)

    def _get(self, modality: str, language: str | None) -> Any:
        field = self.fields.get((modality, language))
        source = field and field.sources[self.row.name]
        return None if source is None else decode(modality, source, self.id)

    def __repr__(self) -> str:
        return f"Item({self.id!r}: {next(iter(self.texts.values()), '(no text)')})"

    def _repr_html_(self) -> str:
        caption = next(iter(self.texts.values()), self.id)
        order = [language for language in SHOWN_FIRST if language in self.texts]
        order += [language for language in self.texts if language not in SHOWN_FIRST]
        lines = [f"<strong>{html.escape(str(self.id))}</strong>"]
        for language in order[:8]:
            label = f"<code>{html.escape(language)}</code> " if language else ""
            tag = html.escape(language.replace("_", "-"))  # as HTML writes languages
            lines.append(f'{label}<span lang="{tag}">{html.escape(self.texts[language])}</span>')
        if len(order) > 8:
            lines.append(f"… and in {len(order) - 8} more languages")
        picture = "" if self.image is None else image_html(self.image, alt=caption)
        sounds = {} if self.sound is None else {"sound": self.sound.player(f"sound of {self.id}")}
        for language, audio in self.speech.items():
            sounds[language] = audio.player(f"{caption} spoken in {language}")
        players = [f"<div><code>{html.escape(name)}</code><br>{player}</div>" for name, player in sounds.items()]
        row = "display:flex;flex-wrap:wrap;gap:0.6em 1.2em;align-items:center"
        return (
            f'<div style="{row}">{picture}<div>{"<br>".join(lines)}</div></div>'
            f'<div style="{row};margin-top:0.6em">{"".join(players)}</div>'
        )


class Collection:
    """Items with pictures, texts and sounds; any of them may be missing for any item.

    Args:
        name: what the collection is called in messages and reports.
        table: one row an item, with at least ``id``, ``label``, ``group``, ``concept`` and ``split``. Items
            of the same ``concept`` answer the same query; items of the same ``group`` share a split. Its index
            says at which place of the fields' sources a row's sources stand.
        fields: the modalities.
        left_out: files that could not be used and were left out (see `load_folder`).

    Raises:
        ValueError: if a column is missing or an id stands twice.
    """

    COLUMNS = ("id", "label", "group", "concept", "split")

    def __init__(
        self, name: str, table: pd.DataFrame, fields: Iterable[Field], *, left_out: Sequence[BrokenFile] = ()
    ) -> None:
        if missing := [column for column in self.COLUMNS if column not in table]:
            raise ValueError(f"collection {name!r} lacks the columns {', '.join(missing)}")
        if table["id"].duplicated().any():
            twice = table.loc[table["id"].duplicated(), "id"].iloc[0]
            raise ValueError(f"collection {name!r} has the id {twice!r} more than once; ids must be unique")
        self.name, self.table, self.left_out = name, table, left_out
        self.fields = {(field.modality, field.language): field for field in fields}

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, groups, splits and all contents, for reports (12 hexadecimal digits)."""
        rows = zip(*(self.table[column].astype(str) for column in ("id", "group", "split")), strict=True)
        digest = hashlib.sha256("\n".join("\t".join(row) for row in rows).encode())
        for key in sorted(self.fields, key=str):
            digest.update(f"\n{self.view(*key).fingerprint}".encode())
        return digest.hexdigest()[:12]

    def languages(self, modality: str) -> list[str]:
        """The languages that a modality comes in."""
        return sorted(language for kind, language in self.fields if kind == modality and language)

    def view(self, modality: str, language: str | None = None) -> View:
        """All items that have this modality (in this language).

        Raises:
            KeyError: if the collection has no such modality or language; the message lists what it has.
        """
        if (modality, language) not in self.fields:
            known = ", ".join(f"{kind}:{lang}" if lang else kind for kind, lang in sorted(self.fields, key=str))
            wanted = f"{modality}:{language}" if language else modality
            raise KeyError(f"collection {self.name!r} has no {wanted}; it has {known}")
        return View(self.table, self.fields[modality, language])

    @cached_property
    def images(self) -> View:
        return self.view("image")

    @cached_property
    def sounds(self) -> View:
        """Sounds that are not speech in a known language: sound effects."""
        return self.view("audio")

    def texts(self, language: str | None = "en") -> View:
        return self.view("text", language)

    def speech(self, language: str) -> View:
        return self.view("audio", language)

    def select(
        self,
        *,
        split: str | None = None,
        modality: str | None = None,
        language: str | None = None,
        domain: str | None = None,
        label: str | None = None,
    ) -> Collection:
        """The rows that meet every condition, as a collection.

        ``modality`` with ``language`` keeps the items that have it, so that the views of two modalities
        selected one after the other are paired row by row.

        Raises:
            ValueError: if nothing is left, or a value does not occur; the message lists those that do.
        """
        keep = np.ones(len(self), dtype=bool)
        for column, value in {"split": split, "domain": domain, "label": label}.items():
            if value is None:
                continue
            have = sorted(self.table[column].dropna().unique()) if column in self.table else []
            if value not in have:
                raise ValueError(f"no item has {column} {value!r}; {column} is one of {', '.join(map(str, have))}")
            keep &= (self.table[column] == value).to_numpy()
        if modality is not None:
            keep &= np.isin(np.arange(len(self)), self.view(modality, language).positions)
        elif language is not None:
            raise ValueError(f"language {language!r} needs a modality: modality='text' or modality='audio'")
        if not keep.any():
            raise ValueError("no item meets all conditions")
        return Collection(self.name, self.table[keep], self.fields.values(), left_out=self.left_out)

    def __getitem__(self, key: int | str) -> Item:
        if isinstance(key, str):
            found = np.flatnonzero(self.table["id"] == key)
            if not len(found):
                raise KeyError(f"no item {key!r} in collection {self.name!r}")
            key = int(found[0])
        return Item(self.table.iloc[key], self.fields)

    def __iter__(self) -> Iterator[Item]:
        return (self[i] for i in range(len(self)))

    def summary(self) -> pd.DataFrame:
        """Counts: one row for each modality and language, one column for each split."""
        splits = self.table["split"].to_numpy()
        names = [name for name in ("train", "validation", "test") if name in splits]
        counts = {}
        for kind, language in sorted(self.fields, key=lambda key: (MODALITIES.index(key[0]), key[1] or "")):
            here = splits[self.view(kind, language).positions]
            counts[kind, language or ""] = [int((here == name).sum()) for name in names] + [len(here)]
        index = pd.MultiIndex.from_tuples(counts, names=["modality", "language"])
        return pd.DataFrame(list(counts.values()), index=index, columns=[*names, "all"])

    def __repr__(self) -> str:
        kinds = ", ".join(kind for kind in MODALITIES if any(key[0] == kind for key in self.fields))
        return f"Collection({self.name!r}: {len(self)} items; {kinds})"
