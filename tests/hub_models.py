"""Tiny models of every family of the hub tier, untrained, saved as the hub saves them (small for testing)."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import torch
from PIL import Image

from xmr_lab.data.audio import Audio

FAMILIES = {
    "resnet": ("image",), "vgg": ("image",), "vit": ("image",), "bert": ("text",), "gpt2": ("text",),
    "wav2vec2": ("audio",), "whisper": ("audio",), "clip": ("image", "text"), "siglip": ("image", "text"),
    "siglip2": ("image", "text"), "clap": ("text", "audio"),
}  # fmt: skip
WORDS = ["a", "red", "lion", "in", "the", "sun", "two", "dogs", "drum", "rain"]
TEXTS = ["a lion", "the red lion in the sun and two dogs", "rain", "two dogs two dogs rain in a drum the sun a lion"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def pictures(n: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (20 + 7 * i, 40, 3), dtype=np.uint8)) for i in range(n)]


def sounds(n: int) -> list[Audio]:
    rng = np.random.default_rng(0)
    return [Audio(rng.normal(0, 0.1, 3000 + 900 * i).astype("float32"), 16_000) for i in range(n)]


def build(family: str, folder: Path) -> None:
    """Save a tiny model of ``family`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        globals()[f"_{family}"](folder)


def _tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {word: i for i, word in enumerate([*names, *WORDS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)


IDS = {"vocab_size": 14, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


def _resnet(folder: Path) -> None:
    from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetModel

    ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])).save_pretrained(folder)
    ConvNextImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(folder)


def _vgg(folder: Path) -> None:
    from safetensors.torch import save_file

    layers = {0: (8, 3), 2: (8, 8), 5: (16, 8)}  # two convolutions, a pooling, a convolution
    weights = {f"features.{n}.weight": torch.randn(*shape, 3, 3) / 5 for n, shape in layers.items()}
    weights |= {f"features.{n}.bias": torch.zeros(shape[0]) for n, shape in layers.items()}
    save_file({**weights, "head.fc.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    config = {"architecture": "vgg16", "pretrained_cfg": {"input_size": [3, 32, 32]}}
    (folder / "config.json").write_text(json.dumps(config))


def _vit(folder: Path) -> None:
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=8), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)


def _bert(folder: Path) -> None:
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**SMALL, **IDS, max_position_embeddings=32)).save_pretrained(folder)
    _tokenizer(folder)


def _gpt2(folder: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, **IDS)).save_pretrained(folder)
    _tokenizer(folder)


def _wav2vec2(folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    groups = {"num_conv_pos_embedding_groups": 2, "num_conv_pos_embeddings": 4}
    Wav2Vec2Model(Wav2Vec2Config(**SMALL, **groups, conv_dim=(8,) * 7)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)


def _whisper(folder: Path) -> None:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    sizes = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2}
    more = {"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_mel_bins": 20}
    ends = {**IDS, "decoder_start_token_id": 0, "max_source_positions": 100, "max_target_positions": 8}
    WhisperModel(WhisperConfig(**sizes, **more, **ends)).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=20, chunk_length=2).save_pretrained(folder)


def _clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    text = {**SMALL, **IDS, "max_position_embeddings": 32, "projection_dim": 12}
    vision = {**SMALL, "image_size": 32, "patch_size": 16, "projection_dim": 12}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    _tokenizer(folder)


def _siglip(folder: Path) -> None:
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    text = {**SMALL, **IDS, "max_position_embeddings": 24, "projection_size": 16}
    vision = {**SMALL, "image_size": 32, "patch_size": 16}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    _tokenizer(folder)


def _siglip2(folder: Path) -> None:
    from tokenizers import processors
    from transformers import Siglip2Config, Siglip2ImageProcessorPil, Siglip2Model, Siglip2Tokenizer

    letters = {
        token: i for i, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *ascii_lowercase])
    }
    text = {**SMALL, "vocab_size": len(letters), "max_position_embeddings": 64, "projection_size": 16,
            "bos_token_id": 2, "pad_token_id": 0, "eos_token_id": 1}  # fmt: skip
    vision = {**SMALL, "num_patches": 16, "patch_size": 8}
    Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).save_pretrained(folder)
    Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(folder)
    tokenizer = Siglip2Tokenizer(vocab=letters, merges=[], padding_side="right")
    end = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.backend_tokenizer.post_processor = end
    tokenizer.save_pretrained(folder)


def _clap(folder: Path) -> None:
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    text = {**SMALL, **IDS, "max_position_embeddings": 34, "projection_dim": 12}
    audio = {"hidden_size": 16, "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [2, 2],
             "num_hidden_layers": 2, "spec_size": 64, "num_mel_bins": 16, "window_size": 4, "projection_dim": 12,
             "aff_block_r": 2, "enable_fusion": False, "patch_size": 4, "patch_stride": [4, 4]}  # fmt: skip
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12)).save_pretrained(folder)
    ClapFeatureExtractor(feature_size=16, max_length_s=1, truncation="rand_trunc").save_pretrained(folder)
    _tokenizer(folder)
