"""Models of the hub tier: ``hub:owner/name@revision``, safetensors only, no remote code."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from xmr_lab.data.audio import Audio

from .audio import RATE, mono_16k
from .base import BatchEncoder, Encoder, fingerprint_of
from .image import on_white_square
from .text import TransformerText, folder_hash

__all__ = ["HubName", "TransformerAudio", "TransformerImage", "load_hub_encoder", "parse_hub_name"]


class HubName(NamedTuple):
    repository: str
    revision: str


def parse_hub_name(name: str) -> HubName:
    """The parts of ``hub:owner/name@revision``.

    The revision is required: a name alone is another model as soon as its owner uploads one.

    Examples:
        >>> parse_hub_name("hub:openai/clip-vit-base-patch32@3d74acf")
        HubName(repository='openai/clip-vit-base-patch32', revision='3d74acf')
    """
    found = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)@([\w./-]+)", name)
    if not found:
        raise ValueError(
            f"cannot read {name!r}; expected hub:owner/name@revision, the revision a commit, tag or branch"
        )
    return HubName(*found.groups())


def load_hub_encoder(name: str, *, modality: str | None, device: str = "cpu") -> Encoder:
    """The encoder ``hub:owner/name@revision``, downloaded at first use; see `registry.load_encoder`."""
    repository, revision = parse_hub_name(name)
    if modality not in FOLDER_ENCODERS:
        raise ValueError(f"say what {name} encodes: modality='image', 'text' or 'audio'; got {modality!r}")
    return FOLDER_ENCODERS[modality](download(repository, revision), device=device)


def download(repository: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        files = ["*.safetensors", "*.json", "*.txt", "*.model"]
        return Path(snapshot_download(repository, revision=revision, allow_patterns=files))
    except (OSError, ValueError) as error:  # what the client raises if it finds no host and no copy
        raise ConnectionError(
            f"cannot download {repository} at revision {revision}: {error}. The hub tier needs a network "
            "(or a copy in its cache); the encoders of the embedded tier (encoder_names()) do not"
        ) from error


class TransformerModel(BatchEncoder):
    """A model and its preprocessor from a local folder."""

    def __init__(self, folder: Path, preprocessor: Any, *, device: str = "cpu") -> None:
        from transformers import AutoModel

        network = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self.network = network.eval().requires_grad_(False).to(device)
        self.preprocessor, self.device = preprocessor, device
        self.fingerprint = fingerprint_of(type(self).__name__, 1, folder_hash(folder))


class TransformerImage(TransformerModel):
    """A vision transformer or convolutional network; of a CLIP-like model its picture tower."""

    modality = "image"

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        from transformers import AutoImageProcessor

        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
        super().__init__(folder, processor, device=device)
        self.dim = self.embed([self.prepare(Image.new("RGB", (32, 32)))]).shape[1]

    def prepare(self, item: Image.Image) -> torch.Tensor:
        square = on_white_square(item, max(item.size) if isinstance(item, Image.Image) else 1)
        return self.preprocessor(images=square, return_tensors="pt")["pixel_values"]

    @torch.inference_mode()
    def embed(self, prepared: list[torch.Tensor]) -> np.ndarray:
        pixels = torch.cat(prepared).to(self.device)
        tower = getattr(self.network, "get_image_features", self.network)
        output = tower(pixel_values=pixels)
        pooled = getattr(output, "pooler_output", output)
        if pooled is None:
            pooled = output.last_hidden_state.mean(1)
        return pooled.flatten(1).float().cpu().numpy()


class TransformerAudio(TransformerModel):
    """A speech or sound transformer, its last hidden states averaged over time, sound by sound."""

    modality = "audio"

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        from transformers import AutoFeatureExtractor

        extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        super().__init__(folder, extractor, device=device)
        self.dim = self.embed([self.prepare(Audio(np.zeros(RATE, np.float32), RATE))]).shape[1]

    def prepare(self, item: Audio) -> torch.Tensor:
        sound = self.preprocessor(mono_16k(item), sampling_rate=RATE, return_tensors="pt")
        return next(iter(sound.values()))

    def embed(self, prepared: list[torch.Tensor]) -> np.ndarray:
        return np.stack([hidden.mean(axis=0) for hidden in self.hidden(prepared)])

    def frames(self, items: Sequence[Audio], *, batch_size: int = 32, progress: bool = True) -> list[np.ndarray]:
        """The last hidden states before they are averaged, (n_frames, dim) a sound; of wav2vec 2.0 one each 20 ms."""
        batches = self.batches(items, batch_size=batch_size, progress=progress)
        return [hidden for batch in batches for hidden in self.hidden(batch)]

    @torch.inference_mode()
    def hidden(self, prepared: list[torch.Tensor]) -> list[np.ndarray]:
        # of an encoder-decoder such as Whisper, the encoder
        body = self.network.get_encoder() if self.network.config.is_encoder_decoder else self.network
        return [body(sound.to(self.device)).last_hidden_state[0].float().cpu().numpy() for sound in prepared]


FOLDER_ENCODERS: dict[str | None, Callable[..., Encoder]] = {
    "image": TransformerImage,
    "text": TransformerText,
    "audio": TransformerAudio,
}
