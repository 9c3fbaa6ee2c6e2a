"""A vector for each word, by LSA, Word2Vec or a pretrained encoder (GloVe: ``glove.py``); a sentence is their mean."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from .base import BatchEncoder, Encoder, array_digest, fingerprint_of
from .profile import count_parameters
from .text import checked_text
from .tokens import Tokens, tokenize
from .training import from_bytes, to_bytes

__all__ = ["LSA", "StaticWords", "Word2Vec", "WordVectors"]

Weighting = Literal["mean", "idf"]


class WordVectors(BatchEncoder):
    r"""A sentence as the (weighted) mean of its words' vectors; words that no training text has count for nothing.

    Args:
        dim: length of a vector.
        window: how many words on either side are a word's context; None for all words of the text, near or far.
            Texts of several languages joined into one are trained so: a word and its translation then share
            their contexts.
        min_count: words that occur less often get no vector.
        weighting: ``"mean"``, or ``"idf"``: rarer words weigh more, by :math:`\ln\frac{1 + n}{1 + n_w} + 1` with
            :math:`n` texts, :math:`n_w` of which hold the word.
        tokens: as in `tokenize`.
        epochs: passes over the training texts, or over their counts.
        seed: of everything drawn at random.

    References:
        Vulić & Moens (2015), doi:10.3115/v1/P15-2118, on joined texts.
    """

    modality = "text"

    def __init__(
        self,
        *,
        dim: int = 50,
        window: int | None = 5,
        min_count: int = 1,
        weighting: Weighting = "idf",
        tokens: Tokens = "word",
        epochs: int = 300,
        seed: int = 0,
    ) -> None:
        if min(dim, 1 if window is None else window, min_count, epochs) < 1:
            raise ValueError("dim, window, min_count and epochs must be at least 1 (window may be None)")
        if weighting not in ("mean", "idf"):
            raise ValueError(f"unknown weighting {weighting!r}; expected 'mean' or 'idf'")
        self.dim, self.window, self.min_count = dim, window, min_count
        self.weighting, self.tokens, self.epochs, self.seed = weighting, tokens, epochs, seed

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is learned."""
        names = ("dim", "window", "min_count", "weighting", "tokens", "epochs", "seed")
        return {"class": type(self).__name__, "version": 1, **{name: getattr(self, name) for name in names}}

    def fit(self, items: Sequence[str], targets: Sequence[Any] | None = None) -> Self:
        """Learn the words' vectors, and how rare they are, from texts.

        Raises:
            ValueError: if no word occurs ``min_count`` times.
        """
        texts = [tokenize(checked_text(item), self.tokens) for item in items]
        counts = Counter(word for text in texts for word in text)
        words = sorted((w for w in counts if counts[w] >= self.min_count), key=lambda w: (-counts[w], w))
        if not words:
            raise ValueError(f"{len(texts)} texts without a word that occurs {self.min_count} times; nothing to learn")
        known = {word: number for number, word in enumerate(words)}
        texts = [[word for word in text if word in known] for text in texts]
        holding = Counter(word for text in texts for word in set(text))
        idf = np.log((1 + len(texts)) / (1 + np.array([holding[word] for word in words]))) + 1
        self._set(words, self.learn(texts, known), idf)
        return self

    @abstractmethod
    def learn(self, texts: list[list[str]], known: dict[str, int]) -> np.ndarray:
        """(n_words, dim) vectors of the known words, from texts of known words alone."""

    def _set(self, words: list[str], vectors: np.ndarray, idf: np.ndarray) -> None:
        self.words_, self.vectors_, self.idf_ = words, vectors.astype(np.float32), idf.astype(np.float32)
        self.known_ = {word: number for number, word in enumerate(words)}
        self.__dict__.pop("fingerprint", None)

    def state(self) -> dict[str, np.ndarray]:
        """What was learned."""
        self._require_fitted()
        return {"words": to_bytes(self.words_), "vectors": self.vectors_, "idf": self.idf_}

    def restore(self, state: dict[str, np.ndarray]) -> Self:
        """Take what `state` returned."""
        self._set(from_bytes(state["words"]), state["vectors"], state["idf"])
        return self

    @property
    def n_parameters(self) -> int:
        return self.vectors_.size

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        return fingerprint_of(self.settings, array_digest(self.state()))

    def prepare(self, item: str) -> list[int]:
        self._require_fitted()
        return [self.known_[word] for word in tokenize(checked_text(item), self.tokens) if word in self.known_]

    def embed(self, prepared: list[list[int]]) -> np.ndarray:
        means = np.zeros((len(prepared), self.dim), np.float32)
        for row, numbers in enumerate(prepared):
            if numbers:
                weights = self.idf_[numbers] if self.weighting == "idf" else None
                means[row] = np.average(self.vectors_[numbers], axis=0, weights=weights)
        return means

    def nearest(self, word: str, k: int = 5) -> list[str]:
        """The ``k`` words whose vectors are at the smallest angle to that of ``word``.

        Raises:
            KeyError: if no training text holds the word.
        """
        self._require_fitted()
        if word not in self.known_:
            raise KeyError(f"{word!r} is in none of the training texts")
        units = self.vectors_ / np.linalg.norm(self.vectors_, axis=1, keepdims=True).clip(1e-12)
        order = np.argsort(-(units @ units[self.known_[word]]), kind="stable")
        return [self.words_[i] for i in order if i != self.known_[word]][:k]

    def _require_fitted(self) -> None:
        if not hasattr(self, "vectors_"):
            raise ValueError(f"{type(self).__name__} knows no words yet. Call fit(training_texts) first.")


class LSA(WordVectors):
    r"""Latent semantic analysis: the words' singular vectors of the matrix of texts and words, weighted by rarity.

    With ``weighting="idf"`` a sentence is where this method "folds in" a new text. Texts of several languages
    joined into one make it cross-language latent semantic indexing. ``window`` and ``epochs`` play no part.

    Words that occur once in texts of one shape give equal singular values; their vectors are fixed up to a rotation
    only, which may differ between machines. The angles between sentences do not.

    References:
        Deerwester et al. (1990), doi:10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9.
    """

    def learn(self, texts: list[list[str]], known: dict[str, int]) -> np.ndarray:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        if self.dim >= min(len(texts), len(known)):
            raise ValueError(
                f"dim={self.dim} must be below {len(texts)} texts and {len(known)} words: choose a smaller"
            )
        weighted = TfidfVectorizer(analyzer=list, vocabulary=known).fit_transform(texts)  # (n_texts, n_words)
        return TruncatedSVD(self.dim, algorithm="arpack", random_state=self.seed).fit(weighted).components_.T


class Word2Vec(WordVectors):
    """Skip-gram with negative sampling, by gensim: from a word, guess its neighbours among words drawn at random.

    On one thread and with a hash that does not change from run to run, so the same texts give the same vectors.

    References:
        Mikolov et al. (2013), arXiv:1301.3781 and arXiv:1310.4546.

    Examples:
        >>> encoder = Word2Vec(dim=8, epochs=5).fit(["a red apple", "a green apple", "a red rose"])
        >>> encoder.encode(["a red apple", "unknown words"]).any(axis=1).tolist()
        [True, False]
    """

    def learn(self, texts: list[list[str]], known: dict[str, int]) -> np.ndarray:
        from gensim.models import Word2Vec as Model

        longest = max(map(len, texts))
        model = Model(
            texts, vector_size=self.dim, window=self.window or longest, shrink_windows=self.window is not None,
            min_count=1, sg=1, negative=5, epochs=self.epochs, seed=self.seed + 1, workers=1,
            hashfxn=lambda word: zlib.crc32(word.encode()),
        )  # fmt: skip
        return model.wv.vectors[[model.wv.key_to_index[word] for word in known]]


class StaticWords(BatchEncoder):
    """Pretrained word vectors: a text encoder is asked for each word alone, a sentence is their (weighted) mean.

    Any word has a vector; what the encoder makes of words *together* is lost. Only how rare a word is (as in
    `WordVectors`) is learned from training texts.

    Args:
        encoder: of texts; its vectors of single words are kept in memory.
        weighting: ``"mean"`` or ``"idf"``.

    References:
        Bommasani, Davis & Cardie (2020), doi:10.18653/v1/2020.acl-main.431.
    """

    modality = "text"

    def __init__(self, encoder: Encoder, *, weighting: Weighting = "idf") -> None:
        if weighting not in ("mean", "idf"):
            raise ValueError(f"unknown weighting {weighting!r}; expected 'mean' or 'idf'")
        self.encoder, self.weighting = encoder, weighting
        self.settings = {"class": "StaticWords", "version": 1, "encoder": encoder.fingerprint, "weighting": weighting}
        self.vectors_: dict[str, np.ndarray] = {}

    @property
    def dim(self) -> int:  # type: ignore[override]
        return self.encoder.dim

    @property
    def n_parameters(self) -> int:
        """Those of the encoder, which has to be asked for each new word, and one a training word."""
        return count_parameters(self.encoder) + len(self.idf_)

    def fit(self, items: Sequence[str], targets: Sequence[Any] | None = None) -> Self:
        """Learn how rare words are."""
        texts = [set(tokenize(checked_text(item))) for item in items]
        holding = Counter(word for text in texts for word in text)
        words = sorted(holding)
        counts = np.array([*(holding[word] for word in words), 0])  # the last: words of no text
        idf = np.log((1 + len(texts)) / (1 + counts)) + 1
        return self.restore({"words": to_bytes(words), "idf": idf.astype(np.float32)})

    def state(self) -> dict[str, np.ndarray]:
        """Words and how rare they are; see `Trainable`."""
        self._require_fitted()
        return {"words": to_bytes(list(self.idf_)), "idf": np.array([*self.idf_.values(), self.unseen_], np.float32)}

    def restore(self, state: dict[str, np.ndarray]) -> Self:
        """The inverse of `state`."""
        *idf, self.unseen_ = state["idf"].tolist()
        self.idf_ = dict(zip(from_bytes(state["words"]), idf, strict=True))
        self.__dict__.pop("fingerprint", None)
        return self

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        return fingerprint_of(self.settings, array_digest(self.state()))

    def prepare(self, item: str) -> list[str]:
        self._require_fitted()
        return tokenize(checked_text(item))

    def embed(self, prepared: list[list[str]]) -> np.ndarray:
        new = sorted({word for words in prepared for word in words} - self.vectors_.keys())
        self.vectors_.update(zip(new, self.encoder.encode(new, progress=False), strict=True))
        means = np.zeros((len(prepared), self.dim), np.float32)  # of a text without words, such as "!", zero
        for row, words in enumerate(prepared):
            if words:
                weights = [self.idf_.get(word, self.unseen_) if self.weighting == "idf" else 1.0 for word in words]
                means[row] = np.average([self.vectors_[word] for word in words], axis=0, weights=weights)
        return means

    def _require_fitted(self) -> None:
        if not hasattr(self, "idf_"):
            raise ValueError("StaticWords does not know yet how rare words are. Call fit(training_texts) first.")
