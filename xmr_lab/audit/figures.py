"""Checks of reported figures: is a metric what it is called, and do the scores give it?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from xmr_lab import metrics
from xmr_lab.metrics import RelevantRanks

from .evidence import Evidence
from .findings import Finding

__all__ = ["FIGURES"]

AT_K: dict[str, Callable[[RelevantRanks, int], np.ndarray]] = {
    "hit rate": metrics.hit_rate_at_k,
    "recall": metrics.recall_at_k,
    "precision": metrics.precision_at_k,
    "F1": metrics.f1_at_k,
    "nDCG": metrics.ndcg_at_k,
}
OVERALL = {"mAP": metrics.average_precision, "MRR": metrics.reciprocal_rank}
METRICS = (  # what is printed -> what it should be
    (r"(?:hit ?rate|hits?|success|top)[ @-]*(\d+)", "hit rate"),
    (r"(?:recall|r)[ @]+(\d+)", "recall"),
    (r"(?:precision|p)[ @]+(\d+)", "precision"),
    (r"f1[ @]+(\d+)", "F1"),
    (r"ndcg[ @]+(\d+)", "nDCG"),
    (r"map|mean average precision", "mAP"),
    (r"mrr|mean reciprocal rank", "MRR"),
)


def names(evidence: Evidence) -> Iterator[Finding]:
    assert evidence.judged is not None
    ranks = evidence.judged[2]
    for printed, value in evidence.reported.items():
        match = next(
            ((kind, found) for pattern, kind in METRICS if (found := re.fullmatch(pattern, printed.lower().strip()))),
            None,
        )
        if match is None:
            continue
        kind, found = match
        k = int(found[1]) if found.re.groups else None
        ours = {name: f(ranks, k) for name, f in AT_K.items()} if k else {name: f(ranks) for name, f in OVERALL.items()}
        means = {name: float(np.nanmean(column)) for name, column in ours.items()}
        value, half = _rounded(value)
        near = [name for name, mean in means.items() if abs(mean - value) <= half]
        if kind in near:
            continue
        at = f" @{k}" if k else ""
        if near:
            yield Finding(
                "mislabelled-metric",
                "error",
                f"What is called {printed} is the {near[0]}{at}.",
                f"printed {value:.3f}; {', '.join(f'{name}{at} {mean:.3f}' for name, mean in means.items())}",
                "The two agree only where every query has exactly one relevant item.",
                "Give it the name of what was computed, or compute what the name says.",
                "Musgrave, Belongie & Lim (2020), A metric learning reality check, arXiv:2003.08505",
            )
        else:
            yield Finding(
                "figure-not-reproduced",
                "error",
                f"The scores do not give the printed {printed}.",
                f"printed {value:.3f}; {', '.join(f'{name}{at} {mean:.3f}' for name, mean in means.items())}",
                "Either the scores or the figure are of another run.",
                "Compute the figure from the scores that are kept.",
            )


def _rounded(value: float) -> tuple[float, float]:
    """The share that a printed figure stands for, and how far from it what was rounded may lie."""
    digits = len(f"{value:.6f}".rstrip("0").partition(".")[2])
    per_cent = 100 if value > 1 else 1
    return value / per_cent, min(max(0.6 * 10.0**-digits / per_cent, 0.0006), 0.006)


AMBIGUOUS = r"(accuracy|acc\.?|precision|recall|f1|f1[ -]score|hit ?rate|ndcg|准确率|精确率|召回率|f1值)"


def ambiguous(evidence: Evidence) -> Iterator[Finding]:
    for printed, value in evidence.reported.items():
        if re.fullmatch(AMBIGUOUS, printed.lower().strip()):
            yield Finding(
                "ambiguous-metric",
                "warning",
                f"What {printed!r} means for a ranking is not said.",
                f"{printed}: {value:g}, without a cut-off such as @10",
                "It depends on how many results are returned, and accuracy is highest where nothing is.",
                "State the cut-off, and whether all relevant items count or any.",
            )


FIGURES = {
    "mislabelled-metric": ("judged reported", names),
    "ambiguous-metric": ("reported", ambiguous),
}
