"""Augmentation: more training examples out of those at hand. Pictures, sentences, sequences of frames, and pairs.

Every function leaves its input as it is, returns the same kind of thing, and draws from ``rng`` alone.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

__all__ = ["augment_image", "drop_words", "mixup", "spec_augment"]


def augment_image(
    image: Image.Image, *, rng: np.random.Generator, crop: float = 0.6, flip: float = 0.5, jitter: float = 0.3
) -> Image.Image:
    """A part of the picture, perhaps mirrored, its colours changed a little; size, mode and transparency stay.

    Args:
        image: RGB or RGBA.
        rng: what decides.
        crop: the smallest share of the area that is kept, in (0, 1]; the part is scaled back to the full size.
        flip: probability of mirroring left and right. 0 where the side matters: texts, left and right shoes.
        jitter: brightness, contrast and saturation are multiplied by a factor from ``1 ± jitter`` each.

    Raises:
        ValueError: for another mode, or an argument out of range.

    References:
        the crop, called inception style: Szegedy et al. (2015), arXiv:1409.4842.

    Examples:
        >>> picture = Image.new("RGBA", (40, 30), "red")
        >>> augment_image(picture, rng=np.random.default_rng(0)).size
        (40, 30)
    """
    if image.mode not in ("RGB", "RGBA"):
        raise ValueError(f"expected an RGB or RGBA picture, got mode {image.mode}; use image.convert('RGBA')")
    if not (0 < crop <= 1 and 0 <= flip <= 1 and 0 <= jitter < 1):
        raise ValueError(f"need 0 < crop <= 1, 0 <= flip <= 1 and 0 <= jitter < 1, got {crop}, {flip} and {jitter}")
    side = np.sqrt(rng.uniform(crop, 1))
    width, height = side * image.width, side * image.height
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    part = image.resize(image.size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if rng.random() < flip:
        part = ImageOps.mirror(part)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        part = enhance(part).enhance(rng.uniform(1 - jitter, 1 + jitter))
    return part


def drop_words(text: str, *, rng: np.random.Generator, rate: float = 0.2) -> str:
    """The sentence without some of its words, each left out with probability ``rate``; one word always stays.

    References:
        Wei & Zou (2019), EDA, arXiv:1901.11196.

    Examples:
        >>> drop_words("A small brown dog.", rng=np.random.default_rng(1), rate=0.3)
        'A small dog.'
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must lie in [0, 1), got {rate}")
    words = text.split()
    if not words:
        raise ValueError("there is no word in the text")
    keep = rng.random(len(words)) >= rate
    keep[rng.integers(len(words))] |= not keep.any()
    return " ".join(word for word, kept in zip(words, keep, strict=True) if kept)


def spec_augment(
    frames: np.ndarray,
    *,
    rng: np.random.Generator,
    time: float = 0.2,
    frequency: float = 0.0,
    masks: int = 2,
) -> np.ndarray:
    r"""SpecAugment: blocks of frames, and blocks of channels, are replaced by the mean of the sequence.

    Each mask covers a share drawn from :math:`U(0, \text{time})` of the frames (likewise of the channels), at a
    random place; masks may overlap. The warping of time, which the authors found to help least, is left out.

    Args:
        frames: (n_frames, n_channels), a spectrogram or a sequence of vectors.
        rng: what decides.
        time, frequency: the largest share of one mask, in [0, 1].
        masks: how many of each kind.

    Returns:
        (n_frames, n_channels), the same type.

    Raises:
        ValueError: for an empty, misshapen or non-finite sequence, or an argument out of range.

    References:
        Park et al. (2019), doi:10.21437/Interspeech.2019-2680, arXiv:1904.08779.
    """
    frames = np.array(frames)
    if frames.ndim != 2 or not frames.size or not np.isfinite(frames).all():
        raise ValueError(f"frames must be finite, of shape (n_frames, n_channels); got {frames.shape}")
    if not (0 <= time <= 1 and 0 <= frequency <= 1 and masks >= 0):
        raise ValueError(f"need shares in [0, 1] and masks >= 0, got {time}, {frequency} and {masks}")
    mean = frames.mean(axis=0)
    for axis, share in ((0, time), (1, frequency)):
        length = frames.shape[axis]
        for _ in range(masks if share else 0):
            width = round(rng.uniform(0, share) * length)
            start = rng.integers(length - width + 1)
            block = slice(start, start + width)
            if axis == 0:
                frames[block] = mean
            else:
                frames[:, block] = mean[block]
    return frames


def mixup(
    x: np.ndarray, y: np.ndarray, *, rng: np.random.Generator, alpha: float = 0.2, n: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""Pairs between pairs: :math:`(\lambda x_i + (1-\lambda) x_j, \lambda y_i + (1-\lambda) y_j)`.

    Both sides are mixed by the same :math:`\lambda \sim \operatorname{Beta}(\alpha, \alpha)`. For a linear map
    fitted by least squares this changes nothing but the weight of the loss: with centred pairs, its expectation is
    the usual loss times :math:`E[\lambda^2 + (1-\lambda)^2] = \tfrac{\alpha+1}{2\alpha+1}`.

    Args:
        x, y: (n_pairs, d_x) and (n_pairs, d_y).
        rng: what decides.
        alpha: small values stay close to the given pairs, 1 draws evenly between them.
        n: how many new pairs; as many as there are by default.

    Returns:
        (n, d_x) and (n, d_y).

    Raises:
        ValueError: if they do not pair, hold NaN, or an argument is out of range.

    References:
        Zhang et al. (2018), arXiv:1710.09412.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(f"x and y must be paired row by row, got the shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("x or y holds NaN or infinity")
    n = len(x) if n is None else n
    if not (alpha > 0 and n >= 1):
        raise ValueError(f"need alpha > 0 and n >= 1, got {alpha} and {n}")
    share = rng.beta(alpha, alpha, size=(n, 1)).astype(x.dtype)
    i, j = rng.integers(len(x), size=(2, n))
    return share * x[i] + (1 - share) * x[j], share * y[i] + (1 - share) * y[j]
