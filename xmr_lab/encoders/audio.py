"""Sounds: Google's speech_embedding, a small network trained on spoken words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import torch

from xmr_lab.data.audio import Audio

from .base import BatchEncoder, fingerprint_of
from .weights import weight

__all__ = ["SpeechEmbedding", "mono_16k"]

RATE = 16_000
SHORTEST = 400  # samples: one spectrogram frame, 25 ms
WINDOW, STEP = 76, 8  # spectrogram frames of 10 ms: a window of 775 ms, one each 80 ms
WINDOW_SAMPLES = 160 * (WINDOW + 3)

Pooling = Literal["mean", "mean_std", "mean_max"]


def mono_16k(audio: Audio) -> np.ndarray:
    """The samples at 16 kHz, channels averaged: (n_samples,) float32, nominally in [-1, 1].

    Raises:
        TypeError: if it is not an `Audio` of floating point samples.
        ValueError: if it holds NaN or infinity, or less than 25 ms.

    Examples:
        >>> mono_16k(Audio(np.zeros((44_100, 2), dtype="float32"), 44_100)).shape
        (16000,)
    """
    if not isinstance(audio, Audio):
        raise TypeError(f"expected xmr_lab.data.Audio, got {type(audio).__name__}")
    if not np.issubdtype(audio.samples.dtype, np.floating):
        raise TypeError(f"expected float samples in [-1, 1], got {audio.samples.dtype}")
    if len(audio.samples) * RATE < SHORTEST * audio.rate:
        raise ValueError(f"expected at least 25 ms of sound, got {1000 * audio.seconds:.0f} ms")
    if not np.isfinite(audio.samples).all():
        raise ValueError("the sound holds NaN or infinite samples")
    return audio.mono().resample(RATE).samples.astype(np.float32, copy=False)


class SpeechEmbedding(BatchEncoder):
    """96 features for each window of 775 ms, one every 80 ms, pooled over a sound's windows.

    Made for spotting spoken words, trained on English; sounds that are not speech are outside what it
    learned. A sound shorter than one window is put in the middle of silence of that length. The
    spectrogram is computed sound by sound (its floor is 80 dB below the sound's own loudest bin) and
    the windows in batches; the vectors are the same, bit for bit, whatever the batch size and order.

    Args:
        pooling: over the windows: their ``"mean"`` (96-d), or with it their standard deviation
            (``"mean_std"``) or their maximum (``"mean_max"``), 192-d. From Spanish speech to English captions
            the three did equally well, so the default is the shortest.

    References:
        Lin et al. (2020), arXiv:2002.01322.
    """

    modality = "audio"

    def __init__(self, *, pooling: Pooling = "mean") -> None:
        if pooling not in ("mean", "mean_std", "mean_max"):
            raise ValueError(f"unknown pooling {pooling!r}; expected mean, mean_std or mean_max")
        spectrogram, embedding = weight("speech_melspectrogram"), weight("speech_embedding")
        self.pooling = pooling
        self.dim = 96 if pooling == "mean" else 192
        self.fingerprint = fingerprint_of("SpeechEmbedding", 1, spectrogram.sha256, embedding.sha256, pooling)
        self.n_parameters = (spectrogram.path.stat().st_size + embedding.path.stat().st_size) // 4  # about
        self.spectrogram, self.windows = session(spectrogram.path), session(embedding.path)

    def prepare(self, item: Audio) -> np.ndarray:
        """(n_windows, 76, 32, 1) windows of the log-mel spectrogram."""
        samples = mono_16k(item)
        missing = max(0, WINDOW_SAMPLES - len(samples))
        samples = np.pad(samples, (missing // 2, missing - missing // 2)) * np.float32(32767)  # int16's range
        mel = self.spectrogram.run(None, {"input": samples[None]})[0][0, 0] / 10 + 2  # (n_frames, 32)
        windows = np.lib.stride_tricks.sliding_window_view(mel, WINDOW, axis=0)[::STEP]
        return windows.transpose(0, 2, 1)[..., None]

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        return np.stack([self.pool(frames) for frames in self.embed_windows(prepared)])

    def embed_windows(self, prepared: list[np.ndarray]) -> list[np.ndarray]:
        stacked = np.ascontiguousarray(np.concatenate(prepared))
        vectors = self.windows.run(None, {"input_1": stacked})[0].reshape(len(stacked), 96)
        return np.split(vectors, np.cumsum([len(windows) for windows in prepared])[:-1])

    def pool(self, frames: np.ndarray) -> np.ndarray:
        mean = frames.mean(axis=0)
        if self.pooling == "mean":
            return mean
        spread = frames.std(axis=0) if self.pooling == "mean_std" else frames.max(axis=0)
        return np.concatenate([mean, spread])

    def frames(self, items: Sequence[Audio], *, batch_size: int = 32, progress: bool = True) -> list[np.ndarray]:
        """The windows' vectors before pooling: (n_windows, 96) float32 for each sound."""
        batches = self.batches(items, batch_size=batch_size, progress=progress)
        return [frames for batch in batches for frames in self.embed_windows(batch)]


def session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX session on as many threads as torch has, which do not burn the processor while they wait."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
