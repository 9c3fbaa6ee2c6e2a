"""Sound made ready for features: loudness, noise, and log-mel frames, the picture that networks look at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from xmr_lab.data.audio import Audio

from .audio import RATE, mono_16k
from .base import BatchEncoder, fingerprint_of
from .cache import cached, fingerprint_of_items

__all__ = ["Frames", "Joined", "LogMel", "denoise", "normalize_loudness"]


def normalize_loudness(audio: Audio, *, level: float = -25.0) -> Audio:
    """The sound at 16 kHz, mono, made louder or softer until its mean power has the given level.

    Silence stays silence. Nothing is clipped: what is too loud for a sample comes back above 1.

    Args:
        level: root mean square in dBFS, decibels relative to a full-scale sample of 1.

    Examples:
        >>> loud, soft = (Audio(a * np.ones(RATE, "float32"), RATE) for a in (0.5, 0.01))
        >>> [round(float(normalize_loudness(sound, level=-20).samples.max()), 3) for sound in (loud, soft)]
        [0.1, 0.1]
    """
    samples = mono_16k(audio)
    power = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    gain = 10 ** (level / 20) / power if power > 0 else 1.0
    return Audio(samples * np.float32(gain), RATE)


def denoise(audio: Audio, *, noise: Audio | None = None, threshold: float = 6.0, depth: float = 12.0) -> Audio:
    r"""Spectral gating: what is not well above the noise, frequency by frequency, is turned down.

    The gain of a cell of the spectrogram is 0 dB where its level is ``threshold`` dB above the noise's mean level in
    that frequency, ``-depth`` dB where it is not; averaged over its neighbours, so that the gate does not flutter.

    Args:
        noise: a stretch of noise alone. If None, the quietest tenth of the sound's own frames is taken for it.
        threshold: in decibels.
        depth: in decibels, positive.

    Returns:
        the sound at 16 kHz, mono, of the same length.

    Raises:
        ValueError: if ``depth`` is not positive; as `mono_16k` for damaged sounds.

    References:
        the idea, subtracting the noise's spectrum: Boll (1979), doi:10.1109/TASSP.1979.1163209.
    """
    from scipy.ndimage import uniform_filter
    from scipy.signal import istft, stft

    if not depth > 0:
        raise ValueError(f"depth is by how many decibels noise is turned down, and positive; got {depth}")
    shape = {"fs": RATE, "nperseg": 512, "noverlap": 384}
    samples = mono_16k(audio)
    wave = stft(_long_enough(samples), **shape)[2]  # (257, n_frames)
    level = np.abs(wave)
    if noise is None:
        loudness = (level**2).sum(axis=0)
        quiet = level[:, loudness <= np.quantile(loudness, 0.1)]
    else:
        quiet = np.abs(stft(_long_enough(mono_16k(noise)), **shape)[2])
    floor = quiet.mean(axis=1, keepdims=True)  # (257, 1)
    open_gate = (level > floor * 10 ** (threshold / 20)).astype(np.float64)
    share = uniform_filter(open_gate, size=(3, 5), mode="nearest")
    lowest = 10 ** (-depth / 20)
    clean = istft(wave * (lowest + (1 - lowest) * share), **shape)[1]
    return Audio(clean[: len(samples)].astype(np.float32), RATE)


def _long_enough(samples: np.ndarray) -> np.ndarray:
    return np.pad(samples, (0, max(0, 512 - len(samples))))


class LogMel(BatchEncoder):
    """Log-mel frames: how much energy each of 40 bands of the ear's scale holds, over time.

    The sound is brought to one loudness first: volunteers recorded themselves up to 30 dB apart. As an encoder,
    it is the mean of the frames: the average spectrum, the least that one can say about a sound.

    Args:
        bands: number of mel bands, triangles evenly spaced on the mel scale of Stevens, Volkmann & Newman.
        hop: samples from one frame to the next, at 16 kHz.
        floor: added to the energies before their logarithm is taken; hides noise far below the sound.

    References:
        Stevens, Volkmann & Newman (1937), doi:10.1121/1.1915893.
    """

    modality = "audio"

    def __init__(self, *, bands: int = 40, hop: int = 160, floor: float = 1e-3) -> None:
        from torchaudio.transforms import MelSpectrogram

        if bands < 1 or hop < 1 or not floor > 0:
            raise ValueError(f"bands and hop must be at least 1, floor positive; got {bands}, {hop} and {floor}")
        self.dim, self.hop, self.floor = bands, hop, floor
        self.fingerprint = fingerprint_of("LogMel", 1, bands, hop, floor)
        self.mel = MelSpectrogram(RATE, n_fft=512, win_length=400, hop_length=hop, n_mels=bands)

    def prepare(self, item: Audio) -> np.ndarray:
        """(n_frames, bands) float32."""
        energy = self.mel(torch.from_numpy(normalize_loudness(item).samples))  # (bands, n_frames)
        return torch.log(energy + self.floor).T.contiguous().numpy()

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        return np.stack([frames.mean(axis=0) for frames in prepared])

    def frames(self, items: Sequence[Audio], *, batch_size: int = 32, progress: bool = True) -> list[np.ndarray]:
        """The frames before they are averaged: (n_frames, bands) float32 for each sound."""
        return [frames for batch in self.batches(items, batch_size=batch_size, progress=progress) for frames in batch]


class Joined(Sequence):
    """Several views one after the other, as one: the same captions spoken in several languages, say.

    Examples:
        >>> both = Joined([["a", "b"], ["c"]])
        >>> len(both), list(both)
        (3, ['a', 'b', 'c'])
    """

    def __init__(self, views: Sequence[Sequence[Any]]) -> None:
        self.views = list(views)
        self.starts = np.cumsum([0, *map(len, self.views)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, i: int) -> Any:  # type: ignore[override]
        if not 0 <= i < len(self):
            raise IndexError(i)
        view = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.views[view][i - int(self.starts[view])]

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of("Joined", [fingerprint_of_items(view) for view in self.views])


class Frames(Sequence):
    """The log-mel frames of a view's sounds, which may stand for them: computed once, kept in the cache.

    Networks that are to be compared share them, ``cached_fit(network, Frames(view, network.mel), targets)``, so that
    no sound is decoded twice.
    """

    def __init__(self, items: Sequence[Audio], mel: LogMel) -> None:
        self.items, self.mel = items, mel
        self.ids = getattr(items, "ids", range(len(items)))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]
        return self.values[i]

    @cached_property
    def values(self) -> list[np.ndarray]:
        return cached(self.mel, self.items, method="frames")

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of("Frames", self.mel.fingerprint, fingerprint_of_items(self.items))
