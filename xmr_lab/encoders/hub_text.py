"""Texts through a model of the hub tier, from its folder."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .base import fingerprint_of
from .hub_files import check_folder, load_network, load_preprocessor, read_config
from .hub_media import own_part, vectors_of
from .text import Pooling, TransformerText, pool

__all__ = ["HubText"]


LIMITS = {"clip": 77, "siglip": 64, "siglip2": 64}  # in tokens, where config.json leaves the default out
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


class HubText(TransformerText):
    """`TransformerText` for models of the hub: texts as each family was trained on them, weights checked.

    SigLIP gets small letters, always filled up to the same length; CLIP and the others what their tokenizer makes.

    Args:
        folder: config.json, safetensors and the tokenizer's files.
        max_tokens: longer texts are cut there, or where the model's positions end, with a warning.
        pooling: as in `TransformerText`; of models with a text tower that projects, not used.
        device: where the network computes.

    Raises:
        FileNotFoundError, ValueError: as `hub_files.check_folder`, and if there is no vocabulary.

    References:
        small letters and padding: Tschannen et al. (2025), SigLIP 2, arXiv:2502.14786.
    """

    def __init__(self, folder: Path, *, max_tokens: int = 256, pooling: Pooling = "mean", device: str = "cpu") -> None:
        check_folder(folder)
        if not any(path for pattern in VOCABULARIES for path in folder.glob(pattern)):
            # transformers would make do without: every word unknown
            raise FileNotFoundError(f"{folder} has no vocabulary: expected one of {', '.join(VOCABULARIES)}")
        config = read_config(folder)
        self.family = str(config.get("model_type"))
        inner = config.get("text_config") or config
        limit = inner.get("max_position_embeddings") or inner.get("n_positions") or LIMITS.get(self.family, max_tokens)
        if self.family in ("clap", "roberta", "xlm-roberta"):
            limit -= 2  # these count positions from the padding's number on
        super().__init__(folder, max_tokens=min(max_tokens, limit), pooling=pooling, device=device)
        if self.family.startswith("siglip"):
            self.width = self.max_tokens  # trained on texts filled up to this length, padding seen
        self.fingerprint = fingerprint_of("HubText", 2, self.fingerprint)

    @cached_property
    def tokenizer(self) -> Any:
        tokenizer = load_preprocessor(self.folder, "AutoTokenizer")
        if self.family.startswith("siglip") and tokenizer.is_fast:
            # SigLIP 2 was trained so, but its models of one size come with Gemma's tokenizer, which keeps capitals
            from tokenizers import normalizers

            own = tokenizer.backend_tokenizer.normalizer
            small = normalizers.Lowercase()
            tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([small, own]) if own else small
        return tokenizer

    @cached_property
    def network(self) -> Any:
        return load_network(self.folder).to(self.device)

    @property
    def tower(self) -> nn.Module:
        """The part of the network that the vectors depend on: of CLIP and its like, the text's."""
        return own_part(self.network, "text")

    def prepare(self, item: str) -> list[int]:
        """The token ids of one text."""
        return self.tokenize([item])[0]

    def features(self, prepared: list[list[int]], width: int | None = None) -> Tensor:
        """(n, dim), with gradients where the weights ask for them; filled up to ``width`` tokens."""
        if width is None:
            width = min(-(-max(map(len, prepared)) // self.width) * self.width, self.max_tokens)
        padding = self.tokenizer.pad_token_id
        ids = torch.full((len(prepared), width), 0 if padding is None else padding)
        mask = torch.zeros_like(ids)
        for row, own in enumerate(prepared):
            ids[row, : len(own)], mask[row, : len(own)] = torch.tensor(own), 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        if hasattr(self.network, "get_text_features"):
            shown = None if self.family.startswith("siglip") else mask
            return vectors_of(self.network.get_text_features(input_ids=ids, attention_mask=shown))
        return pool(self.network(input_ids=ids, attention_mask=mask).last_hidden_state, mask, self.pooling)

    @torch.inference_mode()
    def embed(self, tokens: list[list[int]], width: int | None = None) -> np.ndarray:
        filled = tokens + tokens[:1] * max(0, self.min_rows - len(tokens))  # a product of few rows rounds otherwise
        return self.features(filled, width)[: len(tokens)].float().cpu().numpy()
