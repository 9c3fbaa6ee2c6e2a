"""What the cells of a grid are made of: the frozen features of Stamps, computed once a process."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache

import numpy as np

from xmr_lab.data import load_stamps
from xmr_lab.encoders import EfficientNetLite0, MiniLM, SpeechEmbedding, cached, cached_encode

__all__ = ["Features", "load_features"]


@dataclass(frozen=True, eq=False)
class Features:
    """Rows of the collection in each modality; what an item lacks is a row of NaN (frames: None).

    Attributes:
        ids, concepts, groups, splits: (n,) of the items.
        vectors: "image" (n, 1280), "text" (n, 384) and "speech" (n, 96), the mean over time, standardised.
        frames: (n,) of speech, (n_windows, 96) each.
        classes: (n, 1000) class probabilities of the pictures; names: (1000, 384) their names among the texts.
        fingerprint: of all items and encoders; split_hash: of which item is in which split.
    """

    ids: np.ndarray
    concepts: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
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


@cache
def load_features(language: str = "es") -> Features:
    """The features of Stamps, with speech in one language.

    Raises:
        ValueError: if there is no speech in the language.
    """
    stamps = load_stamps()
    if language not in stamps.languages("audio"):
        raise ValueError(f"no speech in {language!r}; language is one of {', '.join(stamps.languages('audio'))}")
    table = stamps.table
    pictures, sentences, ear = EfficientNetLite0(), MiniLM(), SpeechEmbedding()
    raw = cached_encode(pictures, stamps.images, normalize=False)
    speech = stamps.speech(language)
    frames: list[np.ndarray | None] = [None] * len(table)
    pooled = np.full((len(table), ear.dim), np.nan)
    for row, windows in zip(speech.positions, cached(ear, speech, method="frames"), strict=True):
        frames[row], pooled[row] = windows, windows.mean(axis=0)
    heard = pooled[table["split"].to_numpy() == "train"]
    pooled = (pooled - np.nanmean(heard, axis=0)) / (np.nanstd(heard, axis=0) * np.sqrt(ear.dim))
    text = cached_encode(sentences, stamps.texts("en"))
    parts = [stamps.fingerprint, pictures.fingerprint, sentences.fingerprint, ear.fingerprint, language]
    splits = sorted(zip(table["id"], table["split"], strict=True))
    return Features(
        ids=table["id"].to_numpy(),
        concepts=table["concept"].to_numpy(),
        groups=table["group"].to_numpy(),
        splits=table["split"].to_numpy(),
        vectors={"image": raw / np.linalg.norm(raw, axis=1, keepdims=True), "text": text, "speech": pooled},
        frames=frames,
        classes=pictures.classify(raw),
        names=cached_encode(sentences, pictures.class_names),
        fingerprint=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16],
        split_hash=hashlib.sha256(json.dumps(splits).encode()).hexdigest()[:16],
    )
