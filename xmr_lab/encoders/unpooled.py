"""What an encoder computes before it averages: a picture's patches, a sentence's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from .base import fingerprint_of
from .cache import cached
from .image import EfficientNetLite0
from .text import TransformerText

__all__ = ["patches", "token_names", "tokens"]


def patches(encoder: EfficientNetLite0, items: Sequence[Image.Image], *, progress: bool = True) -> np.ndarray:
    """The patches of each picture, row by row, cached: (n, 49, 1280) float32 for 7 x 7 of them.

    Their mean is the picture's vector, ``encoder.encode(…, normalize=False)``.
    """
    maps = cached(encoder, items, method="maps", progress=progress)  # (n, dim, height, width)
    return maps.reshape(*maps.shape[:2], -1).swapaxes(1, 2)


def tokens(encoder: TransformerText, items: Sequence[str], *, progress: bool = True) -> list[np.ndarray]:
    """The vectors of each text's tokens, special ones included, cached: (n_tokens, dim) float32 each.

    Their mean is the text's vector, ``encoder.encode(…, normalize=False)``, where the encoder pools by the mean.
    `token_names` says which tokens they are.
    """
    return cached(_Tokens(encoder), items, method="tokens", progress=progress)


def token_names(encoder: TransformerText, items: Sequence[str]) -> list[list[str]]:
    """The tokens of each text as the model spells them.

    Examples:
        >>> from xmr_lab.encoders import MiniLM
        >>> token_names(MiniLM(), ["A lion."])
        [['[CLS]', 'a', 'lion', '.', '[SEP]']]
    """
    spell: Any = encoder.tokenizer.convert_ids_to_tokens
    return [spell(ids) for ids in encoder.tokenize(items)]


class _Tokens:
    """A text encoder as the cache sees it, with one method more."""

    modality = "text"

    def __init__(self, encoder: TransformerText) -> None:
        self.encoder, self.encode = encoder, encoder.encode
        self.fingerprint = fingerprint_of("tokens", 1, encoder.fingerprint)

    @property
    def dim(self) -> int:
        return self.encoder.dim

    @torch.inference_mode()
    def tokens(self, items: Sequence[str], *, progress: bool = True) -> list[np.ndarray]:
        """Texts of like length together, padded as the encoder pads them, so that neighbours play no part."""
        encoder = self.encoder
        body: Any = getattr(encoder.network, "text_model", encoder.network)  # of CLIP and its like, the text's
        ids = encoder.tokenize(items)
        widths = np.array([min(-(-len(own) // encoder.width) * encoder.width, encoder.max_tokens) for own in ids])
        vectors: dict[int, np.ndarray] = {}
        for width in np.unique(widths):
            same = np.flatnonzero(widths == width)
            for rows in np.split(same, range(64, len(same), 64)):
                shape = max(len(rows), encoder.min_rows), int(width)
                padded = torch.full(shape, encoder.tokenizer.pad_token_id or 0)
                mask = torch.zeros(shape, dtype=torch.int64)
                mask[:, 0] = 1  # in the rows that only fill up
                for line, row in enumerate(rows):
                    padded[line, : len(ids[row])], mask[line, : len(ids[row])] = torch.tensor(ids[row]), 1
                states = body(
                    input_ids=padded.to(encoder.device), attention_mask=mask.to(encoder.device)
                ).last_hidden_state
                for row, state in zip(rows, states.float().cpu().numpy(), strict=False):
                    vectors[row] = state[: len(ids[row])].copy()
        return [vectors[row] for row in range(len(ids))]
