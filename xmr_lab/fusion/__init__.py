"""Fusion: several descriptions of one item, or several scores of one pair, become one.

vectors     of one item -> one vector, before anything is compared (early fusion)
attention   the same, with weights that are learned and depend on the item
scores      of one pair, from several systems -> one score (late fusion)
ranks       the same, from the order alone
"""

from .attention import AttentionFusion, AttentionPooling, attention_mean, masked_softmax
from .ranks import comb_mnz, comb_sum, reciprocal_rank_fusion
from .scores import fuse_scores, normalize_scores, standardize_scores
from .vectors import Whitening, concatenate, mean_fusion

__all__ = [
    "AttentionFusion",
    "AttentionPooling",
    "Whitening",
    "attention_mean",
    "comb_mnz",
    "comb_sum",
    "concatenate",
    "fuse_scores",
    "masked_softmax",
    "mean_fusion",
    "normalize_scores",
    "reciprocal_rank_fusion",
    "standardize_scores",
]
