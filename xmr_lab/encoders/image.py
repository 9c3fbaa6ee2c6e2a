"""Pictures: EfficientNet-Lite0, trained on ImageNet, read at its end or at any depth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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

__all__ = ["LAYERS", "EfficientNetLite0", "on_white_square", "split_layers"]

WHITE = (255, 255, 255)
WIDTHS = (32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320, 1280)
LAYERS = {
    name: width for name, width in zip(("stem", *(f"block{i}" for i in range(1, 17)), "head"), WIDTHS, strict=True)
}


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
    """1280 pooled features, those of an earlier layer, or the probabilities of the 1000 ImageNet classes.

    Pictures are put whole on a white square of 224 pixels and scaled as the network's authors do, by
    (x - 127) / 128: measured on Stamps, this recognises more of them than ImageNet's mean and deviation
    or a centred crop. The vectors are the same, bit for bit, whatever the batch size and the order, since
    the network always sees exactly eight pictures (the last eight filled up with white).

    References:
        Tan & Le (2019), EfficientNet, arXiv:1905.11946.
        Frome et al. (2013) and Norouzi et al. (2014), arXiv:1312.5650, for what the classes can do.
    """

    modality = "image"
    size = 224
    together = 8  # larger batches were slower here, their activations outgrow what malloc keeps

    def __init__(self, *, layer: str = "head") -> None:
        if layer not in LAYERS:
            raise ValueError(f"unknown layer {layer!r}; expected one of {', '.join(LAYERS)}")
        weights = weight("efficientnet_lite0")
        self.layer, self.dim = layer, LAYERS[layer]
        own = () if layer == "head" else (layer,)
        self.fingerprint = fingerprint_of("EfficientNetLite0", 1, weights.sha256, *own)
        self.network = network = load_network(torch.load(weights.path, map_location="cpu", weights_only=True))
        stem = nn.Sequential(network._conv_stem, network._swish)
        head = nn.Sequential(network._conv_head, network._swish)
        self.steps = [stem, *network._blocks, head][: list(LAYERS).index(layer) + 1]

    @property
    def n_parameters(self) -> int:
        """Weights up to the layer, without the classifier."""
        return sum(weight.numel() for step in self.steps for weight in step.parameters())

    def prepare(self, item: Image.Image) -> np.ndarray:
        return np.asarray(on_white_square(item, self.size))

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        means = [maps[-1].mean((2, 3))[:n] for n, maps in self.forward(prepared)]
        return torch.cat(means).numpy()

    def maps(self, items: Sequence[Image.Image], *, batch_size: int = 32, progress: bool = True) -> np.ndarray:
        """The layer's maps before they are averaged: (n, dim, height, width) float32, what is seen where."""
        batches = self.batches(items, batch_size=batch_size, progress=progress)
        return torch.cat([maps[-1][:n] for batch in batches for n, maps in self.forward(batch)]).numpy()

    def every_layer(self, items: Sequence[Image.Image], *, batch_size: int = 32, progress: bool = True) -> np.ndarray:
        """The averages of all layers up to this one, side by side, in one pass: (n, sum of their widths) float32.

        `split_layers` takes them apart.
        """
        batches = self.batches(items, batch_size=batch_size, progress=progress)
        passes = (forward for batch in batches for forward in self.forward(batch))
        return torch.cat([torch.cat([layer.mean((2, 3))[:n] for layer in maps], 1) for n, maps in passes]).numpy()

    @torch.inference_mode()
    def forward(self, prepared: list[np.ndarray]) -> Iterator[tuple[int, list[torch.Tensor]]]:
        """Eight pictures at a time: how many of them are pictures, and the maps of every layer up to this one."""
        for start in range(0, len(prepared), self.together):
            pictures = np.full((self.together, self.size, self.size, 3), 255, np.uint8)
            chunk = prepared[start : start + self.together]
            pictures[: len(chunk)] = chunk
            x = torch.from_numpy(pictures).permute(0, 3, 1, 2)  # (8, 3, 224, 224), channels last in memory
            maps = [(x.float() - 127) / 128]
            for step in self.steps:
                maps.append(step(maps[-1]))
            yield len(chunk), maps[1:]

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


def split_layers(features: np.ndarray) -> dict[str, np.ndarray]:
    """What `EfficientNetLite0.every_layer` returned, by the name of the layer.

    Examples:
        >>> layers = split_layers(np.zeros((2, 3120), "float32"))
        >>> layers["stem"].shape, layers["head"].shape
        ((2, 32), (2, 1280))
    """
    ends = np.cumsum(list(LAYERS.values()))
    if features.shape[1] not in ends:
        raise ValueError(f"expected the features of every layer, {ends[-1]} columns for all; got {features.shape}")
    parts = np.split(features, ends[ends < features.shape[1]], axis=1)
    return dict(zip(LAYERS, parts, strict=False))


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
