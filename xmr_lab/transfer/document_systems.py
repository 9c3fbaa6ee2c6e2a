"""The two architectures of the document as configurations: which encoders, and what brings them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from xmr_lab.encoders.cache import cached_encode
from xmr_lab.encoders.unpooled import patches, tokens
from xmr_lab.matching.pair_classifier import PairClassifier
from xmr_lab.matching.reranker import CrossAttention

__all__ = ["DocumentSystem", "document_system"]

Architecture = Literal["resnet_bert_attention", "resnet_wavenet_concatenation"]


@dataclass(eq=False)
class DocumentSystem:
    """Two encoders, frozen, and a network that scores pairs of what they give.

    Attributes:
        left: encodes pictures.
        right: encodes sentences or sounds.
        matcher: `CrossAttention` sees patches and tokens, `PairClassifier` one vector of each.
    """

    left: Any
    right: Any
    matcher: CrossAttention | PairClassifier

    def features(self, encoder: Any, items: Sequence[Any]) -> Any:
        """What the matcher sees of the items, cached: (n, dim) vectors; or the patches of each picture, (n, n_patches,
        dim), and the tokens of each sentence, (n_tokens, dim).
        """
        if isinstance(self.matcher, PairClassifier):
            return cached_encode(encoder, items, progress=False)
        see = patches if encoder.modality == "image" else tokens
        return see(encoder, items, progress=False)

    def fit(self, x: Sequence[Any], y: Sequence[Any], *, concepts: np.ndarray | None = None) -> DocumentSystem:
        """Fit the matcher to pairs of items, x[i] belonging to y[i]."""
        self.matcher.fit(self.features(self.left, x), self.features(self.right, y), concepts=concepts)
        return self

    def scores(self, queries: Sequence[Any], gallery: Sequence[Any]) -> np.ndarray:
        """(n_queries, n_gallery) float32: pictures against sentences or sounds."""
        return self.matcher.scores(self.features(self.left, queries), self.features(self.right, gallery))


def document_system(
    architecture: Architecture, left: Any, right: Any, *, epochs: int | None = None, seed: int = 0
) -> DocumentSystem:
    """One of the document's architectures over two encoders.

    The document names the networks and how they are joined; sizes and training are this kit's. To train the encoders
    themselves, see `fine_tune_pair`.

    Args:
        architecture: ``"resnet_bert_attention"``: words attend to the places of a picture;
            ``"resnet_wavenet_concatenation"``: vectors side by side, through fully connected layers of 512 and 128.
        left: ``load_encoder("hub:owner/name@revision", modality="image")`` of a ResNet, or the embedded tier's.
        right: BERT's likewise with ``modality="text"``; or a trained WaveNet, `FrameNetwork`, or another encoder of
            sounds.
        epochs: of the matcher; its own default otherwise.
        seed: of the matcher.

    Raises:
        ValueError: if there is no such architecture, or an encoder is of another modality.
    """
    if architecture not in get_args(Architecture):
        raise ValueError(f"unknown architecture {architecture!r}; expected {' or '.join(get_args(Architecture))}")
    attention = architecture == "resnet_bert_attention"
    wanted = ("image", "text" if attention else "audio")
    if (left.modality, right.modality) != wanted:
        raise ValueError(f"{architecture} joins {wanted[0]} and {wanted[1]}; got {left.modality} and {right.modality}")
    how: dict[str, Any] = {"seed": seed} | ({} if epochs is None else {"epochs": epochs})
    return DocumentSystem(left, right, CrossAttention(**how) if attention else PairClassifier((512, 128), **how))
