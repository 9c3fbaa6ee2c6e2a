"""A sound: samples and their rate, and a player when a notebook shows it."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass, replace
from math import gcd
from os import PathLike

import numpy as np
import soundfile

__all__ = ["Audio", "decode_audio"]


@dataclass(frozen=True, eq=False)
class Audio:
    """A sound.

    Attributes:
        samples: (n_samples,) or (n_samples, n_channels) float32 in [-1, 1].
        rate: sampling rate in Hz.
        encoded: the file the samples were decoded from, if any; a notebook plays it as it is.

    Examples:
        >>> tone = Audio(np.sin(np.arange(16_000) / 5).astype("float32"), 16_000)
        >>> tone.seconds, tone.resample(8_000).samples.shape
        (1.0, (8000,))
    """

    samples: np.ndarray
    rate: int
    encoded: bytes | None = None

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def mono(self) -> Audio:
        """The mean of the channels."""
        if self.samples.ndim == 1:
            return self
        return replace(self, samples=self.samples.mean(axis=1, dtype=np.float32), encoded=None)

    def resample(self, rate: int) -> Audio:
        """The same sound at ``rate`` Hz, by polyphase filtering."""
        if rate == self.rate:
            return self
        from scipy.signal import resample_poly

        common = gcd(rate, self.rate)
        samples = resample_poly(self.samples, rate // common, self.rate // common, axis=0)
        return Audio(samples.astype(np.float32), rate)

    def to_bytes(self, *, format: str = "OGG", subtype: str = "OPUS") -> bytes:
        """The sound as a file's bytes (Ogg Opus by default, which takes 8, 12, 16, 24 and 48 kHz)."""
        buffer = io.BytesIO()
        soundfile.write(buffer, self.samples, self.rate, format=format, subtype=subtype)
        return buffer.getvalue()

    def player(self, label: str = "") -> str:
        """An HTML player that needs no other file and no network."""
        source = base64.b64encode(self.encoded or self.resample(16_000).to_bytes()).decode()
        title = html.escape(label or f"sound of {self.seconds:.1f} seconds", quote=True)
        style = "height:32px;width:230px;vertical-align:middle"
        return (
            f'<audio controls preload="none" style="{style}" aria-label="{title}" '
            f'src="data:audio/ogg;base64,{source}"></audio>'
        )

    def _repr_html_(self) -> str:
        return self.player()

    def __repr__(self) -> str:
        return f"Audio({self.seconds:.1f} s, {self.rate / 1000:g} kHz)"


def decode_audio(source: bytes | str | PathLike[str], *, name: str = "") -> Audio:
    """Decode a sound file (WAV, FLAC, Ogg Vorbis or Opus, MP3), given as its path or its bytes.

    Raises:
        ValueError: if the file is empty, damaged or not a sound; the message names it.
    """
    name = name or (f"{len(source)} bytes" if isinstance(source, bytes) else str(source))
    try:
        opened = io.BytesIO(source) if isinstance(source, bytes) else source
        samples, rate = soundfile.read(opened, dtype="float32")
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: a name that ends in .raw
        raise ValueError(
            f"cannot decode {name} as a sound: {error}. Expected WAV, FLAC, Ogg (Vorbis, Opus) or MP3."
        ) from error
    if not len(samples):
        raise ValueError(f"{name} holds no samples")
    encoded = source if isinstance(source, bytes) and source[:4] == b"OggS" else None
    return Audio(samples, rate, encoded)
