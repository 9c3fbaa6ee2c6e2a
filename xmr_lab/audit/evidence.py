"""What is handed to the audit: any part of an experiment's remains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse

from xmr_lab.audit.findings import Finding
from xmr_lab.metrics import Relevance, RelevantRanks, rank_relevant_from_scores, relevance_matrix

__all__ = ["Evidence"]


@dataclass
class Evidence:
    """Whatever an experiment left behind; each check takes what it needs, and none needs everything.

    Attributes:
        queries, gallery: (n_queries, d) and (n_gallery, d) embeddings in the shared space.
        scores: (n_queries, n_gallery), higher is better; computed from the embeddings, if there are only these.
        similarity: what ranks embeddings, ``"cosine"`` or ``"dot"``, where it is stated.
        relevant: which gallery items are relevant to which query, in any form of `xmr_lab.metrics`.
        query_ids, gallery_ids: names of the rows.
        train: (x, y), projected training pairs, row by row.
        pairs, widths, regularization: of a CCA: how many training pairs it saw, how wide its two views were, and how
            strongly it was regularised.
        items: one row an item, with columns ``id``, ``split`` and, where known, ``group``, ``caption``, ``speaker``,
            ``fingerprint`` (of the picture or sound).
        features: (n_items, d) unimodal features of ``items``, to find near-duplicates.
        bank_ids: ids of the queries from which a hubness correction took its statistics.
        tuned_on: ids, or names of splits, on which settings were chosen.
        reported: metrics as they were printed, ``{"recall@10": 0.55}``.
        trials: one row a (system, seed, query): columns ``system``, ``seed``, ``query``, ``value`` and maybe ``group``.
        claims: pairs (better system, worse system) that are said to differ.
        table: a printed table, one row a system or data set; its columns are named for what they hold.
        n_queries_printed: on how many queries the printed figures are.
        already: what was found while the files were read.
    """

    queries: np.ndarray | None = None
    gallery: np.ndarray | None = None
    scores: np.ndarray | None = None
    similarity: Literal["cosine", "dot"] | None = None
    relevant: Relevance | None = None
    query_ids: Sequence[str] | None = None
    gallery_ids: Sequence[str] | None = None
    train: tuple[np.ndarray, np.ndarray] | None = None
    pairs: int | None = None
    widths: tuple[int, int] | None = None
    regularization: float | None = None
    items: pd.DataFrame | None = None
    features: np.ndarray | None = None
    bank_ids: Sequence[str] | None = None
    tuned_on: Sequence[str] | None = None
    reported: Mapping[str, float] = field(default_factory=dict)
    trials: pd.DataFrame | None = None
    claims: Sequence[tuple[str, str]] = ()
    table: pd.DataFrame | None = None
    n_queries_printed: int | None = None
    already: Sequence[Finding] = ()

    def __post_init__(self) -> None:
        for name in ("queries", "gallery", "scores", "features"):
            value = getattr(self, name)
            if value is None:
                continue
            value = np.asarray(value)
            if value.ndim != 2 or not value.size or value.dtype.kind not in "fiub":
                raise ValueError(f"{name} must be a non-empty matrix of numbers, got {value.dtype} {value.shape}")
            setattr(self, name, value.astype(np.float64))
        if self.items is not None and not {"id", "split"} <= set(self.items):
            raise ValueError(f"items needs the columns id and split, got {', '.join(map(str, self.items))}")
        if self.features is not None and (self.items is None or len(self.items) != len(self.features)):
            raise ValueError("features need items, one row each")
        if self.trials is not None and not {"system", "query", "value"} <= set(self.trials):
            raise ValueError(f"trials needs system, query and value, got {', '.join(map(str, self.trials))}")
        sizes = (self.pairs, self.n_queries_printed, *(self.widths or ()))
        if any(size is not None and (not isinstance(size, Integral) or size < 1) for size in sizes):
            raise ValueError(f"pairs, widths and n_queries_printed must be whole numbers of 1 or more, got {sizes}")
        if self.widths is not None and len(self.widths) != 2:
            raise ValueError(f"widths are those of the two views, got {self.widths!r}")
        if wrong := {name: value for name, value in self.reported.items() if not isinstance(value, Real)}:
            raise ValueError(f"reported must hold numbers, got {wrong}")
        if self.similarity not in (None, "cosine", "dot"):
            raise ValueError(f"similarity must be 'cosine' or 'dot', got {self.similarity!r}")

    def has(self, need: str) -> bool:
        """Whether there is something under this name, or whatever else a check may ask for."""
        if need == "numbers":
            return any(getattr(self, name) is not None for name in ("queries", "gallery", "scores", "features"))
        if need == "vectors":
            return self.queries is not None or self.gallery is not None
        if need == "rows":
            return self.scores is not None or (self.queries is not None and self.gallery is not None)
        value = getattr(self, need)
        return value is not None and not (hasattr(value, "__len__") and not len(value))

    @cached_property
    def ranked(self) -> np.ndarray | None:
        """Finite scores, computed if need be; None if there are none, or they cannot be ranked."""
        if self.scores is not None:
            return None if np.isnan(self.scores).any() else self.scores
        if self.queries is None or self.gallery is None or self.queries.shape[1] != self.gallery.shape[1]:
            return None
        sides = [self.queries, self.gallery]
        if not all(np.isfinite(side).all() for side in sides):
            return None
        if self.similarity != "dot":
            sides = [side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-300) for side in sides]
        return sides[0] @ sides[1].T

    @cached_property
    def judged(self) -> tuple[np.ndarray, sparse.csr_array, RelevantRanks] | None:
        """Scores, relevance and where the relevant items stand; None if one is missing or they do not fit."""
        if self.relevant is None or (scores := self.ranked) is None:
            return None
        try:
            relevant = relevance_matrix(self.relevant, *scores.shape)
        except ValueError:
            return None
        return scores, relevant, rank_relevant_from_scores(scores, relevant)
