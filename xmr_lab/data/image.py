"""A picture: its decoding, whatever its file holds, and how a notebook shows it."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

__all__ = ["decode_image", "image_html", "to_rgba"]


def decode_image(source: bytes | Path, *, name: str = "") -> Image.Image:
    """Decode a picture file, given as its path or its bytes, to RGBA, turned as its EXIF data says.

    Raises:
        ValueError: if it is damaged, truncated, not a picture, or of more than 179 million pixels.
    """
    name = name or (f"{len(source)} bytes" if isinstance(source, bytes) else str(source))
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return to_rgba(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot decode {name} as a picture: {error}") from error


def to_rgba(image: Image.Image) -> Image.Image:
    """A picture of any mode in RGBA; 16-bit grey is scaled to 8 bits, where PIL would clip it at 255."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
    return image.convert("RGBA")


def image_html(image: Image.Image, *, alt: str, height: int = 112) -> str:
    """An ``<img>`` that carries its picture with it, on white so that it reads in dark pages too."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    source = base64.b64encode(buffer.getvalue()).decode()
    style = f"height:{height}px;background:white;object-fit:contain"
    return f'<img src="data:image/webp;base64,{source}" alt="{html.escape(alt, quote=True)}" style="{style}">'
