"""From scratch: pixels as they are, and two small encoders that know nothing but the pairs they are trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from .base import BatchEncoder, fingerprint_of
from .image import on_white_square

__all__ = ["FromScratch", "Pixels"]


class Pixels(BatchEncoder):
    """The picture itself, small and on a white square: its colour values, 0 to 1.

    Args:
        size: side of the square in pixels.

    Examples:
        >>> Pixels(size=8).encode([Image.new("RGB", (40, 20), "black")], normalize=False)[0, :8 * 3].mean()
        np.float32(0.6666667)
    """

    modality = "image"

    def __init__(self, *, size: int = 32) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.size, self.dim = size, 3 * size * size
        self.fingerprint = fingerprint_of("Pixels", 1, size)

    def prepare(self, item: Image.Image) -> np.ndarray:
        """(3 * size * size,): red, green and blue one after the other."""
        return np.asarray(on_white_square(item, self.size), np.float32).transpose(2, 0, 1).ravel() / 255

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        return np.stack(prepared)


class FromScratch:
    r"""A small convolutional network for pictures and a vector for each word, trained together on pairs alone.

    Random at the start, trained by the symmetric InfoNCE loss; pictures are mirrored and shifted by chance. A
    sentence is the mean of its words' vectors; a word that no training sentence has counts for nothing.

    Args:
        dim: width of the shared space.
        steps: of the AdamW training, one batch each, with a learning rate that rises and falls.
        batch_size, learning_rate, weight_decay: likewise.
        temperature: of InfoNCE.
        shift: pictures are shifted by up to so many pixels.
        seed: of the first weights, the batches and the augmentation.

    References:
        the loss: van den Oord et al. (2018), arXiv:1807.03748; symmetric: Radford et al. (2021), arXiv:2103.00020.
    """

    def __init__(
        self,
        dim: int = 64,
        *,
        steps: int = 100,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.1,
        temperature: float = 0.1,
        shift: int = 3,
        seed: int = 0,
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if batch_size < 2:
            raise ValueError(f"InfoNCE compares with other rows: batch_size must be at least 2, got {batch_size}")
        if steps < 2:
            raise ValueError(f"steps must be at least 2, got {steps}")
        self.dim, self.steps, self.batch_size, self.learning_rate = dim, steps, batch_size, learning_rate
        self.weight_decay, self.temperature, self.shift, self.seed = weight_decay, temperature, shift, seed

    def fit(
        self, pixels: np.ndarray, sentences: Sequence[str], *, concepts: Sequence[object] | None = None
    ) -> FromScratch:
        """Train on pictures ``pixels`` (n, 3 * size * size), as `Pixels` gives them, and their ``sentences``.

        Args:
            concepts: (n,) pairs of the same concept are not held against each other.

        Raises:
            ValueError: if they do not pair, are fewer than two, hold NaN, or the pictures are too small.
        """
        names = np.arange(len(pixels)) if concepts is None else np.unique(np.asarray(concepts), return_inverse=True)[1]
        if not len(pixels) == len(sentences) == len(names) >= 2:
            raise ValueError(
                f"two pairs at least, with one concept each; got {len(pixels)} pictures, {len(sentences)} sentences "
                f"and {len(names)} concepts"
            )
        self.words_ = {word: i for i, word in enumerate(sorted({w for s in sentences for w in _words(s)}))}
        pictures, counts = self._pictures(pixels), self._counts(sentences)
        self.size_ = pictures.shape[-1]
        if self.size_ < 16:
            raise ValueError(f"the network needs pictures of at least 16 pixels a side, got {self.size_}")
        codes = torch.as_tensor(names)

        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            grid = ((self.size_ - 3) // 4 + 2) // 2  # side of the last feature map
            self.network_ = nn.Sequential(
                nn.Conv2d(3, 24, 5, stride=4, padding=1), nn.ReLU(),
                nn.Conv2d(24, 64, 3, stride=2, padding=1), nn.ReLU(),
                nn.Flatten(), nn.Linear(64 * grid * grid, self.dim),
            )  # fmt: skip
            self.vectors_ = nn.Parameter(0.1 * torch.randn(len(self.words_), self.dim))
            weights = [*self.network_.parameters(), self.vectors_]
            optimizer = torch.optim.AdamW(weights, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
            self.history_: list[float] = []
            for _ in range(self.steps):
                rows = torch.randperm(len(codes))[: self.batch_size]
                x = F.normalize(self.network_(self._augmented(pictures[rows])), dim=-1)  # (n_batch, dim)
                y = F.normalize(counts[rows] @ self.vectors_, dim=-1)
                others = (codes[rows, None] == codes[None, rows]) & ~torch.eye(len(rows), dtype=torch.bool)
                logits = (x @ y.T / self.temperature).masked_fill(others, -torch.inf)
                target = torch.arange(len(rows))
                loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                self.history_.append(loss.item())
        return self

    @torch.no_grad()
    def transform(self, items: np.ndarray | Sequence[str], view: int = 0) -> np.ndarray:
        """Pictures as pixels (view 0) or sentences (view 1) in the shared space: (n, dim) float32 of length 1.

        A sentence without a known word becomes a row of zeros.
        """
        if not hasattr(self, "network_"):
            raise RuntimeError("this FromScratch is not fitted yet; call fit(pixels, sentences) first")
        if view == 1:
            return F.normalize(self._counts(items) @ self.vectors_, dim=-1).numpy()
        pictures = self._pictures(np.asarray(items))
        if pictures.shape[-1] != self.size_:
            raise ValueError(f"trained on pictures of {self.size_} pixels a side, got {pictures.shape[-1]}")
        return F.normalize(self.network_(pictures), dim=-1).numpy()

    @staticmethod
    def _pictures(pixels: np.ndarray) -> Tensor:
        size = round((pixels.shape[-1] / 3) ** 0.5)
        if pixels.ndim != 2 or pixels.shape[1] != 3 * size * size or not np.isfinite(pixels).all():
            raise ValueError(f"pictures must be finite, of shape (n, 3 * size * size); got {pixels.shape}")
        return torch.as_tensor(pixels - 0.5, dtype=torch.float32).reshape(-1, 3, size, size)

    def _counts(self, sentences: Sequence[str] | np.ndarray) -> Tensor:
        """(n, n_words) the share that each known word has in each sentence."""
        counts = np.zeros((len(sentences), len(self.words_)), np.float32)
        for row, sentence in enumerate(sentences):
            for word in _words(sentence):
                if word in self.words_:
                    counts[row, self.words_[word]] += 1
        return torch.from_numpy(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))

    def _augmented(self, pictures: Tensor) -> Tensor:
        mirrored = torch.rand(len(pictures), 1, 1, 1) < 0.5
        down, right = torch.randint(-self.shift, self.shift + 1, (2,)).tolist()
        return torch.where(mirrored, pictures.flip(3), pictures).roll((down, right), (2, 3))


def _words(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence.lower())
