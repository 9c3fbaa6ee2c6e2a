"""What came before learned features: TF-IDF and MFCC statistics (for pictures: histograms, visual words)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from xmr_lab.data.audio import Audio

from .audio import RATE, mono_16k
from .base import BatchEncoder, fingerprint_of
from .text import checked_text
from .training import from_bytes, to_bytes

__all__ = ["MfccStatistics", "TfidfText"]


class TfidfText(BatchEncoder):
    """Counts of words or of character n-grams, the rarer in the training texts the heavier.

    A text without any known word is a zero vector.

    Args:
        analyzer: ``"word"`` for words and pairs of them; ``"char_wb"`` for 2 to 4 characters within
            words, which forgives inflection and misspelling.
        max_features: only so many of the most frequent terms.

    Examples:
        >>> encoder = TfidfText().fit(["a red apple", "a green apple"])
        >>> red, green = encoder.encode(["red apple", "green apple"])
        >>> bool(red @ green < 1), encoder.dim
        (True, 5)
    """

    modality = "text"

    def __init__(self, *, analyzer: Literal["word", "char_wb"] = "word", max_features: int = 4096) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        span = (1, 2) if analyzer == "word" else (2, 4)
        self.settings = (analyzer, span, max_features)
        self.vectorizer = TfidfVectorizer(
            analyzer=analyzer, ngram_range=span, max_features=max_features, sublinear_tf=True, norm=None
        )

    def fit(self, items: Sequence[str], targets: None = None) -> TfidfText:
        """Learn vocabulary and weights from training texts."""
        self.vectorizer.fit(list(items))
        self.__dict__.pop("fingerprint", None)
        return self

    def state(self) -> dict[str, np.ndarray]:
        """Terms and their weights; see `Trainable`."""
        return {"terms": to_bytes(self.terms), "idf": self.vectorizer.idf_}

    def restore(self, state: dict[str, np.ndarray]) -> TfidfText:
        """The inverse of `state`."""
        self.vectorizer.vocabulary_ = {term: i for i, term in enumerate(from_bytes(state["terms"]))}
        self.vectorizer.idf_ = state["idf"]
        self.__dict__.pop("fingerprint", None)
        return self

    @property
    def dim(self) -> int:  # type: ignore[override]
        return len(self.terms)

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        return fingerprint_of("TfidfText", 1, self.settings, self.terms, self.vectorizer.idf_.tolist())

    @property
    def terms(self) -> list[str]:
        if not hasattr(self.vectorizer, "vocabulary_"):
            raise ValueError("TfidfText knows no words yet. Call fit(training_texts) first.")
        return self.vectorizer.get_feature_names_out().tolist()

    def prepare(self, item: str) -> str:
        return checked_text(item)

    def embed(self, prepared: list[str]) -> np.ndarray:
        return self.vectorizer.transform(prepared).toarray()


class MfccStatistics(BatchEncoder):
    """Mean and deviation, over the frames of a sound, of its cepstrum and of the cepstrum's change.

    Args:
        coefficients: how many of the mel-frequency cepstral coefficients.

    References:
        Davis & Mermelstein (1980), doi:10.1109/TASSP.1980.1163420.
    """

    modality = "audio"

    def __init__(self, *, coefficients: int = 20) -> None:
        from torchaudio.transforms import MFCC

        self.dim = 4 * coefficients
        self.fingerprint = fingerprint_of("MfccStatistics", 1, coefficients)
        spectrogram = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 40}
        self.mfcc = MFCC(RATE, n_mfcc=coefficients, melkwargs=spectrogram)

    def prepare(self, item: Audio) -> np.ndarray:
        import torch
        from torchaudio.functional import compute_deltas

        mfcc = self.mfcc(torch.from_numpy(mono_16k(item)))  # (coefficients, n_frames)
        parts = [part.numpy() for part in (mfcc, compute_deltas(mfcc))]
        return np.concatenate([statistic for part in parts for statistic in (part.mean(1), part.std(1))])

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        return np.stack(prepared)
