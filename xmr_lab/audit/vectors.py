"""Checks of embeddings: finite, spread out, of comparable length, in one place; and of what they were learnt from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xmr_lab._validation import unit
from xmr_lab.geometry import modality_gap

from .evidence import Evidence
from .findings import Finding

__all__ = ["VECTORS"]

FLAT = 0.99  # mean cosine of a cloud with itself above which it has collapsed
THIN = 2.0  # effective rank below which it has


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    for name in ("queries", "gallery", "scores", "features"):
        values = getattr(evidence, name)
        if values is None:
            continue
        # minus infinity is a score: "never"
        bad = np.isnan(values) | np.isposinf(values) if name == "scores" else ~np.isfinite(values)
        if name == "features":  # a row of NaN says that the item has none
            bad &= ~np.isnan(values).all(axis=1, keepdims=True)
        if bad.any():
            row = int(np.argwhere(bad)[0, 0])
            yield Finding(
                "not-finite",
                "error",
                f"There are numbers in {name} that are NaN or infinite.",
                f"{int(bad.sum())} of {values.size}, first in row {row}",
                "NaN compares false with everything: where it is sorted to, nobody has decided.",
                "Find where they arise (an empty sound, a division by zero), and mend that; do not replace them by 0.",
            )


def zero_rows(evidence: Evidence) -> Iterator[Finding]:
    for name in ("queries", "gallery"):
        values = getattr(evidence, name)
        if values is not None and (empty := np.flatnonzero(~values.any(axis=1))).size:
            yield Finding(
                "zero-rows",
                "error",
                f"Rows of {name} are zero.",
                f"{len(empty)} of {len(values)}, first row {empty[0]}",
                "A cosine with nothing is not defined; such rows tie with everything.",
                "Look at these items: most often the file was empty or could not be read.",
            )


def _effective_rank(directions: np.ndarray) -> float:
    """The exponential of the entropy of the spectrum; 1 if all rows lie on one line."""
    sizes = np.linalg.svd(directions, compute_uv=False)
    share = sizes / sizes.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def collapsed(evidence: Evidence) -> Iterator[Finding]:
    for name in ("queries", "gallery"):
        values = getattr(evidence, name)
        if values is None or len(values) < 10 or not np.isfinite(values).all():
            continue
        directions = unit(values).astype(np.float64)
        n = len(directions)
        mean_cosine = (np.sum(directions.sum(axis=0) ** 2) - n) / (n * (n - 1))
        spread = directions - directions.mean(axis=0)
        rank = _effective_rank(spread[:2000]) if np.abs(spread).max() > 1e-6 else 1.0
        if mean_cosine > FLAT or (rank < THIN and values.shape[1] >= 4):
            yield Finding(
                "collapsed",
                "error" if mean_cosine > 0.9999 or rank < 1.5 else "warning",
                f"The embeddings of {name} lie nearly at one point or on one line.",
                f"mean cosine {mean_cosine:.4f}, effective rank {rank:.1f} of {min(values.shape)}",
                "Little is left by which items can be told apart; rankings then hang on rounding.",
                "Look at the loss (hardest negatives, alignment alone), centre, train with more negatives.",
                "Roy & Vetterli (2007), The effective rank, EUSIPCO; Wang & Isola (2020), arXiv:2005.10242",
            )


def copies(evidence: Evidence) -> Iterator[Finding]:
    """Rows that are the same to the last digit: in a gallery, an item twice or an encoder that saw nothing."""
    values = evidence.gallery
    assert values is not None
    if len(values) < 10 or not np.isfinite(values).all():
        return
    groups, counts = np.unique(values, axis=0, return_counts=True)
    if counts.max() > max(3, 0.05 * len(values)) and groups.any():
        yield Finding(
            "copied-rows",
            "warning",
            "Many rows of the gallery are exactly the same.",
            f"{counts.max()} of {len(values)} rows are one vector; {len(groups)} different ones in all",
            "They tie, and which comes first is an accident of the sort.",
            "Look whether these items are copies, or the encoder got the same empty input.",
        )


def lengths(evidence: Evidence) -> Iterator[Finding]:
    queries, gallery = evidence.queries, evidence.gallery
    assert queries is not None and gallery is not None
    if evidence.similarity == "cosine" or queries.shape[1] != gallery.shape[1]:
        return
    norms = np.linalg.norm(gallery, axis=1)
    if not np.isfinite(queries).all() or not np.isfinite(gallery).all() or norms.std() <= 0.01 * norms.mean():
        return
    dot = queries @ gallery.T
    changed = float(np.mean(dot.argmax(axis=1) != (dot / np.maximum(norms, 1e-300)).argmax(axis=1)))
    stated = evidence.similarity == "dot"
    if changed > 0.05 and (not stated or np.corrcoef(norms, dot.mean(axis=0))[0, 1] > 0.9):
        yield Finding(
            "lengths-decide",
            "warning",
            "Scalar products rank these embeddings in another way than cosines do.",
            f"the best item differs for {changed:.0%} of the queries; lengths vary by {norms.std() / norms.mean():.0%}"
            + (", and the longest are liked best whatever is asked" if stated else ""),
            "Whoever repeats the experiment with the other measure gets another result.",
            "Scale rows to length 1, or state that the scalar product is meant.",
        )


def widths(evidence: Evidence) -> Iterator[Finding]:
    queries, gallery = evidence.queries, evidence.gallery
    assert queries is not None and gallery is not None
    if queries.shape[1] != gallery.shape[1]:
        yield Finding(
            "different-spaces",
            "error",
            "Queries and gallery do not have the same width: they are not in one space.",
            f"{queries.shape[1]} and {gallery.shape[1]} columns",
            "There is no similarity between them.",
            "Give the projected embeddings, not the encoders' features.",
        )


def gap(evidence: Evidence) -> Iterator[Finding]:
    queries, gallery = evidence.queries, evidence.gallery
    assert queries is not None and gallery is not None
    sides = queries, gallery
    if queries.shape[1] != gallery.shape[1] or min(map(len, sides)) < 10:
        return
    if not all(np.isfinite(side).all() and side.any(axis=1).all() for side in sides):
        return
    between = modality_gap(queries, gallery)
    within = max(modality_gap(side[::2], side[1::2]) for side in sides)
    if between > max(0.5, 3 * within):
        yield Finding(
            "modality-gap",
            "note",
            "The two modalities lie apart.",
            f"their centres are {between:.2f} apart; those of two halves of one modality {within:.2f}",
            "Within one ranking nothing changes, but thresholds, and galleries that mix modalities, do.",
            "Subtract each modality's training mean, if either matters.",
            "Liang et al. (2022), Mind the gap, arXiv:2203.02053",
        )


def perfect_correlations(evidence: Evidence) -> Iterator[Finding]:
    assert evidence.train is not None
    x, y = (np.asarray(side, np.float64) for side in evidence.train)
    if x.shape != y.shape or len(x) < 10:
        return
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    correlations = (x * y).sum(axis=0) / np.where(scale > 0, scale, 1)
    if np.median(correlations) > 0.999:
        yield Finding(
            "perfect-correlations",
            "error",
            "On the training pairs, the two views agree perfectly in most directions.",
            f"median correlation {np.median(correlations):.4f} over {x.shape[1]} directions and {len(x)} pairs",
            "With so many free directions any two views can be made to agree; it says nothing about new items.",
            "Regularise, or keep fewer directions; choose on validation pairs.",
            "Hardoon et al. (2004), doi:10.1162/0899766042321814",
        )


def bare_cca(evidence: Evidence) -> Iterator[Finding]:
    assert evidence.pairs is not None and evidence.widths is not None
    if not evidence.regularization and evidence.pairs < sum(evidence.widths):
        yield Finding(
            "unregularised-cca",
            "error",
            "CCA without regularisation saw fewer pairs than the two views have columns.",
            f"{evidence.pairs} pairs, {evidence.widths[0]} + {evidence.widths[1]} columns",
            "Its correlations are then 1 whatever the data are.",
            "Regularise, or reduce the views by PCA first; choose how much on validation pairs.",
            "Hardoon et al. (2004), doi:10.1162/0899766042321814",
        )


VECTORS = {
    "not-finite": ("numbers", not_finite),
    "zero-rows": ("vectors", zero_rows),
    "different-spaces": ("queries gallery", widths),
    "collapsed": ("vectors", collapsed),
    "copied-rows": ("gallery", copies),
    "lengths-decide": ("queries gallery", lengths),
    "modality-gap": ("queries gallery", gap),
    "perfect-correlations": ("train", perfect_correlations),
    "unregularised-cca": ("pairs widths", bare_cca),
}
