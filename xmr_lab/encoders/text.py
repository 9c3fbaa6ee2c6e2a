"""Sentences: all-MiniLM-L6-v2, and any other model of its kind from a local folder."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from .base import NamedItems, fingerprint_of, progress_bar, unit_rows
from .weights import weight

__all__ = ["MiniLM", "TransformerText"]

Pooling = Literal["mean", "cls", "max", "last"]


class TransformerText:
    """A transformer's last hidden states, pooled over a text's tokens; of a CLIP-like model its text tower.

    A text is padded to the next multiple of eight tokens, whatever it shares a batch with, and a batch of
    very few tokens is filled up, because matrix products of a few rows are rounded otherwise. So a vector
    does not depend on batch size and order, bit for bit where we measured it (a BLAS that chooses its
    kernels otherwise may differ by 1e-6).

    Args:
        folder: model files as `transformers` saves them, weights as safetensors.
        max_tokens: longer texts are cut there, with a warning.
        pooling: of the states: their ``"mean"``, that of the first token (``"cls"``), of the ``"last"`` one (in a
            causal model such as GPT-2 the only one that has seen the whole text), or each dimension's ``"max"``.
            Padding takes part in none of them.
        device: where the network computes.
    """

    modality = "text"
    width = 8
    min_rows = 8

    def __init__(self, folder: Path, *, max_tokens: int = 256, pooling: Pooling = "mean", device: str = "cpu") -> None:
        if pooling not in get_args(Pooling):
            raise ValueError(f"unknown pooling {pooling!r}; expected {', '.join(get_args(Pooling))}")
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder} holds no model: it should have a config.json beside its safetensors")
        self.folder, self.pooling, self.device = folder, pooling, device
        settings = folder / "tokenizer_config.json"
        limit = json.loads(settings.read_text("utf-8")).get("model_max_length") if settings.is_file() else None
        self.max_tokens = min(max_tokens, limit or max_tokens)
        choices = [] if pooling == "mean" else [pooling]
        self.fingerprint = fingerprint_of("TransformerText", 1, folder_hash(folder), self.max_tokens, *choices)

    # Loaded at first use: `transformers` takes seconds to import, and whoever finds all vectors in the cache needs none
    # of this.
    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    @cached_property
    def network(self) -> Any:
        from transformers import AutoModel
        from transformers.utils import logging

        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # "Loading weights" for half a second is noise in a notebook
        try:
            network = AutoModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True)
        finally:
            if bars:
                logging.enable_progress_bar()
        return network.eval().requires_grad_(False).to(self.device)

    @cached_property
    def dim(self) -> int:
        return self.embed(self.tokenize(["text"]), self.width).shape[1]

    def encode(
        self, items: Sequence[str], *, batch_size: int = 32, normalize: bool = True, progress: bool = True
    ) -> np.ndarray:
        """One vector a text, in the order of the texts; see `Encoder.encode`.

        Args:
            batch_size: how many texts of 32 tokens are embedded together; of shorter ones more.

        Raises:
            TypeError: if an item is not a string.
            ValueError: if a text is empty; the message names it.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        tokens = self.tokenize(items)
        widths = np.array([-(-len(ids) // self.width) * self.width for ids in tokens], dtype=np.int64)
        widths = np.minimum(widths, self.max_tokens)  # 77 of CLIP is no multiple of eight
        vectors = np.empty((len(tokens), self.dim), np.float32)
        with progress_bar(len(tokens), f"{type(self).__name__}: text", progress) as bar:
            for width in np.unique(widths):
                same = np.flatnonzero(widths == width)
                at_once = max(1, batch_size * 32 // int(width))
                for start in range(0, len(same), at_once):
                    rows = same[start : start + at_once]
                    vectors[rows] = self.embed([tokens[row] for row in rows], width)
                    bar.update(len(rows))
        return unit_rows(vectors) if normalize else vectors

    def tokenize(self, items: Sequence[str]) -> list[list[int]]:
        named = NamedItems(items)
        texts = [named.call(checked_text, i) for i in range(len(named))]
        if not texts:
            return []
        tokens = self.tokenizer(texts, return_attention_mask=False)["input_ids"]
        long = sum(len(ids) > self.max_tokens for ids in tokens)
        if long:
            warnings.warn(
                f"{long} of {len(texts)} texts are longer than {self.max_tokens} tokens; "
                "only their beginning is encoded",
                stacklevel=3,
            )
            tokens = self.tokenizer(texts, truncation=True, max_length=self.max_tokens, return_attention_mask=False)[
                "input_ids"
            ]
        return tokens

    @torch.inference_mode()
    def embed(self, tokens: list[list[int]], width: int) -> np.ndarray:
        ids = torch.full((max(len(tokens), self.min_rows), width), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        mask[:, 0] = 1  # in the rows that only fill up
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = torch.tensor(own)
            mask[row, : len(own)] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        if hasattr(self.network, "get_text_features"):
            features = self.network.get_text_features(input_ids=ids, attention_mask=mask)
            vectors = getattr(features, "pooler_output", features)
        else:
            hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state  # (rows, width, dim)
            vectors = pool(hidden, mask, self.pooling)
        return vectors[: len(tokens)].float().cpu().numpy()  # (n, dim)


class MiniLM(TransformerText):
    """all-MiniLM-L6-v2: 384-d vectors of English sentences; near in meaning is near in angle.

    Equals `SentenceTransformer("all-MiniLM-L6-v2").encode` to 1e-5.

    Args:
        pooling: as in `TransformerText`; the model was trained with ``"mean"``.

    References:
        Reimers & Gurevych (2019), Sentence-BERT, arXiv:1908.10084.
        Wang et al. (2020), MiniLM, arXiv:2002.10957.
    """

    def __init__(self, *, pooling: Pooling = "mean") -> None:
        weight("minilm_tokenizer")
        super().__init__(weight("minilm").path.parent, pooling=pooling)


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector a text, (n, dim), of its tokens' states, (n, width, dim); ``mask`` is 0 where there is none."""
    if pooling == "mean":
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    if pooling == "max":
        return hidden.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)
    if pooling == "cls":
        return hidden[:, 0]
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]


def checked_text(item: Any) -> str:
    if not isinstance(item, str):
        raise TypeError(f"expected a text, got {type(item).__name__}")
    if not item.strip():
        raise ValueError("the text is empty")
    return item


def folder_hash(folder: Path) -> str:
    """Hash over the weights and the settings that a model is loaded from."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in {".safetensors", ".json", ".txt", ".model"}:
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
