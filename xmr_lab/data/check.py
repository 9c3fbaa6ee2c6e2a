"""Whether a file that a reader brings can be used, and if not, why."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from .audio import decode_audio

__all__ = ["PICTURES", "SOUNDS", "BrokenFile", "BrokenFiles", "fault"]

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
SOUNDS = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # and no others: Pillow runs a program for EPS
LARGEST = 200_000_000  # bytes
PIXELS = 89_000_000  # above, Pillow warns of decompression bombs
SHORTEST, LONGEST = 0.025, 600  # seconds of sound


@dataclass(frozen=True)
class BrokenFile:
    """A file that cannot be used: whose it is, in which column, its name, and why."""

    id: str
    column: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.column} {self.name!r} of item {self.id!r}: {self.reason}"


class BrokenFiles(ValueError):
    """Files that cannot be used, all of them at once.

    Attributes:
        files: which, and why.
    """

    def __init__(self, folder: str, files: list[BrokenFile], source: str = "") -> None:
        self.folder, self.files, self.source = folder, files, source
        rest = [f"… and {len(files) - 20} more"] if len(files) > 20 else []
        lines = [f"  {line}" for line in [*files[:20], *rest]]
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        if source:  # of a data set, whose lists of items can be damaged, too
            count = "1 entry" if len(files) == 1 else f"{len(files)} entries"
        leave_out = "--skip-broken, of a notebook -p skip_broken=true, in Python broken='skip'"
        remedy = f"Mend or remove them, or leave them out: {leave_out}."
        super().__init__("\n".join([f"{count} of {folder!r} cannot be used:", *lines, remedy, *source.splitlines()]))

    def __reduce__(self) -> tuple:
        return BrokenFiles, (self.folder, self.files, self.source)


def fault(modality: str, path: Path) -> str | None:
    """Why a picture (``"image"``) or sound (``"audio"``) cannot be used, or None. It is decoded for that.

    Beyond what is damaged: files of more than 200 MB, pictures of more than 89 million pixels, sounds of more than
    ten minutes or less than 25 ms or with NaN in them, sounds that were cut short.
    """
    try:
        if not (size := path.stat().st_size):
            return "is empty"
        if size > LARGEST:
            return f"has {size / 1e6:.0f} MB; at most {LARGEST / 1e6:.0f} MB are read"
        return _picture_fault(path) if modality == "image" else _sound_fault(path)
    except (OSError, ValueError, SyntaxError, soundfile.LibsndfileError) as error:
        kind = "picture" if modality == "image" else "sound"
        told = _told(path, modality) or _short(error, path)
        if "truncated" in told or "unpack" in told:  # as Pillow says it
            return "is cut short or damaged"
        return f"is not a {kind} that can be decoded ({told})"


def _picture_fault(path: Path) -> str | None:
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                return f"has {image.width} x {image.height} pixels; at most {PIXELS / 1e6:.0f} million are read"
            image.draft("RGB", (256, 256))  # a JPEG is then read to its end, but not unfolded in full
            image.load()
    except Image.DecompressionBombError:
        return f"has far too many pixels; at most {PIXELS / 1e6:.0f} million are read"
    return None


def _sound_fault(path: Path) -> str | None:
    if cut_short(path.read_bytes()):  # asked first: the decoder takes a lost end for an endless sound
        return "is cut short: its end is missing"
    if (seconds := soundfile.info(path).duration) > LONGEST:
        return f"lasts {seconds / 60:.0f} minutes; at most {LONGEST // 60} are read"
    samples = (audio := decode_audio(path)).samples
    if audio.seconds < SHORTEST:
        return f"lasts {1000 * audio.seconds:.0f} ms; at least {1000 * SHORTEST:.0f} are needed"
    return None if np.isfinite(samples).all() else "holds NaN or infinite samples"


def cut_short(data: bytes) -> bool:
    """Whether a WAV or Ogg file ends before it says it does, which the decoder passes over in silence."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        at = 12
        while at + 8 <= len(data):
            name, size = struct.unpack_from("<4sI", data, at)
            if name == b"data":  # a size of all ones says: as long as the stream lasts
                return size != 0xFFFFFFFF and at + 8 + size > len(data)
            at += 8 + size + size % 2
        return True
    if data[:4] == b"OggS" and (last := data.rfind(b"OggS")) + 27 <= len(data):
        lengths = data[last + 27 : last + 27 + data[last + 26]]
        is_last = data[last + 5] & 4
        return not is_last or last + 27 + data[last + 26] + sum(lengths) > len(data)
    return data[:4] == b"OggS"  # not even the head of its last page


def _told(path: Path, modality: str) -> str | None:
    """What a file is whose name promises something else."""
    with path.open("rb") as file:
        head = file.read(16)
    sounds, pictures = (b"OggS", b"fLaC", b"ID3"), (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
    if modality == "image" and (head.startswith(sounds) or head[8:12] == b"WAVE"):
        return "its content is a sound"
    if modality == "audio" and (head.startswith(pictures) or head[8:12] == b"WEBP"):
        return "its content is a picture"
    return "its content is a web page" if head.lstrip().lower().startswith((b"<!doc", b"<html")) else None


def _short(error: Exception, path: Path) -> str:
    """What went wrong in a line, without the path, which is named anyway."""
    words = str(error.__cause__ or error).splitlines()[0] if str(error) else type(error).__name__
    for name in (repr(str(path)), str(path)):
        words = words.replace(name, path.name)
    return words.rstrip(".")
