"""Semantic matching: a picture and a caption meet if they speak of the same class; no pair is needed."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from xmr_lab._validation import check_view, unit

__all__ = ["SemanticMatching"]


class SemanticMatching:
    r"""The log probability that a picture and a caption, each classified for itself, fall into the same class.

    A classifier gives the picture its probabilities :math:`p_c`, taken to the power :math:`\gamma` and scaled to sum 1.
    The caption t gets :math:`q_c \propto e^{\cos(t, s_c)/\tau}`, with :math:`s_c` the embedding of the name of class c.
    The score is :math:`\log \sum_c p_c q_c`. `ConSE` compares with the mean of the likely names, which may lie near
    none of them; here a caption has to be near one of the likely names. Names and captions are centred on the mean of
    the names. Nothing is learnt from pairs.

    Args:
        class_embeddings: (n_classes, d) text embeddings of the class names.
        temperature: tau; smaller values believe in the nearest names alone.
        sharpness: the exponent gamma; smaller values listen to unlikely classes of the picture more.

    References:
        Rasiwasia et al. (2010), doi:10.1145/1873951.1873987, with classifiers of both views learnt from labels; the
        caption's classifier from names alone: after CLIP, Radford et al. (2021), arXiv:2103.00020.

    Examples:
        >>> names = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # cat, dog, car
        >>> SemanticMatching(names).scores([[0.9, 0.1, 0.0]], names).round(1)
        array([[ -0.2,  -1.7, -30. ]])
    """

    def __init__(self, class_embeddings: np.ndarray, *, temperature: float = 0.05, sharpness: float = 0.7) -> None:
        names = np.asarray(class_embeddings, dtype=np.float64)
        if names.ndim != 2 or not names.size or not np.isfinite(names).all():
            raise ValueError(f"class_embeddings must be finite, of shape (n_classes, d); got {names.shape}")
        if not (temperature > 0 and sharpness > 0):
            raise ValueError(f"temperature and sharpness must be positive, got {temperature} and {sharpness}")
        self.temperature, self.sharpness = temperature, sharpness
        self.mean_ = names.mean(axis=0)
        self.names_ = unit(names - self.mean_).astype(np.float64)

    def scores(self, probabilities: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Scores of pictures with captions.

        Args:
            probabilities: (n_pictures, n_classes), not negative.
            texts: (n_texts, d) embeddings.

        Returns:
            (n_pictures, n_texts) log probabilities, at most 0.

        Raises:
            ValueError: for other widths, NaN, a negative probability or a row of zeros.
        """
        widths = len(self.names_), len(self.mean_)
        p, texts = check_view(probabilities, 0, *widths), check_view(texts, 1, *widths)
        if (p < 0).any() or not p.any(axis=1).all():
            raise ValueError("probabilities must not be negative, and not all zero in a row")
        with np.errstate(divide="ignore"):  # a class of probability 0 has no say
            log_p = self.sharpness * np.log(p)
        log_p -= logsumexp(log_p, axis=1, keepdims=True)
        log_q = unit(texts - self.mean_) @ self.names_.T / self.temperature  # (n_texts, n_classes)
        log_q -= logsumexp(log_q, axis=1, keepdims=True)
        # The largest term leaves the sum first, so that nothing underflows.
        top_p, top_q = log_p.max(axis=1, keepdims=True), log_q.max(axis=1, keepdims=True)
        total = np.exp(log_p - top_p) @ np.exp(log_q - top_q).T
        tiny = np.finfo(float).tiny
        return np.log(np.maximum(total, tiny)) + top_p + top_q.T
