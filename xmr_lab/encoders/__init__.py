"""Encoders: item -> vector. Pretrained and classical ones, behind one protocol, with one cache."""

from .audio import SpeechEmbedding
from .base import Encoder
from .cache import cache_info, cached, cached_encode, clear_cache
from .classical import HOG, MfccStatistics, TfidfText
from .hub import load_encoder
from .image import EfficientNetLite0
from .scratch import FromScratch, Pixels
from .text import MiniLM
from .weights import Weight, weights

__all__ = [
    "HOG",
    "EfficientNetLite0",
    "Encoder",
    "FromScratch",
    "MfccStatistics",
    "MiniLM",
    "Pixels",
    "SpeechEmbedding",
    "TfidfText",
    "Weight",
    "cache_info",
    "cached",
    "cached_encode",
    "clear_cache",
    "load_encoder",
    "weights",
]
