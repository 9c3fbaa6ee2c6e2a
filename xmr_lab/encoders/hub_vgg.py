"""VGG from safetensors: transformers has no such class, and its wrapper of timm needs timm."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from .base import BatchEncoder, fingerprint_of
from .hub_files import check_folder, read_config
from .hub_media import in_parts
from .image import on_white_square
from .text import folder_hash

__all__ = ["VggImage", "VggNetwork"]


class VggNetwork(nn.Module):
    """The convolutions of a VGG network, as deep and wide as its weights say.

    Args:
        weights: ``features.N.weight`` and ``features.N.bias`` as torchvision and timm name them. Layers are numbered
            there with the activations and poolings between them, so the numbers tell where a pooling stands: 2 on is
            the next convolution, 3 on is one after a pooling. The fully connected layers are left out.

    Raises:
        ValueError: if there are no such weights, some are missing, or they are of a variant with batch normalisation.

    References:
        Simonyan & Zisserman (2015), arXiv:1409.1556.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        found = (re.fullmatch(r"features\.(\d+)\.weight", key) for key in weights)
        numbers = sorted(int(match[1]) for match in found if match)
        steps = [after - before for before, after in pairwise(numbers)]
        shapes = [tuple(weights[f"features.{n}.weight"].shape) for n in numbers]
        if not numbers or set(steps) - {2, 3} or any(len(s) != 4 or s[2:] != (3, 3) for s in shapes):
            raise ValueError(
                "expected 3 x 3 convolutions features.0, features.2, … of a VGG without batch normalisation; "
                f"got {len(numbers)} layers of shapes {sorted(set(shapes))[:3]}"
            )
        layers: list[nn.Module] = []
        for (n_out, n_in, *_), step in zip(shapes, [*steps, 3], strict=True):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()] + [nn.MaxPool2d(2)] * (step == 3)
        self.features = nn.Sequential(*layers)
        own = {key: value.float() for key, value in weights.items() if key.startswith("features.")}
        try:
            self.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"the weights are no whole VGG network: {error}") from error

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(n, 3, side, side) -> (n, dim, side / 32, side / 32) for VGG-16."""
        return self.features(pixel_values)


class VggImage(BatchEncoder):
    """VGG-16 and its kin, the last convolution's maps averaged over the picture: 512-d for VGG-16.

    The files: safetensors, and a config.json with ``"architecture": "vgg16"`` and, if they are not ImageNet's, mean,
    deviation and size under ``pretrained_cfg``, as timm's repositories have it.

    Args:
        folder: the files.
        device: where the network computes.
    """

    modality = "image"

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        check_folder(folder)
        config = read_config(folder).get("pretrained_cfg", {})
        weights = {
            key: value for path in sorted(folder.glob("*.safetensors")) for key, value in load_file(path).items()
        }
        self.network: Any = VggNetwork(weights).eval().requires_grad_(False).to(device)
        self.device, self.side = device, int(config.get("input_size", [3, 224, 224])[-1])
        self.mean, self.std = (
            torch.tensor(config.get(name, default)).view(3, 1, 1)
            for name, default in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225)))
        )
        self.dim = next(m for m in reversed(self.network.features) if isinstance(m, nn.Conv2d)).out_channels
        self.fingerprint = fingerprint_of("VggImage", 1, folder_hash(folder))

    @property
    def tower(self) -> nn.Module:
        """The part of the network that the vectors depend on."""
        return self.network

    def prepare(self, item: Image.Image) -> dict[str, Tensor]:
        pixels = torch.tensor(np.array(on_white_square(item, self.side))).permute(2, 0, 1) / 255
        return {"pixel_values": ((pixels - self.mean) / self.std)[None]}

    def features(self, prepared: list[dict[str, Tensor]]) -> Tensor:
        """(n, dim), with gradients where the weights ask for them."""
        return self._maps(prepared).mean((2, 3))

    def _maps(self, prepared: list[dict[str, Tensor]]) -> Tensor:
        return self.network(torch.cat([each["pixel_values"] for each in prepared]).to(self.device))

    @torch.inference_mode()
    def embed(self, prepared: list[dict[str, Tensor]]) -> np.ndarray:
        parts = in_parts(prepared, self.device)
        return np.concatenate([self.features(part).float().cpu().numpy() for part in parts])

    @torch.inference_mode()
    def maps(self, items: list[Image.Image], *, batch_size: int = 32, progress: bool = True) -> np.ndarray:
        """(n, dim, height, width), what is averaged."""
        batches = self.batches(items, batch_size=batch_size, progress=progress)
        return np.concatenate([self._maps(batch).float().cpu().numpy() for batch in batches])
