"""Encoders: item -> vector. Pretrained and classical ones, behind one protocol, with one cache."""

from .audio import SpeechEmbedding
from .bag_of_words import BagOfWords
from .base import Encoder
from .cache import cache_info, cached, cached_encode, clear_cache
from .causal_lm import CausalLM
from .classical import MfccStatistics, TfidfText
from .convnet import ConvNet
from .frame_networks import FrameNetwork
from .glove import GloVe
from .histograms import HOG, ColourHistogram, EdgeHistogram, TextureHistogram
from .image import EfficientNetLite0
from .profile import count_parameters, profile
from .registry import encoder_names, load_encoder
from .scratch import FromScratch, Pixels
from .spectral import Frames, Joined, LogMel, denoise, normalize_loudness
from .text import MiniLM
from .tokens import stop_words, tokenize
from .training import Trainable, cached_fit
from .unpooled import patches, token_names, tokens
from .visual_words import Sift, VisualWords
from .weights import Weight, weights
from .word_vectors import LSA, StaticWords, Word2Vec

__all__ = [
    "HOG",
    "LSA",
    "BagOfWords",
    "CausalLM",
    "ColourHistogram",
    "ConvNet",
    "EdgeHistogram",
    "EfficientNetLite0",
    "Encoder",
    "FrameNetwork",
    "Frames",
    "FromScratch",
    "GloVe",
    "Joined",
    "LogMel",
    "MfccStatistics",
    "MiniLM",
    "Pixels",
    "Sift",
    "SpeechEmbedding",
    "StaticWords",
    "TextureHistogram",
    "TfidfText",
    "Trainable",
    "VisualWords",
    "Weight",
    "Word2Vec",
    "cache_info",
    "cached",
    "cached_encode",
    "cached_fit",
    "clear_cache",
    "count_parameters",
    "denoise",
    "encoder_names",
    "load_encoder",
    "normalize_loudness",
    "patches",
    "profile",
    "stop_words",
    "token_names",
    "tokenize",
    "tokens",
    "weights",
]
