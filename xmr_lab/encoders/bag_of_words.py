"""Bag of words: how often each token occurs in a text, in no order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from .base import BatchEncoder, array_digest, fingerprint_of
from .text import checked_text
from .tokens import Tokens, tokenize
from .training import from_bytes, to_bytes

__all__ = ["BagOfWords"]


class BagOfWords(BatchEncoder):
    r"""Counts of the tokens that the training texts have, as they are or the rarer the heavier.

    A text without any of them is a zero vector. (`TfidfText` counts pairs of words as well, and takes the
    logarithm of counts.)

    Args:
        weighting: ``"count"``, or ``"tfidf"``: times :math:`\ln\frac{1 + n}{1 + n_w} + 1`, with :math:`n` texts,
            :math:`n_w` of which hold the token.
        tokens: words or characters, as in `tokenize`; Chinese words are segmented.

    References:
        Spärck Jones (1972), doi:10.1108/eb026526, on weighting by rarity.

    Examples:
        >>> encoder = BagOfWords().fit(["a red apple", "a red red rose"])
        >>> encoder.terms, encoder.encode(["red, red apple"], normalize=False).tolist()
        (['a', 'apple', 'red', 'rose'], [[0.0, 1.0, 2.0, 0.0]])
    """

    modality = "text"

    def __init__(self, *, weighting: Literal["count", "tfidf"] = "count", tokens: Tokens = "word") -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        if weighting not in ("count", "tfidf") or tokens not in ("word", "character"):
            raise ValueError(f"expected 'count' or 'tfidf', of 'word' or 'character'; got {weighting!r}, {tokens!r}")
        self.settings = ("BagOfWords", 1, weighting, tokens)
        self.weighting = weighting
        self.vectorizer = CountVectorizer(analyzer=partial(tokenize, tokens=tokens))

    def fit(self, items: Sequence[str], targets: Sequence[Any] | None = None) -> BagOfWords:
        """Learn the vocabulary, and how rare each token is, from training texts."""
        counts = self.vectorizer.fit_transform([checked_text(item) for item in items])  # (n, n_terms), sparse
        weights = np.ones(counts.shape[1])
        if self.weighting == "tfidf":
            weights = np.log((1 + len(items)) / (1 + (counts > 0).sum(axis=0).A1)) + 1
        self.weights_ = weights.astype(np.float32)
        self.__dict__.pop("fingerprint", None)
        return self

    @property
    def terms(self) -> list[str]:
        """The tokens, one a dimension."""
        if not hasattr(self, "weights_"):
            raise ValueError("BagOfWords knows no words yet. Call fit(training_texts) first.")
        return self.vectorizer.get_feature_names_out().tolist()

    @property
    def dim(self) -> int:  # type: ignore[override]
        return len(self.terms)

    def state(self) -> dict[str, np.ndarray]:
        """Terms and their weights; see `Trainable`."""
        return {"terms": to_bytes(self.terms), "weights": self.weights_}

    def restore(self, state: dict[str, np.ndarray]) -> BagOfWords:
        """The inverse of `state`."""
        self.vectorizer.vocabulary_ = {term: i for i, term in enumerate(from_bytes(state["terms"]))}
        self.weights_ = state["weights"]
        self.__dict__.pop("fingerprint", None)
        return self

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        return fingerprint_of(self.settings, array_digest(self.state()))

    def prepare(self, item: str) -> str:
        return checked_text(item)

    def embed(self, prepared: list[str]) -> np.ndarray:
        return self.vectorizer.transform(prepared).toarray() * self.weights_
