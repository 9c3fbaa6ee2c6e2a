"""What the cells of a grid are made of: the frozen features of a collection, computed once a process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from xmr_lab.data import Collection, load_folder, load_stamps
from xmr_lab.encoders import EfficientNetLite0, MiniLM, SpeechEmbedding, cached, cached_encode

__all__ = ["Features", "Labelled", "Scorer", "load_features"]

Scorer: TypeAlias = Callable[[np.ndarray], np.ndarray]  # rows of the collection -> (n, n) queries x gallery


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of the collection in each modality; what an item lacks is a row of NaN (frames: None).

    Attributes:
        ids, concepts, groups, splits, labels: (n,) of the items; a label is a category.
        vectors: "image" (n, 1280), "text" (n, 384) and "speech" (n, 96), the mean over time, standardised.
        frames: (n,) of speech, (n_windows, 96) each.
        classes: (n, 1000) class probabilities of the pictures; names: (1000, 384) their names among the texts.
        fingerprint: of all items and encoders; split_hash: of which item is in which split.
    """

    ids: np.ndarray
    concepts: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
    labels: np.ndarray
    vectors: dict[str, np.ndarray]
    frames: list[np.ndarray | None]
    classes: np.ndarray
    names: np.ndarray
    fingerprint: str
    split_hash: str

    def items(self, modalities: tuple[str, ...], split: str) -> np.ndarray:
        """Rows of the items of a split that have all these modalities."""
        there = [~np.isnan(self.vectors[name][:, 0]) for name in modalities]
        return np.flatnonzero(np.logical_and.reduce([self.splits == split, *there]))


@dataclass(frozen=True, eq=False)
class Labelled:
    """What a cell may learn from: labelled training rows, and the other training rows, whose pairing is unknown."""

    features: Features
    pair: str
    rows: np.ndarray
    others: np.ndarray
    transfer: str
    seed: int

    def views(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = self.pair.split("-")
        return self.features.vectors[a], self.features.vectors[b]


@cache
def load_features(language: str = "es", collection: str = "", *, skip_broken: bool = False) -> Features:
    """The features of Stamps, or of a folder, with speech in one language.

    A folder without the language gives what it has: any speech, and English sentences or else any.

    Args:
        collection: a folder as `load_folder` reads it; ``""`` means Stamps.
        skip_broken: leave out its files that cannot be read.

    Raises:
        ValueError: if Stamps has no speech in the language, or a file of the folder is broken.
    """
    items = load_folder(collection, broken="skip" if skip_broken else "raise") if collection else load_stamps()
    if not collection and language not in items.languages("audio"):
        raise ValueError(f"no speech in {language!r}; language is one of {', '.join(items.languages('audio'))}")
    table = items.table
    pictures, sentences, ear = EfficientNetLite0(), MiniLM(), SpeechEmbedding()
    kinds = (("image", pictures, np.float32), ("text", sentences, np.float32), ("speech", ear, np.float64))
    vectors = {name: np.full((len(table), encoder.dim), np.nan, kind) for name, encoder, kind in kinds}
    classes = np.full((len(table), len(pictures.class_names)), np.nan, np.float32)
    frames: list[np.ndarray | None] = [None] * len(table)
    if field := _field(items, "image"):
        view = items.view(*field)
        raw = cached_encode(pictures, view, normalize=False)
        vectors["image"][view.positions] = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        classes[view.positions] = pictures.classify(raw)
    if field := _field(items, "text", "en"):
        view = items.view(*field)
        vectors["text"][view.positions] = cached_encode(sentences, view)
    if field := _field(items, "audio", language):
        view, pooled = items.view(*field), vectors["speech"]
        for row, windows in zip(view.positions, cached(ear, view, method="frames"), strict=True):
            frames[row], pooled[row] = windows, windows.mean(axis=0)
        heard = pooled[(table["split"] == "train").to_numpy() & ~np.isnan(pooled[:, 0])]
        if len(heard):
            pooled -= heard.mean(axis=0)
            pooled /= np.maximum(heard.std(axis=0), 1e-9) * np.sqrt(ear.dim)
    splits = sorted(zip(table["id"], table["split"], strict=True))
    split_hash = hashlib.sha256(json.dumps(splits).encode()).hexdigest()[:16]
    parts = [items.fingerprint, split_hash, pictures.fingerprint, sentences.fingerprint, ear.fingerprint, language]
    return Features(
        ids=table["id"].to_numpy(),
        concepts=table["concept"].to_numpy(),
        groups=table["group"].to_numpy(),
        splits=table["split"].to_numpy(),
        labels=table["label"].astype(str).to_numpy(),
        vectors=vectors,
        frames=frames,
        classes=classes,
        names=cached_encode(sentences, pictures.class_names),
        fingerprint=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16],
        split_hash=split_hash,
    )


def _field(items: Collection, modality: str, language: str | None = None) -> tuple[str, str | None] | None:
    """The field of a modality, in this language if there is one, or any; None if there is none."""
    found = [field for field in items.fields if field[0] == modality]
    return (modality, language) if (modality, language) in found else found[0] if found else None
