"""Matching: bring the spaces of two or three modalities together, from pairs or from class names.

Most are a `Matcher`: ``fit(x, y)`` on paired rows, then ``transform(rows, view)``, which takes rows of the first view
(0) or the second (1) into the shared space, as rows of length 1. By family:

- factors: `JointSVD`, `JointNMF`, `CollectiveFactorization`, `CCA`, `KernelCCA`, `GCCA`. Three views as well, except
  `CCA` and `KernelCCA`; rows of NaN for what an item lacks in `GCCA` and `CollectiveFactorization`;
- regression: `RidgeMap`, `KernelRidgeMap`, and `MaxSimRidge` for sequences;
- networks: `TwoTower` (losses in `losses.py`), `DeepCCA`; and, which place no row but score pairs, `PairClassifier`
  and `CrossAttention`, for `rerank`;
- graphs: `CrossModalGraph`, `personalized_pagerank`, `label_propagation`; `GromovWasserstein`, without any pair;
- class names: `ConSE`, `SemanticMatching`.

What is done to scores of all queries at once: `hungarian`, `maximum_matching`, `sinkhorn` (one partner each), `csls`,
`inverted_softmax`, `dual_softmax` (against hubs).
"""

from .assignment import hungarian, maximum_matching, sinkhorn
from .base import Matcher
from .cca import CCA
from .conse import ConSE
from .deep_cca import DeepCCA, cca_loss
from .factorisation import CollectiveFactorization, JointSVD
from .gcca import GCCA
from .graph import CrossModalGraph, knn_graph, label_propagation, personalized_pagerank
from .gromov import GromovWasserstein, gromov_loss, inner_distances
from .hubness import csls, dual_softmax, inverted_softmax
from .joint_nmf import JointNMF, nmf
from .kernel_cca import KernelCCA
from .kernel_ridge import KernelRidgeMap
from .losses import info_nce, sigmoid_loss, triplet_loss
from .maxsim import MaxSimRidge, maxsim
from .pair_classifier import PairClassifier
from .reranker import CrossAttention, rerank
from .ridge import RidgeMap
from .semantic import SemanticMatching
from .two_tower import TwoTower

__all__ = [
    "CCA",
    "GCCA",
    "CollectiveFactorization",
    "ConSE",
    "CrossAttention",
    "CrossModalGraph",
    "DeepCCA",
    "GromovWasserstein",
    "JointNMF",
    "JointSVD",
    "KernelCCA",
    "KernelRidgeMap",
    "Matcher",
    "MaxSimRidge",
    "PairClassifier",
    "RidgeMap",
    "SemanticMatching",
    "TwoTower",
    "cca_loss",
    "csls",
    "dual_softmax",
    "gromov_loss",
    "hungarian",
    "info_nce",
    "inner_distances",
    "inverted_softmax",
    "knn_graph",
    "label_propagation",
    "maximum_matching",
    "maxsim",
    "nmf",
    "personalized_pagerank",
    "rerank",
    "sigmoid_loss",
    "sinkhorn",
    "triplet_loss",
]
