"""Transfer: what is known in a source domain, made use of in a target domain.

What goes in is always named: ``fit(source, target, …)`` for methods that look at both domains,
``transform(x, domain=…)`` for what comes after.
"""

from .adapter import ResidualAdapter
from .align import CORAL, DomainCentering, OptimalTransport
from .augment import augment_image, drop_words, mixup, spec_augment
from .autoencoder import DenoisingAutoencoder
from .dann import DANN, reverse_gradient
from .distillation import RelationMap, rkd_distance_loss, similarity_loss
from .document_systems import DocumentSystem, document_system
from .fine_tune import FineTuned, all_cores, fine_tune, image_layers, outputs, trainable
from .fine_tune_pair import FineTuneSettings, TunedEncoder, TunedPair, fine_tune_pair, load_tuned_pair
from .lora import SentenceNetwork, add_lora, token_ids, with_network
from .mean_teacher import MeanTeacher, update_average
from .multitask import MultiTaskTowers, Task
from .prior import PriorRidge
from .probe import linear_probe
from .propagation import PairPropagation, knn_graph, label_propagation
from .pseudo import PseudoPairs, SelfTraining, mutual_nearest_neighbours, pseudo_label
from .shift import coral_distance, mmd, mmd_test, proxy_a_distance
from .weighting import WeightedRidgeMap, density_ratio, effective_sample_size

__all__ = [
    "CORAL",
    "DANN",
    "DenoisingAutoencoder",
    "DocumentSystem",
    "DomainCentering",
    "FineTuneSettings",
    "FineTuned",
    "MeanTeacher",
    "MultiTaskTowers",
    "OptimalTransport",
    "PairPropagation",
    "PriorRidge",
    "PseudoPairs",
    "RelationMap",
    "ResidualAdapter",
    "SelfTraining",
    "SentenceNetwork",
    "Task",
    "TunedEncoder",
    "TunedPair",
    "WeightedRidgeMap",
    "add_lora",
    "all_cores",
    "augment_image",
    "coral_distance",
    "density_ratio",
    "document_system",
    "drop_words",
    "effective_sample_size",
    "fine_tune",
    "fine_tune_pair",
    "image_layers",
    "knn_graph",
    "label_propagation",
    "linear_probe",
    "load_tuned_pair",
    "mixup",
    "mmd",
    "mmd_test",
    "mutual_nearest_neighbours",
    "outputs",
    "proxy_a_distance",
    "pseudo_label",
    "reverse_gradient",
    "rkd_distance_loss",
    "similarity_loss",
    "spec_augment",
    "token_ids",
    "trainable",
    "update_average",
    "with_network",
]
