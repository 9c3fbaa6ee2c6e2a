"""Pictures as histograms: of colours, of edge directions, of local patterns, and HOG, of directions place by place.

Nothing here is learnt. Colours and patterns are those of the motif: transparent pixels do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from xmr_lab.data.image import to_rgba

from .base import BatchEncoder, fingerprint_of
from .image import on_white_square

__all__ = ["HOG", "ColourHistogram", "EdgeHistogram", "TextureHistogram"]


class HOG(BatchEncoder):
    """Histograms of oriented gradients: outlines, without colour and without knowledge.

    Args:
        size: the picture is put on a white square of that many pixels.
        cell: side of a cell in pixels; blocks are of 2 x 2 cells, with 9 orientations.

    References:
        Dalal & Triggs (2005), doi:10.1109/CVPR.2005.177.
    """

    modality = "image"

    def __init__(self, *, size: int = 64, cell: int = 8) -> None:
        if size % cell or size < 2 * cell:
            raise ValueError(f"size must be a multiple of cell, at least twice it; got {size} and {cell}")
        self.size, self.cell = size, cell
        self.dim = (size // cell - 1) ** 2 * 4 * 9
        self.fingerprint = fingerprint_of("HOG", 1, size, cell)

    def prepare(self, item: Image.Image) -> np.ndarray:
        from skimage.feature import hog

        grey = np.asarray(on_white_square(item, self.size).convert("L"), dtype=np.float32)
        return hog(grey, orientations=9, pixels_per_cell=(self.cell, self.cell), cells_per_block=(2, 2))

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        return np.stack(prepared).astype(np.float32)


class Histograms(BatchEncoder):
    """Square roots of shares: the scalar product of two of them is the Bhattacharyya coefficient.

    So a histogram has length 1 by itself. A picture without a visible pixel is a row of zeros.
    """

    modality = "image"

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        counts = np.stack(prepared)
        return np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)


class ColourHistogram(Histograms):
    """How much of the motif has which colour; where, is forgotten.

    Args:
        space: ``"hsv"``: hue, saturation and value; ``"lab"``: CIELAB, where distances are as seen.
        bins: along each of the three axes.
        size: larger pictures are scaled down to so many pixels.

    References:
        Swain & Ballard (1991), doi:10.1007/BF00130487.

    Examples:
        >>> red, dark = Image.new("RGB", (9, 9), "red"), Image.new("RGBA", (9, 9), (255, 0, 0, 0))
        >>> dark.putpixel((4, 4), (255, 0, 0, 255))  # a single visible pixel
        >>> a, b = ColourHistogram().encode([red, dark])
        >>> float(a @ b)
        1.0
    """

    def __init__(
        self,
        *,
        space: Literal["hsv", "lab"] = "hsv",
        bins: Sequence[int] = (12, 3, 3),
        size: int = 128,
    ) -> None:
        if space not in ("hsv", "lab"):
            raise ValueError(f"unknown colour space {space!r}; expected hsv or lab")
        if len(bins) != 3 or min(bins) < 1 or size < 1:
            raise ValueError(f"expected three numbers of bins and a size, all at least 1; got {bins} and {size}")
        self.space, self.bins, self.size = space, tuple(bins), size
        self.dim = int(np.prod(bins))
        self.fingerprint = fingerprint_of("ColourHistogram", 1, space, self.bins, size)

    def prepare(self, item: Image.Image) -> np.ndarray:
        from skimage.color import rgb2hsv, rgb2lab

        colours, alpha = visible(item, self.size)
        if self.space == "hsv":
            values, ranges = rgb2hsv(colours), [(0, 1)] * 3
        else:
            values, ranges = rgb2lab(colours), [(0, 100), (-100, 100), (-100, 100)]
            values = np.clip(values, *np.transpose(ranges))
        return np.histogramdd(values, bins=self.bins, range=ranges, weights=alpha)[0].ravel()


class EdgeHistogram(Histograms):
    """How strong the edges are in which direction, in the whole picture and in each part of a grid.

    Args:
        bins: directions, of half a turn: light to dark or dark to light is the same.
        grid: the picture is also cut into ``grid`` x ``grid`` parts; 1 leaves it whole.
        size: the picture is put on a white square of that many pixels.

    References:
        Jain & Vailaya (1996), doi:10.1016/0031-3203(95)00160-3.
    """

    def __init__(self, *, bins: int = 16, grid: int = 1, size: int = 128) -> None:
        if min(bins, grid, size) < 1 or size % grid:
            raise ValueError(f"bins, grid and size must be at least 1, size a multiple of grid; got {bins, grid, size}")
        self.bins, self.grid, self.size = bins, grid, size
        self.dim = bins * grid**2
        self.fingerprint = fingerprint_of("EdgeHistogram", 1, bins, grid, size)

    def prepare(self, item: Image.Image) -> np.ndarray:
        from skimage.filters import sobel_h, sobel_v

        grey = np.asarray(on_white_square(item, self.size).convert("L"), np.float64)
        down, right = sobel_h(grey), sobel_v(grey)  # (size, size) each
        direction = np.arctan2(down, right) % np.pi / np.pi  # 0 to 1
        places = np.arange(self.size) * self.grid // self.size
        cells = np.stack(np.broadcast_arrays(places[:, None], places, direction), axis=-1).reshape(-1, 3)
        edges = [np.arange(self.grid + 1) - 0.5] * 2 + [np.linspace(0, 1, self.bins + 1)]
        return np.histogramdd(cells, bins=edges, weights=np.hypot(down, right).ravel())[0].ravel()


class TextureHistogram(Histograms):
    """How often which local binary pattern occurs in the motif: texture, whatever the light.

    A pixel's pattern says which of its neighbours on a circle are brighter. Only "uniform" patterns (at most
    two changes around the circle) are told apart, whatever their rotation.

    Args:
        radii: of the circles in pixels, with eight neighbours for each pixel of radius.
        size: larger pictures are scaled down to so many pixels.

    References:
        Ojala, Pietikäinen & Mäenpää (2002), doi:10.1109/TPAMI.2002.1017623.
    """

    def __init__(self, *, radii: Sequence[int] = (1, 2, 3), size: int = 128) -> None:
        if not radii or min(radii) < 1 or size < 1:
            raise ValueError(f"radii and size must be at least 1, got {radii} and {size}")
        self.radii, self.size = tuple(radii), size
        self.dim = sum(8 * radius + 2 for radius in radii)
        self.fingerprint = fingerprint_of("TextureHistogram", 1, self.radii, size)

    def prepare(self, item: Image.Image) -> np.ndarray:
        from skimage.feature import local_binary_pattern

        picture = scaled(item, self.size)
        grey = np.asarray(on_white_square(picture, max(picture.size)).convert("L"))
        alpha = np.asarray(on_black_square(picture), np.float64)
        counts = []
        for radius in self.radii:
            patterns = local_binary_pattern(grey, 8 * radius, radius, method="uniform")
            counts.append(np.bincount(patterns.astype(int).ravel(), alpha.ravel(), 8 * radius + 2))
        return np.concatenate(counts)


def scaled(item: Image.Image, size: int) -> Image.Image:
    """RGBA, its longer side at most ``size``; what hides under transparency does not bleed in."""
    on_white_square(item, 1)  # the errors of a bad picture
    picture = to_rgba(item)
    if max(picture.size) <= size:
        return picture
    picture = picture.convert("RGBa")  # colours multiplied by alpha
    picture.thumbnail((size, size), Image.Resampling.BICUBIC)
    return picture.convert("RGBA")


def visible(item: Image.Image, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours 0 to 1, (n_pixels, 3), and how much of each is to be seen, (n_pixels,)."""
    pixels = np.asarray(scaled(item, size), np.float64).reshape(-1, 4) / 255
    return pixels[:, :3], pixels[:, 3]


def on_black_square(picture: Image.Image) -> Image.Image:
    """The alpha channel, in the middle of a square."""
    side = max(picture.size)
    square = Image.new("L", (side, side))
    square.paste(picture.getchannel("A"), ((side - picture.width) // 2, (side - picture.height) // 2))
    return square
