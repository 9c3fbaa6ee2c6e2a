"""A small convolutional network, trained from scratch to name the category of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from .base import BatchEncoder, array_digest, fingerprint_of
from .image import on_white_square
from .training import from_bytes, to_bytes

__all__ = ["ConvNet"]


class ConvNet(BatchEncoder):
    """What the last layer but one of a small classifier says of a picture.

    Four convolutions of 3 x 3 with a stride of 2 and batch normalisation; the last maps are averaged.
    Random at the start, trained with AdamW and cross-entropy on the labels of the training pictures, which are
    mirrored, shifted and zoomed by chance. It knows nothing but these pictures: the opposite of transfer.

    Args:
        dim: length of a vector; the earlier layers have an eighth, a quarter and half as many channels.
        size: pictures are put on a white square of so many pixels.
        steps: of the training, one batch each, with a learning rate that rises and falls; 0 leaves the network random.
        batch_size, learning_rate, weight_decay: of the training.
        seed: of the first weights, the batches and the augmentation.

    References:
        LeCun et al. (1998), doi:10.1109/5.726791.
    """

    modality = "image"
    together = 32  # pictures the network always sees, so that rounding does not depend on the batch

    def __init__(
        self,
        dim: int = 128,
        *,
        size: int = 64,
        steps: int = 400,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.05,
        seed: int = 0,
    ) -> None:
        if dim < 8 or dim % 8 or size < 16:
            raise ValueError(f"dim must be a multiple of 8 and size at least 16, got {dim} and {size}")
        if steps < 0 or steps == 1 or batch_size < 2:
            raise ValueError(f"steps must be 0 or at least 2, and batch_size at least 2; got {steps} and {batch_size}")
        self.dim, self.size, self.steps, self.batch_size = dim, size, steps, batch_size
        self.learning_rate, self.weight_decay, self.seed = learning_rate, weight_decay, seed

    @property
    def settings(self) -> tuple[Any, ...]:
        """Decide what is learnt; see `Trainable`."""
        training = (self.steps, self.batch_size, self.learning_rate, self.weight_decay, self.seed)
        return ("ConvNet", 1, self.dim, self.size, *training)

    def fit(self, items: Sequence[Image.Image], targets: Sequence[str] | None = None) -> ConvNet:
        """Train on pictures and their labels.

        Raises:
            ValueError: if there is not one label for each picture, or fewer than two different ones.
        """
        if targets is None or len(targets) != len(items):
            raise ValueError(f"ConvNet learns from labels: expected {len(items)}, got {len(targets or ())}")
        names, codes = np.unique(np.asarray(targets, dtype=str), return_inverse=True)
        if len(names) < 2:
            raise ValueError(f"a classifier needs at least two different labels, got {names.tolist()}")
        squares = [each for batch in self.batches(items, batch_size=64, progress=False) for each in batch]
        pictures, labels = as_tensor(np.stack(squares)), torch.from_numpy(codes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._build(names.tolist())
            self._train(pictures, labels)
        return self

    def _build(self, classes: list[str]) -> None:
        widths = (3, self.dim // 8, self.dim // 4, self.dim // 2, self.dim)
        layers: list[nn.Module] = []
        for width, wider in pairwise(widths):
            layers += [nn.Conv2d(width, wider, 3, stride=2, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
        self.classes_ = classes
        self.body_ = nn.Sequential(*layers).eval()
        self.head_ = nn.Linear(self.dim, len(classes))

    def _train(self, pictures: Tensor, labels: Tensor) -> None:
        self.history_: list[float] = []
        if not self.steps:
            return
        weights = [*self.body_.parameters(), *self.head_.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
        self.body_.train()
        for _ in range(self.steps):
            rows = torch.randperm(len(labels))[: self.batch_size]
            logits = self.head_(self.body_(augmented(pictures[rows])).mean((2, 3)))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            self.history_.append(loss.item())
        self.body_.eval()

    def state(self) -> dict[str, np.ndarray]:
        """Weights and the names of the classes; see `Trainable`."""
        if not hasattr(self, "body_"):
            raise ValueError("ConvNet is not trained yet. Call fit(pictures, labels) first.")
        parts = {"body": self.body_, "head": self.head_}
        arrays = {
            f"{part}.{name}": value.numpy()
            for part, network in parts.items()
            for name, value in network.state_dict().items()
            if value.ndim  # not the number of batches seen
        }
        return {**arrays, "classes": to_bytes(self.classes_)}

    def restore(self, state: dict[str, np.ndarray]) -> ConvNet:
        """The inverse of `state`."""
        with torch.random.fork_rng(devices=[]):
            self._build(from_bytes(state["classes"]))
        for part, network in (("body.", self.body_), ("head.", self.head_)):
            own = {k.removeprefix(part): torch.from_numpy(v) for k, v in state.items() if k.startswith(part)}
            network.load_state_dict(own, strict=False)
        return self

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        return fingerprint_of("ConvNet", 1, self.settings, array_digest(self.state()))

    @property
    def n_parameters(self) -> int:
        """Weights up to the vector."""
        return sum(weight.numel() for weight in self.body_.parameters())

    def prepare(self, item: Image.Image) -> np.ndarray:
        return np.asarray(on_white_square(item, self.size))

    @torch.inference_mode()
    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        self.state()  # trained?
        vectors = []
        for start in range(0, len(prepared), self.together):
            squares = np.full((self.together, self.size, self.size, 3), 255, np.uint8)
            chunk = prepared[start : start + self.together]
            squares[: len(chunk)] = chunk
            vectors.append(self.body_(as_tensor(squares)).mean((2, 3))[: len(chunk)])
        return torch.cat(vectors).numpy()

    @torch.inference_mode()
    def predict(self, vectors: np.ndarray) -> list[str]:
        """The label of each vector that is at hand: ``encode(…, normalize=False)``."""
        return [self.classes_[i] for i in self.head_(torch.from_numpy(vectors)).argmax(1)]


def as_tensor(squares: np.ndarray) -> Tensor:
    """(n, size, size, 3) bytes as (n, 3, size, size) numbers, white 0 and black 1, so that padding is white."""
    return 1 - torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255


def augmented(pictures: Tensor) -> Tensor:
    """Each mirrored, shifted by up to an eighth and zoomed by up to a quarter, by chance; filled up with white."""
    n = len(pictures)
    zoom = torch.empty(n, 1).uniform_(0.8, 1.25)
    mirror = torch.where(torch.rand(n, 1) < 0.5, -1.0, 1.0)
    shift = torch.empty(n, 2).uniform_(-0.25, 0.25)
    zero = torch.zeros_like(zoom)
    rows = torch.cat([zoom * mirror, zero, shift[:, :1], zero, zoom, shift[:, 1:]], dim=1)
    grid = F.affine_grid(rows.reshape(n, 2, 3), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False)
