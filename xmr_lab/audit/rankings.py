"""Checks of scores against relevance: do they rank, and what do ties, hubs and classes decide?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import rankdata

from xmr_lab import metrics
from xmr_lab.geometry import hubness, k_occurrence_from_scores

from .evidence import Evidence
from .findings import Finding

__all__ = ["RANKINGS"]

SOME = 2000  # queries looked at, where a sample will do
TIES = "McSherry & Najork (2008), doi:10.1007/978-3-540-78646-7_38"


def shapes(evidence: Evidence) -> Iterator[Finding]:
    """Scores, relevance and names that do not fit each other, or fit the other way round."""
    if evidence.scores is not None:
        n, m = evidence.scores.shape
    elif evidence.queries is not None and evidence.gallery is not None:
        n, m = len(evidence.queries), len(evidence.gallery)
    else:
        return
    sizes = {"relevance": _shape(evidence)}
    names = evidence.query_ids, evidence.gallery_ids
    if names[0] is not None and names[1] is not None:
        sizes["ids"] = (len(names[0]), len(names[1]))
    if evidence.scores is not None and evidence.queries is not None and evidence.gallery is not None:
        sizes["embeddings"] = (len(evidence.queries), len(evidence.gallery))
    for what, size in sizes.items():
        if size is None or size == (n, m):
            continue
        turned = size == (m, n)
        yield Finding(
            "swapped" if turned else "shapes",
            "error",
            f"Queries and gallery are exchanged between scores and {what}."
            if turned
            else f"Scores and {what} do not fit each other.",
            f"scores {n} x {m}, {what} {size[0]} x {size[1]}",
            "The figures would be those of the other direction, or of nothing.",
            "Transpose one of them." if turned else "Look for rows that were left out on one side only.",
        )


def _shape(evidence: Evidence) -> tuple[int, int] | None:
    relevant = evidence.relevant
    if relevant is None or isinstance(relevant, list):
        return None
    if isinstance(relevant, tuple):
        return len(np.asarray(relevant[0])), len(np.asarray(relevant[1]))
    shape = np.shape(relevant) if not hasattr(relevant, "shape") else relevant.shape
    return (shape[0], shape[1]) if len(shape) == 2 else None


def not_of_these(evidence: Evidence) -> Iterator[Finding]:
    """Scores that are the transpose of what the embeddings give."""
    assert evidence.scores is not None and evidence.queries is not None and evidence.gallery is not None
    given = evidence.scores
    again = Evidence(queries=evidence.queries, gallery=evidence.gallery, similarity=evidence.similarity).ranked
    if again is None or np.isnan(given).any() or again.shape != given.shape or len(given) != given.shape[1]:
        return
    if len(given) > 2 and np.allclose(given, again.T, atol=1e-4) and not np.allclose(given, again, atol=1e-3):
        yield Finding(
            "swapped",
            "error",
            "The scores are those of the gallery with the queries: transposed.",
            f"scores[i, j] is the similarity of query j and item i, for all {given.size} pairs",
            "Both directions exist, but their figures differ, and stand under the wrong name.",
            "Transpose the scores, or exchange the names.",
        )


def order(evidence: Evidence) -> Iterator[Finding]:
    """How often a relevant item stands above one that is not: near 0, the order is reversed; near 1/2, it is chance."""
    assert evidence.judged is not None
    scores, relevant, _ = evidence.judged
    wanted = relevant[:SOME].toarray()
    some = np.flatnonzero(wanted.any(axis=1) & ~wanted.all(axis=1))
    if len(some) < 10:
        return
    wanted, n_relevant = wanted[some], wanted[some].sum(axis=1)
    ranks = rankdata(scores[:SOME][some], axis=1)  # 1 is the worst
    above = (ranks * wanted).sum(axis=1) - n_relevant * (n_relevant + 1) / 2
    auc = above / (n_relevant * (wanted.shape[1] - n_relevant))
    mean, error = float(auc.mean()), float(auc.std() / np.sqrt(len(auc)))
    if mean + 3 * error < 0.5 and mean < 0.4:
        yield Finding(
            "reversed-order",
            "error",
            "What is relevant stands below what is not.",
            f"of such pairs, {mean:.0%} are in the right order (half would be chance)",
            "Distances were probably taken for similarities.",
            "Change the sign, or sort the other way.",
        )
    elif abs(mean - 0.5) < 2 * error and np.ptp(scores) > 0:
        yield Finding(
            "chance",
            "warning",
            "The ranking cannot be told from guessing.",
            f"of all pairs of a relevant item and another, {mean:.0%} are in the right order, ± {2 * error:.0%}",
            "Rows that were shuffled on one side, or names that do not belong to them, look like this.",
            "Check row by row that ids, embeddings and relevance speak of the same items.",
        )


def ties(evidence: Evidence) -> Iterator[Finding]:
    assert evidence.judged is not None
    scores, relevant, _ = evidence.judged
    scores, wanted = scores[:SOME], relevant[:SOME].toarray()
    answerable = max(1, np.count_nonzero(wanted.any(axis=1)))
    wanted &= ~np.isneginf(scores)  # never returned, and so not in question
    k = min(10, scores.shape[1])
    best = {}
    for name, sign in (("best", 1), ("worst", -1)):  # among equals, the relevant ones first or last
        first = np.lexsort((-sign * wanted, -scores), axis=1)[:, :k]
        hits = np.take_along_axis(wanted, first, axis=1).any(axis=1)
        best[name] = float(hits.sum() / answerable)
    if best["best"] - best["worst"] > 0.01:
        yield Finding(
            "ties-decide",
            "error" if best["best"] - best["worst"] > 0.1 else "warning",
            "How equal scores are sorted decides the result.",
            f"hit rate @{k} lies between {best['worst']:.3f} and {best['best']:.3f}",
            "A sort that leaves the right answer in front, as when it comes first in the file, gives the upper figure.",
            "Report expected values under ties (as xmr_lab.metrics does), and find out where they come from: "
            "rounding, constant rows, low precision.",
            TIES,
        )


def answers(evidence: Evidence) -> Iterator[Finding]:
    assert evidence.judged is not None
    _, relevant, _ = evidence.judged
    none = np.flatnonzero(np.diff(relevant.indptr) == 0)
    if len(none):
        yield Finding(
            "queries-without-answer",
            "warning" if len(none) > 0.01 * relevant.shape[0] else "note",
            "For some queries nothing in the gallery is relevant.",
            f"{len(none)} of {relevant.shape[0]}, first row {none[0]}",
            "Counted as misses they lower the figure, left out they raise it; both are done.",
            "Say which, or take them out of the queries.",
        )


def hubs(evidence: Evidence) -> Iterator[Finding]:
    scores = evidence.ranked
    assert scores is not None
    n, m = scores.shape
    if n < 20 or m < 50 or np.ptp(scores) == 0:
        return
    counts = k_occurrence_from_scores(scores, 10)
    top, share = int(counts.argmax()), counts.max() / n
    wanted = 0.0 if evidence.judged is None else evidence.judged[1][:, [top]].sum() / n
    if share > max(0.3, 5 * 10 / m) and share > 3 * wanted:
        yield Finding(
            "hub",
            "warning",
            "One item is among the first ten answers of very many queries.",
            f"row {top} of the gallery: {share:.0%} of the queries, relevant to {wanted:.0%}; skewness of the "
            f"10-occurrence {hubness(counts):.1f}",
            "It takes a place that other items would need; in many dimensions this happens by itself.",
            "CSLS or an inverted softmax with a bank of training queries; or look what is odd about the item.",
            "Radovanović et al. (2010), JMLR 11, 2487-2531; Dinu et al. (2015), arXiv:1412.6568",
        )


def labels_suffice(evidence: Evidence) -> Iterator[Finding]:
    """Whether relevance is by class, and an order of classes, all items of one alike, does as well as the ranking.

    By class means: items that answer one query answer the same other queries, and nearly every item answers some.
    """
    assert evidence.judged is not None
    scores, relevant, ranks = evidence.judged
    dense = relevant.toarray()
    kinds, label = np.unique(dense.T, axis=0, return_inverse=True)  # items that answer the same queries are one class
    label = label.ravel()
    sizes = np.bincount(label)
    alone = (kinds.sum(axis=0) <= 1).all()  # no query has two classes
    shared = len(dense) >= 2 * len(sizes) and dense.any(axis=0).mean() > 0.9  # several queries a class, few strangers
    if not alone or not shared or len(sizes) < 2 or len(label) < 20 or sizes.mean() < 5:
        return
    member = np.eye(len(sizes))[label] / sizes[label][:, None]
    finite = np.where(np.isfinite(scores), scores, np.nanmin(np.where(np.isfinite(scores), scores, np.nan)))
    by_class = (finite @ member)[:, label]  # each item has the mean score of its class
    own = float(np.nanmean(metrics.average_precision(ranks)))
    plain = float(np.nanmean(metrics.average_precision(metrics.rank_relevant_from_scores(by_class, relevant))))
    if plain >= own - 0.01:
        yield Finding(
            "labels-suffice",
            "warning",
            "Relevance means to have the same class, and an order of classes alone does as well.",
            f"mAP {own:.3f}; with every item at the mean score of its class {plain:.3f}; {len(sizes)} classes of "
            f"{sizes.mean():.0f} items",
            "Such a figure measures classification: nothing has to be known of the single item.",
            "Report retrieval of the very partner beside it, and a classifier as baseline.",
            "Sablayrolles et al. (2017), How should we evaluate supervised hashing?, arXiv:1609.06753",
        )


RANKINGS = {
    "shapes": ("rows", shapes),
    "swapped": ("scores queries gallery", not_of_these),
    "reversed-order": ("judged", order),
    "ties-decide": ("judged", ties),
    "queries-without-answer": ("judged", answers),
    "hub": ("ranked", hubs),
    "labels-suffice": ("judged", labels_suffice),
}
