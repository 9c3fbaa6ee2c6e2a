"""Networks over log-mel frames: a convolutional, a recurrent and a WaveNet one, trained on speech and its captions.

All three take a sound's frames to hidden frames, whose mean over time is the sound's vector. They learn by
contrast: from the vector, a linear layer has to find the target of the sound among those of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xmr_lab.data.audio import Audio

from .base import BatchEncoder, NamedItems, array_digest, fingerprint_of, progress_bar
from .spectral import LogMel

__all__ = ["FrameNetwork", "WaveNet"]

Architecture = Literal["cnn", "rnn", "wavenet"]


class Convolutions(nn.Module):
    """Four layers, each of which looks at five frames of the one before."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        sizes = (bands, width, width, width, width)
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 5, padding=2) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.layers)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            # what lies behind a sound's end must stay zero: the next layer looks there
            x = F.gelu(norm(layer(x * mask).transpose(1, 2)).transpose(1, 2))
        return x


class Recurrence(nn.Module):
    """A gated recurrent unit that reads the frames in order (Cho et al. 2014, arXiv:1406.1078)."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.unit = nn.GRU(bands, width, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.unit(x.transpose(1, 2))[0].transpose(1, 2)


class WaveNet(nn.Module):
    r"""Dilated causal convolutions with gates, residuals and skips: (n, bands, n_frames) -> (n, width, n_frames).

    Layer :math:`l` sees a frame and the one :math:`2^l` before it, :math:`z = \tanh(W_f * x) \odot \sigma(W_g * x)`;
    :math:`x + W_r z` goes to the next layer, the sum of all :math:`W_s z` to the output. So a hidden frame depends on
    ``receptive_field`` frames up to its own, and on no later one. The original predicts the next sample of a wave;
    this one reads frames, as its authors do for speech recognition.

    References:
        van den Oord et al. (2016), arXiv:1609.03499.
    """

    def __init__(self, bands: int, width: int, *, layers: int = 6) -> None:
        super().__init__()
        self.dilations = [2**layer for layer in range(layers)]
        self.receptive_field = 1 + sum(self.dilations)
        self.start = nn.Conv1d(bands, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 2, dilation=dilation) for dilation in self.dilations)
        self.residuals = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in self.dilations)
        self.skips = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in self.dilations)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.start(x)
        total = torch.zeros_like(x)
        for dilation, gate, residual, skip in zip(self.dilations, self.gates, self.residuals, self.skips, strict=True):
            f, g = gate(F.pad(x, (dilation, 0))).chunk(2, dim=1)  # zeros before the start, none behind the end
            z = torch.tanh(f) * torch.sigmoid(g)
            x, total = x + residual(z), total + skip(z)
        return F.relu(total)


BODIES: dict[str, type[nn.Module]] = {"cnn": Convolutions, "rnn": Recurrence, "wavenet": WaveNet}


class FrameNetwork(BatchEncoder):
    """A network over log-mel frames, trained so that a spoken sentence finds the vector of its caption.

    Args:
        architecture: ``"cnn"``, ``"rnn"`` (a GRU) or ``"wavenet"``.
        width: channels of every layer, and dimensions of a sound's vector.
        steps: batches that it is trained on, with a learning rate that rises and falls; 0 leaves it random.
        batch_size, learning_rate, temperature: of the training.
        crop: frames of a sound that a training step sees at most, at a random place.
        bands, hop: of `LogMel`.
        seed: of the first weights, the batches, the crops and the masks.

    References:
        the loss: van den Oord et al. (2018), arXiv:1807.03748; masks over time and frequency: Park et al. (2019),
        SpecAugment, arXiv:1904.08779.
    """

    modality = "audio"

    def __init__(
        self,
        architecture: Architecture = "wavenet",
        *,
        width: int = 64,
        steps: int = 200,
        batch_size: int = 64,
        learning_rate: float = 5e-3,
        temperature: float = 0.1,
        crop: int = 64,
        bands: int = 40,
        hop: int = 320,
        seed: int = 0,
    ) -> None:
        if architecture not in BODIES:
            raise ValueError(f"unknown architecture {architecture!r}; expected one of {', '.join(BODIES)}")
        if width < 1 or steps < 0 or batch_size < 2 or crop < 1 or not (temperature > 0 and learning_rate > 0):
            raise ValueError(
                "width and crop must be at least 1, steps 0, batch_size 2, temperature and learning_rate positive; "
                f"got {width}, {crop}, {steps}, {batch_size}, {temperature} and {learning_rate}"
            )
        self.architecture, self.dim, self.steps, self.batch_size = architecture, width, steps, batch_size
        self.learning_rate, self.temperature, self.crop, self.seed = learning_rate, temperature, crop, seed
        self.mel = LogMel(bands=bands, hop=hop)
        training = (steps, batch_size, learning_rate, temperature, crop, seed)
        self.settings = (1, architecture, width, *training, self.mel.fingerprint)

    def fit(
        self, items: Sequence[Audio | np.ndarray], targets: Sequence[Any] | np.ndarray | None = None
    ) -> FrameNetwork:
        """Train on sounds, or their `Frames`, and ``targets``: (n, d) vectors, such as those of their captions.

        Sounds whose targets are the same are not held against each other.

        Raises:
            ValueError: if there are no targets, they do not pair with the sounds, or hold NaN.
        """
        if targets is None:
            raise ValueError("a FrameNetwork learns from sounds and vectors: fit(sounds, vectors of their captions)")
        wanted = np.asarray(targets, np.float32)
        if wanted.ndim != 2 or len(wanted) != len(items) or len(wanted) < 2 or not np.isfinite(wanted).all():
            raise ValueError(f"expected finite targets ({len(items)}, d), two at least; got shape {wanted.shape}")
        named = NamedItems(items)
        frames = [named.call(self._frames, i) for i in range(len(named))]
        everything = np.concatenate(frames)
        self.mean_, self.scale_ = everything.mean(axis=0), everything.std(axis=0) + 1e-6
        goals = F.normalize(torch.from_numpy(wanted - wanted.mean(axis=0)), dim=1)  # (n, d)
        sounds = [torch.from_numpy((each - self.mean_) / self.scale_) for each in frames]
        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            self._build(goals.shape[1])
            if self.steps:
                self._train(sounds, goals)
        self.__dict__.pop("fingerprint", None)
        return self

    def _build(self, target_dim: int) -> None:
        body = BODIES[self.architecture](self.mel.dim, self.dim)
        self.network = nn.ModuleDict({"body": body, "head": nn.Linear(self.dim, target_dim)})

    def _train(self, sounds: list[Tensor], goals: Tensor) -> None:
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
        self.history_: list[float] = []
        self.network.train()
        partner = torch.arange(min(self.batch_size, len(sounds)))
        with progress_bar(self.steps, f"{self.architecture}: training", True, unit="step") as bar:
            for _ in range(self.steps):
                rows = torch.randperm(len(sounds))[: self.batch_size]
                x, mask = _padded([_masked(_cropped(sounds[row], self.crop)) for row in rows])
                guess = F.normalize(self.network["head"](self._pooled(x, mask)), dim=1)  # (n_batch, d)
                goal = goals[rows]
                same = (goal @ goal.T > 1 - 1e-5) & ~torch.eye(len(rows), dtype=torch.bool)
                logits = (guess @ goal.T / self.temperature).masked_fill(same, -torch.inf)
                loss = (F.cross_entropy(logits, partner) + F.cross_entropy(logits.T, partner)) / 2
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                self.history_.append(loss.item())
                bar.update()
        self.network.eval()

    def _pooled(self, x: Tensor, mask: Tensor) -> Tensor:
        """The mean of the hidden frames that are there: (n, bands, n_frames), (n, 1, n_frames) -> (n, width)."""
        hidden = self.network["body"](x, mask)
        return (hidden * mask).sum(2) / mask.sum(2)

    def prepare(self, item: Audio | np.ndarray) -> np.ndarray:
        """(n_frames, bands) standardised log-mel frames."""
        self._require_fitted()
        return (self._frames(item) - self.mean_) / self.scale_

    def _frames(self, item: Audio | np.ndarray) -> np.ndarray:
        if not isinstance(item, np.ndarray):
            return self.mel.prepare(item)
        if item.ndim != 2 or not len(item) or item.shape[1] != self.mel.dim or not np.isfinite(item).all():
            raise ValueError(f"expected finite frames (n_frames, {self.mel.dim} bands), got shape {item.shape}")
        return item.astype(np.float32, copy=False)

    @torch.inference_mode()
    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        vectors = np.empty((len(prepared), self.dim), np.float32)
        order = np.argsort([len(frames) for frames in prepared])  # sounds of like length together: little padding
        for rows in np.array_split(order, -(-len(order) // 8)):
            x, mask = _padded([torch.from_numpy(prepared[row]) for row in rows])
            vectors[rows] = self._pooled(x, mask).numpy()
        return vectors

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        self._require_fitted()
        return fingerprint_of("FrameNetwork", 1, self.settings, array_digest(self.state()))

    @property
    def n_parameters(self) -> int:
        """Of what encodes; the head is for training only."""
        self._require_fitted()
        return sum(weight.numel() for weight in self.network["body"].parameters())

    def state(self) -> dict[str, np.ndarray]:
        """Weights and means; see `Trainable`."""
        self._require_fitted()
        weights = {f"network.{name}": weight.numpy() for name, weight in self.network.state_dict().items()}
        return {**weights, "mean": self.mean_, "scale": self.scale_}

    def restore(self, state: dict[str, np.ndarray]) -> FrameNetwork:
        """The inverse of `state`."""
        self.mean_, self.scale_ = state["mean"], state["scale"]
        self._build(len(state["network.head.bias"]))
        prefix = "network."
        weights = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in state.items() if k.startswith(prefix)}
        self.network.load_state_dict(weights)
        self.network.eval()
        self.__dict__.pop("fingerprint", None)
        return self

    def _require_fitted(self) -> None:
        if not hasattr(self, "network"):
            raise ValueError("this FrameNetwork is not fitted yet. Call fit(sounds, vectors of their captions) first.")


def _cropped(frames: Tensor, length: int) -> Tensor:
    start = int(torch.randint(max(1, len(frames) - length + 1), ()))
    return frames[start : start + length]


def _masked(frames: Tensor) -> Tensor:
    """A stretch of time and one of frequency, up to a fifth of each, set to the mean (SpecAugment)."""
    frames = frames.clone()
    for axis in (0, 1):
        width = int(torch.randint(frames.shape[axis] // 5 + 1, ()))
        start = int(torch.randint(frames.shape[axis] - width + 1, ()))
        frames.narrow(axis, start, width).zero_()
    return frames


def _padded(sounds: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Sounds of different lengths as one tensor (n, bands, n_frames), and where there is any: (n, 1, n_frames)."""
    x = nn.utils.rnn.pad_sequence(sounds, batch_first=True).transpose(1, 2)
    lengths = torch.tensor([len(sound) for sound in sounds])
    return x, (torch.arange(x.shape[2]) < lengths[:, None]).float()[:, None]
