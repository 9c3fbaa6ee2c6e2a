"""GloVe: word vectors by weighted factorisation of the logarithms of co-occurrence counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from scipy import sparse

from .tokens import Tokens
from .word_vectors import Weighting, WordVectors

__all__ = ["GloVe", "cooccurrences", "glove_loss"]


class GloVe(WordVectors):
    r"""Vectors whose scalar products are the logarithms of how often two words occur together.

    Minimises `glove_loss` over vectors :math:`w` and biases :math:`b` of words, and :math:`\tilde w, \tilde b` of
    contexts, by AdaGrad on all counts at once; a word's vector is :math:`w + \tilde w`.

    Args:
        x_max: counts from here on weigh the same. The paper's 100 is for corpora of billions of words.
        learning_rate: of AdaGrad.
        dim, window, min_count, weighting, tokens, epochs, seed: as in `WordVectors`.

    Attributes:
        history_: the loss before each step.

    References:
        Pennington, Socher & Manning (2014), doi:10.3115/v1/D14-1162.
    """

    def __init__(
        self,
        *,
        dim: int = 50,
        window: int | None = 5,
        min_count: int = 1,
        weighting: Weighting = "idf",
        tokens: Tokens = "word",
        epochs: int = 100,
        seed: int = 0,
        x_max: float = 10.0,
        learning_rate: float = 0.3,
    ) -> None:
        super().__init__(
            dim=dim, window=window, min_count=min_count, weighting=weighting, tokens=tokens, epochs=epochs, seed=seed
        )
        if not (x_max > 0 and learning_rate > 0):
            raise ValueError(f"x_max and learning_rate must be positive, got {x_max} and {learning_rate}")
        self.x_max, self.learning_rate = x_max, learning_rate

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "x_max": self.x_max, "learning_rate": self.learning_rate}

    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "history": self.history_}

    def restore(self, state: dict[str, np.ndarray]) -> Self:
        self.history_ = state["history"]
        return super().restore(state)

    def learn(self, texts: list[list[str]], known: dict[str, int]) -> np.ndarray:
        counts = cooccurrences([[known[word] for word in text] for text in texts], len(known), window=self.window)
        rng, shape = np.random.default_rng(self.seed), (len(known), self.dim)
        parameters = [(rng.random(shape) - 0.5) / self.dim for _ in range(2)] + [np.zeros(len(known))] * 2
        squares = [np.ones_like(each) for each in parameters]
        history = []
        for _ in range(self.epochs):
            loss, gradients = glove_loss(counts, *parameters, x_max=self.x_max)
            history.append(loss)
            squares = [total + gradient**2 for total, gradient in zip(squares, gradients, strict=True)]
            parameters = [
                each - self.learning_rate * gradient / np.sqrt(total)
                for each, gradient, total in zip(parameters, gradients, squares, strict=True)
            ]
        self.history_ = np.array(history)
        return parameters[0] + parameters[1]


def cooccurrences(texts: Sequence[Sequence[int]], n_words: int, *, window: int | None = 5) -> sparse.csr_array:
    r"""How often two words occur together: (n_words, n_words), symmetric.

    Two words :math:`d` apart count :math:`1/d` if that is at most ``window``; with ``window=None`` any two of a text
    count 1, however far apart.

    Examples:
        >>> cooccurrences([[0, 1, 2]], 3, window=2).toarray()
        array([[0. , 1. , 0.5],
               [1. , 0. , 1. ],
               [0.5, 1. , 0. ]])
    """
    pairs: dict[tuple[int, int], float] = defaultdict(float)
    for text in texts:
        for here, word in enumerate(text):
            for distance, other in enumerate(text[here + 1 :][:window], 1):
                share = 1.0 if window is None else 1 / distance
                pairs[word, other] += share
                pairs[other, word] += share
    rows, columns = np.array(list(pairs), int).reshape(-1, 2).T
    return sparse.coo_array((list(pairs.values()), (rows, columns)), shape=(n_words, n_words)).tocsr()


def glove_loss(
    counts: sparse.csr_array, w: np.ndarray, v: np.ndarray, b: np.ndarray, c: np.ndarray, *, x_max: float = 100.0
) -> tuple[float, list[np.ndarray]]:
    r"""GloVe's objective and its gradients with respect to ``w``, ``v``, ``b`` and ``c``.

    .. math:: \sum_{ij:\, X_{ij} > 0} f(X_{ij}) (w_i \cdot v_j + b_i + c_j - \ln X_{ij})^2,
              \qquad f(x) = \min(1, (x / x_{max})^{3/4})

    Args:
        counts: :math:`X`, (n, n).
        w, v: (n, dim) vectors of words and of contexts.
        b, c: (n,) their biases.
        x_max: counts from here on weigh the same.

    References:
        Pennington, Socher & Manning (2014), doi:10.3115/v1/D14-1162, equations 8 and 9.
    """
    x = counts.tocoo()
    rows, columns = x.coords
    error = np.einsum("ij,ij->i", w[rows], v[columns]) + b[rows] + c[columns] - np.log(x.data)
    weighted = np.minimum(1, (x.data / x_max) ** 0.75) * error
    slope = sparse.csr_array((2 * weighted, (rows, columns)), shape=x.shape)
    return float(weighted @ error), [slope @ v, slope.T @ w, slope.sum(axis=1), slope.sum(axis=0)]
