"""Pictures: EfficientNet-Lite0, trained on ImageNet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xmr_lab.data.image import to_rgba

from .base import BatchEncoder, fingerprint_of
from .weights import weight

__all__ = ["EfficientNetLite0", "on_white_square"]

WHITE = (255, 255, 255)


def on_white_square(image: Image.Image, size: int) -> Image.Image:
    """The whole picture, its shape kept, in the middle of a white square, transparent parts white.

    Args:
        image: of any mode.
        size: side of the square in pixels; larger and smaller pictures are scaled (bicubic) to fit.

    Returns:
        an RGB picture of ``size`` x ``size``.

    Raises:
        TypeError: if it is not a picture.
        ValueError: if its file is damaged or it has no pixels.

    Examples:
        >>> square = on_white_square(Image.new("RGBA", (20, 10), (255, 0, 0, 255)), 8)
        >>> square.getpixel((4, 0)), square.getpixel((4, 4))
        ((255, 255, 255), (255, 0, 0))
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"expected a PIL picture, got {type(image).__name__}")
    if 0 in image.size:
        raise ValueError(f"the picture has no pixels: {image.width} x {image.height}")
    try:
        rgba = to_rgba(image)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"cannot decode the picture: {error}") from error
    # White first, then scale: the colour under a transparent edge must not bleed in.
    picture = Image.new("RGB", rgba.size, WHITE)
    picture.paste(rgba, mask=rgba.getchannel("A"))
    scale = size / max(rgba.size)
    picture = picture.resize([max(1, round(side * scale)) for side in rgba.size], Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size), WHITE)
    square.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return square


class EfficientNetLite0(BatchEncoder):
    """1280 pooled features, or the probabilities of the 1000 ImageNet classes.

    Pictures are put whole on a white square of 224 pixels and scaled as the network's authors do, by
    (x - 127) / 128: measured on Stamps, this recognises more of them than ImageNet's mean and deviation
    or a centred crop. The vectors are the same, bit for bit, whatever the batch size and the order, since
    the network always sees exactly eight pictures (the last eight filled up with white).

    References:
        Tan & Le (2019), EfficientNet, arXiv:1905.11946.
        Frome et al. (2013) and Norouzi et al. (2014), arXiv:1312.5650, for what the classes can do.
    """

    modality = "image"
    dim = 1280
    size = 224
    together = 8  # larger batches were slower here, their activations outgrow what malloc keeps

    def __init__(self) -> None:
        weights = weight("efficientnet_lite0")
        self.fingerprint = fingerprint_of("EfficientNetLite0", 1, weights.sha256)
        self.network = load_network(torch.load(weights.path, map_location="cpu", weights_only=True))

    def prepare(self, item: Image.Image) -> np.ndarray:
        return np.asarray(on_white_square(item, self.size))

    @torch.inference_mode()
    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        features = []
        for start in range(0, len(prepared), self.together):
            pictures = np.full((self.together, self.size, self.size, 3), 255, np.uint8)
            chunk = prepared[start : start + self.together]
            pictures[: len(chunk)] = chunk
            x = torch.from_numpy(pictures).permute(0, 3, 1, 2)  # (8, 3, 224, 224), channels last in memory
            maps = self.network.extract_features((x.float() - 127) / 128)  # (8, 1280, 7, 7)
            features.append(maps.mean((2, 3))[: len(chunk)])
        return torch.cat(features).numpy()

    def class_probabilities(
        self, items: Sequence[Image.Image], *, batch_size: int = 32, progress: bool = True
    ) -> np.ndarray:
        """(n, 1000) float32, rows summing to 1, in the order of `class_names`."""
        return self.classify(self.encode(items, batch_size=batch_size, normalize=False, progress=progress))

    def classify(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities from features that are at hand: ``encode(…, normalize=False)``.

        Args:
            features: (n, 1280), not normalised.

        Returns:
            (n, 1000) float32.
        """
        head = self.network._fc
        # In double precision, so that rounding does not depend on how many rows there are.
        logits = features.astype(np.float64) @ head.weight.double().numpy().T + head.bias.double().numpy()
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)

    @cached_property
    def class_names(self) -> list[str]:
        """The 1000 names, told apart where a word has two senses: ``"kite (bird of prey)"``."""
        return json.loads(weight("imagenet_class_names").path.read_text(encoding="utf-8"))


def load_network(state: dict[str, torch.Tensor]) -> Any:
    """The network with its batch normalisation folded into the convolutions (about twice as fast)."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(state)
    network.eval()
    fold(network, "_conv_stem", "_bn0")
    fold(network, "_conv_head", "_bn1")
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            fold(block, "_expand_conv", "_bn0")
        fold(block, "_depthwise_conv", "_bn1")
        fold(block, "_project_conv", "_bn2")
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


def fold(module: nn.Module, convolution: str, normalisation: str) -> None:
    fused = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, normalisation))
    setattr(module, convolution, fused)
    setattr(module, normalisation, nn.Identity())
