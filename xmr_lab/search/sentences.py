"""Sentences in any language that Stamps has captions in, among those in English."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np

from xmr_lab.data import Collection
from xmr_lab.data.collection import SHOWN_FIRST
from xmr_lab.data.stamps import ITEMS, expected_sums, stamps_folder
from xmr_lab.encoders import BagOfWords, MiniLM, TfidfText, cached
from xmr_lab.encoders.base import fingerprint_of
from xmr_lab.matching import RidgeMap

__all__ = ["Sentences"]

# a word, or a character of a script that puts no spaces between words
WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+")

LATIN = re.compile("[a-zA-Z]")


class Sentences:
    """An encoder of sentences, each in whatever language most of its words are known from.

    English ones go to MiniLM. Others cross a bridge, as in notebook 14: a ridge map from counts of pieces of words to
    vectors of English captions. It is learned from all captions of Stamps in that language, not from training items
    alone: it is a dictionary here, and nothing is measured with it.
    """

    modality, dim = "text", 384

    def __init__(self, stamps: Collection, english: MiniLM) -> None:
        self.stamps, self.english = stamps, english
        self.fingerprint = fingerprint_of("Sentences", 1, english.fingerprint, expected_sums(stamps_folder())[ITEMS])
        self.words, self.bridge = cache(self._words), cache(self._bridge)

    def language_of(self, text: str) -> tuple[str, list[str]]:
        """The language of a text, "" if unknown, and those of its words that no caption in it has."""
        asked = list(dict.fromkeys(words(text)))
        if not (rest := set(asked) - self.words("en")):
            return ("en" if asked else ""), []
        if len(asked) == 1 and asked[0] in self.english.tokenizer.vocab and asked[0].isascii():
            return "en", []  # "beach", which Irish has too
        unknown = {code: len(set(asked) - self.words(code)) for code in self.languages}
        best = min(self.languages, key=unknown.__getitem__)
        enough = len(asked) / 2 if LATIN.search(text) else len(asked)  # of what English cannot be, one word will do
        if unknown[best] < min(len(rest), enough):
            return best, [word for word in asked if word not in self.words(best)]
        return ("en" if 2 * len(rest) < len(asked) else ""), []

    def encode(
        self, items: Sequence[str], *, batch_size: int = 32, normalize: bool = True, progress: bool = True
    ) -> np.ndarray:
        """(n, 384) float32 rows of length 1."""
        found = [self.language_of(text)[0] or "en" if isinstance(text, str) else "en" for text in items]
        vectors = np.empty((len(items), self.dim), np.float32)
        for code in sorted(set(found)):
            rows = [row for row, each in enumerate(found) if each == code]
            some = [items[row] for row in rows]
            vectors[rows] = self.english.encode(some, progress=progress) if code == "en" else self.crossed(code, some)
        return vectors

    def crossed(self, language: str, texts: Sequence[str]) -> np.ndarray:
        """Where texts in another language lie among English ones, (n, 384) float32 rows of length 1."""
        counts, ridge, spread = self.bridge(language)
        vectors = ridge.means_[1] + spread * ridge.transform(counts.encode(texts, progress=False))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    @cached_property
    def languages(self) -> list[str]:
        """All but English; the widely used and the best known first, which are preferred where a word is of several."""
        sizes = {code: len(self.stamps.texts(code)) for code in self.stamps.languages("text") if code[:2] != "en"}
        return sorted(sizes, key=lambda code: (code not in SHOWN_FIRST, -sizes[code], code))

    def _words(self, language: str) -> frozenset[str]:
        return frozenset(word for text in self.stamps.texts(language).sources for word in words(str(text)))

    def _bridge(self, language: str) -> tuple[TfidfText | BagOfWords, RidgeMap, float]:
        own, english = self.stamps.texts(language), self.stamps.texts("en")
        _, mine, theirs = np.intersect1d(own.positions, english.positions, return_indices=True)
        known = cached(self.english, english)[theirs]
        signs = language[:2] in ("zh", "ja", "th", "lo")
        counts = BagOfWords(weighting="tfidf", tokens="character") if signs else TfidfText(analyzer="char_wb")
        texts = [own[int(row)] for row in mine]
        ridge = RidgeMap(1e-3).fit(counts.fit(texts).encode(texts, progress=False), known)
        return counts, ridge, float(np.linalg.norm(known - ridge.means_[1], axis=1).mean())


def words(text: str) -> list[str]:
    return [word for word in WORD.findall(text.casefold()) if len(word) > 1 or not word.isascii()]
