"""Matching: bring two spaces together, from pairs (`RidgeMap`, `CCA`, `TwoTower`, `MaxSimRidge`) or none (`ConSE`).

Each matcher is fitted with ``fit(x, y)`` on paired rows; ``transform(rows, view)`` takes rows of the first
view (0) or the second (1) into the shared space, as rows of length 1. `JointSVD`, `JointNMF`, `GCCA` and
`CollectiveFactorization` take three views as well, the last two with rows of NaN for what an item lacks.
`PairClassifier` places no row by itself: it scores pairs; so do `CrossModalGraph`, and `CrossAttention`, which looks
at patches and words. `hungarian` and `sinkhorn` turn scores of all queries at once into pairings.
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
