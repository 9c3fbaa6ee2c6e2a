"""What Stamps teaches the search: ways from pictures, speech and sounds to sentences, and between like and like.

All that is measured elsewhere is learned on the training items of Stamps, whatever collection is searched: a
collection of one's own needs no pairs. (Other languages are learned from all captions; see `sentences`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np

from xmr_lab.data import Audio, Collection, View, load_stamps
from xmr_lab.encoders import EfficientNetLite0, MiniLM, SpeechEmbedding, cached
from xmr_lab.encoders.base import fingerprint_of, unit_rows
from xmr_lab.fusion import fuse_scores, standardize_scores
from xmr_lab.matching import ConSE, MaxSimRidge, RidgeMap
from xmr_lab.retrieval import similarity

from .sentences import Sentences

__all__ = ["KINDS", "Bridges", "SpokenSentences"]

KINDS = ("caption", "picture", "speech", "sound")  # a text is the caption that one has in mind


class SpokenSentences:
    """An encoder of speech in one language: where in the space of sentences a spoken phrase belongs.

    Args:
        language: one that Stamps has speech in; learned from its training phrases and their English captions.
    """

    modality, dim = "audio", 384

    def __init__(self, language: str, train: Collection, sounds: SpeechEmbedding, sentences: MiniLM) -> None:
        self.train = train.select(modality="audio", language=language)
        self.language, self.sounds, self.sentences = language, sounds, sentences
        speech, captions = self.train.speech(language), self.train.texts("en")
        self.fingerprint = fingerprint_of(
            "SpokenSentences", 1, sounds.fingerprint, sentences.fingerprint, speech.fingerprint, captions.fingerprint
        )

    @cached_property
    def matcher(self) -> MaxSimRidge:
        frames = cached(self.sounds, self.train.speech(self.language), method="frames")
        return MaxSimRidge().fit(frames, cached(self.sentences, self.train.texts("en")))

    def encode(
        self, items: Sequence[Audio], *, batch_size: int = 32, normalize: bool = True, progress: bool = True
    ) -> np.ndarray:
        """(n, 384) float32 rows of length 1."""
        return self.matcher.transform(self.sounds.frames(items, batch_size=batch_size, progress=progress))


class Bridges:
    """Encoders, and the ways between their spaces.

    Items are of four kinds, `KINDS`. ``encoder(kind)`` and its method turn them into vectors, ``places`` takes
    vectors of any kind into the space of sentences, ``scores`` compares.
    """

    def __init__(self) -> None:
        self.stamps = load_stamps()
        self.train = self.stamps.select(split="train")
        self.pictures, self.sentences = EfficientNetLite0(), MiniLM()
        self.sounds = SpeechEmbedding(pooling="mean_std")
        self.texts = Sentences(self.stamps, self.sentences)
        self.spoken = cache(self._spoken)

    def _spoken(self, language: str) -> SpokenSentences:
        return SpokenSentences(self._known(language), self.train, SpeechEmbedding(), self.sentences)

    def _known(self, language: str) -> str:
        if language not in (known := self.stamps.languages("audio")):
            raise ValueError(f"no speech in {language!r} to learn from; language is one of {', '.join(known)}")
        return language

    def encoder(self, kind: str, language: str = "") -> tuple[Any, str]:
        """The encoder of a kind, and which of its methods to call; captions are of any language, unless in English."""
        if kind == "speech":
            return self.spoken(language), "encode"
        texts = self.sentences if language == "en" else self.texts
        plain: dict[str, Any] = {"caption": texts, "picture": self.pictures, "sound": self.sounds}
        return plain[kind], "encode" if kind == "caption" else "encode_raw"

    @cached_property
    def ridge(self) -> RidgeMap:
        """From pictures to sentences, learned from pairs."""
        return RidgeMap(alpha=1e-3).fit(unit_rows(self.background("picture")), self.background("caption"))

    @cached_property
    def conse(self) -> ConSE:
        """From pictures to sentences by way of class names, learned from no pair."""
        names = cached(self.sentences, self.pictures.class_names)
        return ConSE(names, top=len(names), sharpness=0.5)

    @cached_property
    def effects(self) -> RidgeMap:
        """From sound effects to sentences, learned from the few pairs that there are."""
        captions = self.train.select(modality="audio").texts("en")
        return RidgeMap(alpha=0.01).fit(
            self._alike("sound", self.background("sound")), cached(self.sentences, captions)
        )

    @cache  # noqa: B019 - bridges live as long as their session
    def background(self, kind: str, language: str = "es") -> np.ndarray:
        """(n, d) vectors of the training items of a kind: with them a score says how much better than usual it is."""
        views: dict[str, View] = {"caption": self.train.texts("en"), "picture": self.train.images}
        view = views.get(kind) or (self.train.speech(language) if kind == "speech" else self.train.sounds)
        encoder, method = self.encoder(kind, "en" if kind == "caption" else language)
        return cached(encoder, view, method=method)

    def places(self, kind: str, vectors: np.ndarray) -> list[np.ndarray]:
        """Where they lie among sentences, (n, 384) each: by what pairs teach and, if possible, by class names."""
        if kind == "caption":
            return [self.ridge.transform(vectors, view=1), self.conse.transform(vectors, view=1)]
        if kind == "picture":
            return [self.ridge.transform(unit_rows(vectors)), self.conse.transform(self.pictures.classify(vectors))]
        return [vectors if kind == "speech" else self.effects.transform(self._alike("sound", vectors))]

    def _alike(self, kind: str, vectors: np.ndarray) -> np.ndarray:
        """Vectors of one kind as they are compared among themselves."""
        if kind == "sound":
            known = self.background("sound")
            return unit_rows(((vectors - known.mean(axis=0)) / known.std(axis=0)).astype(np.float32))
        return vectors

    def scores(self, kind: str, query: np.ndarray, other: str, gallery: np.ndarray, language: str = "es") -> np.ndarray:
        """How well items answer one query, standardised over them and Stamps' training items together.

        Without the latter the best of two items could not stand out, and items of a rare kind would be at a loss.

        Args:
            kind: of the query, and ``query`` its vector, (1, d).
            other: kind of the gallery, and ``gallery`` its vectors, (n, d').

        Returns:
            (n,) deviations from the mean score.
        """
        items = np.concatenate([gallery, self.background(other, language)])
        if kind == other and kind != "speech":
            scores = similarity(self._alike(kind, query), self._alike(kind, items))
        else:
            pairs = zip(self.places(kind, query), self.places(other, items), strict=False)
            scores = fuse_scores([similarity(ours, theirs) for ours, theirs in pairs])
        return standardize_scores(scores)[0, : len(gallery)]

    @cached_property
    def effect_or_speech(self) -> Any:
        """A classifier of sounds: 1 for an effect, 0 for speech."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        frames = cached(SpeechEmbedding(), self.train.speech("es"), method="frames")
        speech = np.stack([np.concatenate([each.mean(axis=0), each.std(axis=0)]) for each in frames])
        effects = self.background("sound")
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced"))
        return model.fit(np.concatenate([speech, effects]), [0] * len(speech) + [1] * len(effects))
