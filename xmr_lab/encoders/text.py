"""Sentences: all-MiniLM-L6-v2, and any other model of its kind from a local folder."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .base import NamedItems, fingerprint_of, progress_bar, unit_rows
from .weights import weight

__all__ = ["MiniLM", "TransformerText"]


class TransformerText:
    """A transformer's last hidden states, averaged over a text's tokens; of a CLIP-like model its text tower.

    A text is padded to the next multiple of eight tokens, whatever it shares a batch with, and a batch of
    very few tokens is filled up, because matrix products of a few rows are rounded otherwise. So a vector
    does not depend on batch size and order, bit for bit where we measured it (a BLAS that chooses its
    kernels otherwise may differ by 1e-6).

    Args:
        folder: model files as `transformers` saves them, weights as safetensors.
        max_tokens: longer texts are cut there, with a warning.
        device: where the network computes.
    """

    modality = "text"
    width = 8
    min_rows = 8

    def __init__(self, folder: Path, *, max_tokens: int = 256, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # "Loading weights" for half a second is noise in a notebook
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        finally:
            if bars:
                logging.enable_progress_bar()
        self.network = network.eval().requires_grad_(False).to(device)
        self.max_tokens = min(max_tokens, self.tokenizer.model_max_length)
        self.device = device
        self.dim = self.embed(self.tokenize(["text"]), self.width).shape[1]
        self.fingerprint = fingerprint_of("TransformerText", 1, folder_hash(folder), self.max_tokens)

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
            vectors = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return vectors[: len(tokens)].float().cpu().numpy()  # (n, dim)


class MiniLM(TransformerText):
    """all-MiniLM-L6-v2: 384-d vectors of English sentences; near in meaning is near in angle.

    Equals `SentenceTransformer("all-MiniLM-L6-v2").encode` to 1e-5.

    References:
        Reimers & Gurevych (2019), Sentence-BERT, arXiv:1908.10084.
        Wang et al. (2020), MiniLM, arXiv:2002.10957.
    """

    def __init__(self) -> None:
        weight("minilm_tokenizer")
        super().__init__(weight("minilm").path.parent)


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
