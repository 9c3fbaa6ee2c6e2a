"""Rankings and relevance -> numbers, one for each query, exact under ties.

First `rank_relevant` reduces queries, gallery and relevance to what every metric needs (`RelevantRanks`),
then each metric turns that into (n_queries,) values. Tables: `xmr_lab.evaluation`.
"""

from xmr_lab.metrics.ranks import (
    RelevantRanks,
    rank_relevant,
    rank_relevant_both,
    rank_relevant_from_scores,
    rank_within,
)
from xmr_lab.metrics.relevance import Relevance, relevance_matrix
from xmr_lab.metrics.values import (
    accuracy,
    average_precision,
    f1_at_k,
    f1_score,
    first_rank,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank,
)

__all__ = [
    "Relevance",
    "RelevantRanks",
    "accuracy",
    "average_precision",
    "f1_at_k",
    "f1_score",
    "first_rank",
    "hit_rate_at_k",
    "ndcg_at_k",
    "precision_at_k",
    "rank_relevant",
    "rank_relevant_both",
    "rank_relevant_from_scores",
    "rank_within",
    "recall_at_k",
    "reciprocal_rank",
    "relevance_matrix",
]
