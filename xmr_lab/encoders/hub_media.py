"""Pictures and sounds through a model of the hub tier, from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from xmr_lab.data.audio import Audio

from .audio import RATE, mono_16k
from .base import BatchEncoder, fingerprint_of
from .hub_files import check_folder, load_network, load_preprocessor
from .image import on_white_square
from .text import folder_hash

__all__ = ["TransformerAudio", "TransformerImage", "in_parts", "own_part", "vectors_of"]

CPU_BATCH = 4  # its caches hold no more: with 32 pictures at once a small ResNet took 1.6 times as long


class TransformerModel(BatchEncoder):
    """A model and its preprocessor from a local folder."""

    def __init__(self, folder: Path, preprocessor: Any, *, device: str = "cpu") -> None:
        check_folder(folder)
        self.network = load_network(folder).to(device)
        self.preprocessor, self.device = preprocessor, device
        self.fingerprint = fingerprint_of(type(self).__name__, 2, folder_hash(folder))

    @property
    def tower(self) -> nn.Module:
        """The part of the network that the vectors depend on: of CLIP and its like, this modality's."""
        return own_part(self.network, "vision" if self.modality == "image" else self.modality)

    def features(self, prepared: list[Any]) -> Tensor:
        """(n, dim), with gradients where the weights ask for them."""
        raise NotImplementedError

    @torch.inference_mode()
    def embed(self, prepared: list[Any]) -> np.ndarray:
        parts = in_parts(prepared, self.device)
        return np.concatenate([self.features(part).float().cpu().numpy() for part in parts])


class TransformerImage(TransformerModel):
    """A vision transformer or convolutional network; of a CLIP-like model its picture tower."""

    modality = "image"

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        super().__init__(folder, load_preprocessor(folder, "AutoImageProcessor", backend="pil"), device=device)
        self.dim = self.embed([self.prepare(Image.new("RGB", (32, 32)))]).shape[1]

    def prepare(self, item: Image.Image) -> dict[str, Tensor]:
        square = on_white_square(item, max(item.size) if isinstance(item, Image.Image) else 1)
        return dict(self.preprocessor(images=square, return_tensors="pt"))

    def _inputs(self, prepared: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {key: torch.cat([each[key] for each in prepared]).to(self.device) for key in prepared[0]}

    def features(self, prepared: list[dict[str, Tensor]]) -> Tensor:
        inputs = self._inputs(prepared)
        if hasattr(self.network, "get_image_features"):
            return vectors_of(self.network.get_image_features(**inputs))
        output = self.network(**inputs)
        hidden = output.last_hidden_state
        if self.network.config.model_type == "vit":
            return hidden[:, 0]  # a pooler is not in every file, and without one transformers draws its weights
        if getattr(output, "pooler_output", None) is not None and self.network.has_pooler_:
            return output.pooler_output.flatten(1)
        return hidden.mean((2, 3)) if hidden.ndim == 4 else hidden.mean(1)

    @torch.inference_mode()
    def maps(self, items: Sequence[Image.Image], *, batch_size: int = 32, progress: bool = True) -> np.ndarray:
        """The last states by place, (n, dim, height, width): what a convolutional network or a ViT averages or sums up.

        Raises:
            ValueError: if the model's states do not lie on a grid.
        """
        whole = []
        for batch in self.batches(items, batch_size=batch_size, progress=progress):
            body = getattr(self.network, "vision_model", self.network)
            hidden = body(**self._inputs(batch)).last_hidden_state
            if hidden.ndim == 3:  # patches, perhaps after a class token
                side = int(hidden.shape[1] ** 0.5)
                extra = hidden.shape[1] - side**2
                if extra > 1:
                    raise ValueError(f"{hidden.shape[1]} states are no square of patches; use a ResNet, ViT or CLIP")
                hidden = hidden[:, extra:].transpose(1, 2).unflatten(2, (side, side))
            whole.append(hidden.float().cpu().numpy())
        return np.concatenate(whole) if whole else np.empty((0, self.dim, 0, 0), np.float32)


class TransformerAudio(TransformerModel):
    """A speech or sound transformer.

    Whisper and CLAP see windows of a fixed length (30 and 10 s). A longer sound is cut into such windows one after the
    other, each counted by its length; nothing is cropped at random.
    """

    modality = "audio"

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        extractor = load_preprocessor(folder, "AutoFeatureExtractor")
        super().__init__(folder, extractor, device=device)
        self.rate = int(extractor.sampling_rate)
        # samples of a window; None where sounds of any length pass
        self.window = getattr(extractor, "nb_max_samples", None) or getattr(extractor, "n_samples", None)
        self.dim = self.embed([self.prepare(Audio(np.zeros(RATE, np.float32), RATE))]).shape[1]

    def prepare(self, item: Audio) -> list[tuple[int, dict[str, Tensor]]]:
        """For each window its number of samples and what the network takes."""
        samples = mono_16k(item)
        if self.rate != RATE:
            samples = item.mono().resample(self.rate).samples.astype(np.float32, copy=False)
        step = self.window or len(samples)
        parts = [samples[start : start + step] for start in range(0, len(samples), step)]
        call = self.preprocessor
        return [(len(part), dict(call(part, sampling_rate=self.rate, return_tensors="pt"))) for part in parts]

    def features(self, prepared: list[list[tuple[int, dict[str, Tensor]]]]) -> Tensor:
        if not hasattr(self.network, "get_audio_features"):
            return torch.stack([hidden.mean(0) for hidden in self._hidden(prepared)])
        rows = []
        for windows in prepared:
            sizes = torch.tensor([float(n) for n, _ in windows], device=self.device)
            made = [vectors_of(self.network.get_audio_features(**self._moved(each))) for _, each in windows]
            rows.append((torch.cat(made) * (sizes / sizes.sum())[:, None]).sum(0))
        return F.normalize(torch.stack(rows), dim=-1)

    def frames(self, items: Sequence[Audio], *, batch_size: int = 32, progress: bool = True) -> list[np.ndarray]:
        """The last hidden states before they are averaged, (n_frames, dim) a sound; of wav2vec 2.0 one each 20 ms."""
        batches = self.batches(items, batch_size=batch_size, progress=progress)
        with torch.inference_mode():
            return [hidden.float().cpu().numpy() for batch in batches for hidden in self._hidden(batch)]

    def _hidden(self, prepared: list[list[tuple[int, dict[str, Tensor]]]]) -> list[Tensor]:
        # of an encoder-decoder such as Whisper, the encoder
        body = self.network.get_encoder() if self.network.config.is_encoder_decoder else self.network
        states = []
        for windows in prepared:
            own = []
            for n, inputs in windows:
                hidden = body(next(iter(self._moved(inputs).values()))).last_hidden_state[0]
                # padded to the whole window: only the first frames hold sound
                own.append(hidden if self.window is None else hidden[: max(1, -(-n * len(hidden) // self.window))])
            states.append(torch.cat(own))
        return states

    def _moved(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key: value.to(self.device) for key, value in inputs.items() if key != "attention_mask"}


def in_parts(prepared: list[Any], device: str) -> list[list[Any]]:
    """A batch as one network takes it: whole on a GPU, a few items at once on a CPU."""
    size = CPU_BATCH if torch.device(device).type == "cpu" else len(prepared)
    return [prepared[start : start + size] for start in range(0, len(prepared), size)]


def vectors_of(output: Any) -> Tensor:
    """What ``get_*_features`` returns, in any version of transformers."""
    return getattr(output, "pooler_output", output)


def own_part(network: Any, tower: str) -> nn.Module:
    """Of two towers the named one with its projection, of an encoder-decoder the encoder, else the whole."""
    names = [f"{tower}_model", "visual_projection" if tower == "vision" else f"{tower}_projection"]
    parts = [getattr(network, name) for name in names if hasattr(network, name)]
    if parts:
        return nn.ModuleList(parts)
    return network.get_encoder() if network.config.is_encoder_decoder else network
