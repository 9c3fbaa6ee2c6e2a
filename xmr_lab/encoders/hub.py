"""Models of the hub tier: ``hub:owner/name@revision``, safetensors only, no remote code.

What stands for an item, by family:

=====================  =====================================================================================
ResNet                 the last maps, averaged over the picture
VGG                    the same (`hub_vgg`)
ViT                    the state of the class token after the last normalisation
BERT, GPT-2            the mean of the tokens' states, padding left out
wav2vec 2.0            the mean of the frames' states, each sound by itself, so that there is no padding
Whisper                the encoder's states, averaged over the frames that hold sound
CLIP, SigLIP 1 and 2,  the projected vectors of either tower, which share a space
CLAP
=====================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .base import Encoder
from .hub_files import HubName, hub_folder, parse_hub_name, read_config
from .hub_media import TransformerAudio, TransformerImage
from .hub_text import HubText
from .hub_vgg import VggImage

__all__ = [
    "HubName",
    "HubText",
    "TransformerAudio",
    "TransformerImage",
    "hub_folder",
    "hub_modalities",
    "load_hub_encoder",
    "parse_hub_name",
]

MODALITIES = {
    "resnet": ("image",), "vgg": ("image",), "vit": ("image",), "bert": ("text",), "gpt2": ("text",),
    "wav2vec2": ("audio",), "whisper": ("audio",), "clip": ("image", "text"), "siglip": ("image", "text"),
    "siglip2": ("image", "text"), "clap": ("text", "audio"),
}  # fmt: skip
FOLDER_ENCODERS: dict[str, Callable[..., Encoder]] = {
    "image": TransformerImage,
    "text": HubText,
    "audio": TransformerAudio,
}


def load_hub_encoder(name: str, *, modality: str | None, device: str = "cpu") -> Encoder:
    """The encoder ``hub:owner/name@revision``, downloaded at first use or from ``XMR_HUB_DIR``.

    Raises:
        ValueError: if no modality is named, or the model has no tower of it; and as `hub_files.hub_folder`.
        FileNotFoundError, ConnectionError: as `hub_files.hub_folder`.
    """
    if modality is None or modality not in FOLDER_ENCODERS:
        raise ValueError(f"say what {name} encodes: modality='image', 'text' or 'audio'; got {modality!r}")
    folder = hub_folder(name)
    family, known = hub_modalities(folder)
    if modality not in known:
        raise ValueError(f"{name} is a {family} model, which encodes {' and '.join(known)}; got modality={modality!r}")
    return VggImage(folder, device=device) if family == "vgg" else FOLDER_ENCODERS[modality](folder, device=device)


def hub_modalities(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The family of a model and what it encodes; a family that is not in the list above may encode anything.

    Raises:
        ValueError: if config.json does not say which kind of model it is.
    """
    config = read_config(folder)
    family = config.get("model_type") or ("vgg" if str(config.get("architecture", "")).startswith("vgg") else None)
    if not isinstance(family, str):
        raise ValueError(f"{folder}/config.json has no model_type (of VGG: no architecture); what is it? timm's other "
                         "models need timm, which this kit does without")  # fmt: skip
    return family, MODALITIES.get(family, tuple(FOLDER_ENCODERS))
