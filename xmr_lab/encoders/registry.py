"""Every encoder by name, so that a notebook takes another one by parameter: ``-p image_encoder=hog``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .audio import SpeechEmbedding
from .bag_of_words import BagOfWords
from .base import Encoder
from .causal_lm import CausalLM
from .classical import MfccStatistics, TfidfText
from .convnet import ConvNet
from .frame_networks import FrameNetwork
from .glove import GloVe
from .histograms import HOG, ColourHistogram, EdgeHistogram, TextureHistogram
from .hub import load_hub_encoder
from .image import EfficientNetLite0
from .scratch import Pixels
from .spectral import LogMel
from .text import MiniLM
from .training import cached_fit
from .visual_words import VisualWords
from .word_vectors import LSA, StaticWords, Word2Vec

__all__ = ["encoder_names", "load_encoder"]

EMBEDDED: dict[str, dict[str, Callable[[], Any]]] = {
    "image": {
        "efficientnet_lite0": EfficientNetLite0,
        "colour_histogram": ColourHistogram,
        "edge_histogram": EdgeHistogram,
        "texture_histogram": TextureHistogram,
        "hog": HOG,
        "pixels": Pixels,
        "sift_bag": lambda: VisualWords(500, aggregation="bag"),
        "sift_vlad": lambda: VisualWords(8, aggregation="vlad"),
        "convnet": ConvNet,
    },
    "text": {
        "minilm": MiniLM,
        "tfidf": TfidfText,
        "tfidf_characters": lambda: TfidfText(analyzer="char_wb"),
        "bag_of_words": BagOfWords,
        "lsa": LSA,
        "word2vec": Word2Vec,
        "glove": GloVe,
        "static_words": lambda: StaticWords(MiniLM()),
        "gpt": CausalLM,
    },
    "audio": {
        "speech_embedding": SpeechEmbedding,
        "mfcc": MfccStatistics,
        "log_mel": LogMel,
        "audio_cnn": lambda: FrameNetwork("cnn"),
        "audio_rnn": lambda: FrameNetwork("rnn"),
        "wavenet": FrameNetwork,
    },
}


def encoder_names(modality: str | None = None) -> list[str]:
    """Names that `load_encoder` knows, of one modality (``"image"``, ``"text"``, ``"audio"``) or of all.

    Examples:
        >>> "minilm" in encoder_names("text")
        True
    """
    if modality is not None and modality not in EMBEDDED:
        raise ValueError(f"modality must be one of {', '.join(EMBEDDED)}; got {modality!r}")
    return [name for kind, names in EMBEDDED.items() if modality in (None, kind) for name in names]


def load_encoder(
    name: str,
    *,
    train: Sequence[Any] | None = None,
    targets: Sequence[Any] | None = None,
    modality: str | None = None,
    device: str = "cpu",
) -> Encoder:
    """An encoder by name, ready to encode.

    Args:
        name: one of `encoder_names`, or ``"hub:owner/name@revision"``, the revision a commit of 40 hexadecimal digits,
            which is downloaded at first use; or taken from the folder that the environment's ``XMR_HUB_DIR`` names.
        train: items to learn from, such as ``stamps.select(split="train").images``; only some encoders learn.
        targets: what each of them stands for (a label, a sentence, a vector), where the encoder asks for it.
        modality: ``"image"``, ``"text"`` or ``"audio"``: of a hub model, or to insist on one.
        device: where a hub model computes.

    Raises:
        ValueError: if there is no such name, it is of another modality, a hub model comes without a modality,
            or the encoder has to learn and there is nothing to learn from.
            Of a hub model also if it is not pinned by a commit, needs code of its own, or a file is damaged.
        FileNotFoundError: if ``XMR_HUB_DIR`` has no such model, or a model no safetensors.
        ConnectionError: if a hub model is neither here nor within reach.
    """
    if name.startswith("hub:"):
        return load_hub_encoder(name, modality=modality, device=device)
    if name not in (known := encoder_names(modality)):
        kind = f"{modality} encoder" if modality else "encoder"
        raise ValueError(f"unknown {kind} {name!r}; expected {', '.join(known)} or hub:owner/name@revision")
    encoder = next(names[name] for names in EMBEDDED.values() if name in names)()
    if not hasattr(encoder, "fit"):
        return encoder
    if train is None:
        raise ValueError(f"{name!r} learns from training items: load_encoder({name!r}, train=items)")
    return cached_fit(encoder, train, targets)
