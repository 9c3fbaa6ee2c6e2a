"""One cell of a grid: draw the labelled pairs, choose a setting on validation data, judge every query."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd

from xmr_lab import metrics

from .features import Features, Labelled, Scorer
from .methods import METHODS, parts_of
from .settings import Cell

__all__ = ["KS", "run_cell"]

KS = (1, 5, 10)
SETS = {"precision": metrics.precision_at_k, "recall": metrics.recall_at_k, "F1": metrics.f1_at_k}  # of a list of ten


def run_cell(cell: Cell, features: Features, *, judged: str) -> pd.DataFrame:
    """Every query of one cell, with what validation chose and the seconds it took.

    The seed draws the labelled pairs, the same for every method; smaller budgets are part of larger ones. Of several
    settings the one with the best mean reciprocal rank on the validation split is taken.

    Raises:
        ValueError: if there are fewer training pairs than the budget, or none to choose or to judge by.
    """
    asked, offered = parts_of(cell.pair)
    train = features.items((*asked, offered), "train")
    budget = len(train) if cell.budget < 0 else cell.budget
    if budget > len(train):
        raise ValueError(f"{cell.pair} has {len(train)} training pairs; the budget is {budget}")
    for split in ("validation", judged):
        if not len(features.items((*asked, offered), split)):
            raise ValueError(f"{cell.pair} has no pairs in the split {split}")
    rows = np.sort(np.random.default_rng(cell.seed).permutation(train)[:budget])
    settings, started = METHODS[cell.method].settings, time.perf_counter()
    given = Labelled(features, cell.pair, rows, np.setdiff1d(train, rows), cell.transfer, cell.seed)
    fits = [METHODS[cell.method].fit(given, **setting) for setting in settings]
    best = 0
    if len(fits) > 1:
        at = features.items((*asked, offered), "validation")
        best = int(np.argmax([_validated(features, fit, at) for fit in fits]))
    at = features.items((*asked, offered), judged)
    table = _judged(features, fits[best](at), at, cell.pair)
    chosen: dict[str, Any] = settings[best]
    table = table.assign(setting=json.dumps(chosen), n_settings=len(settings), seconds=time.perf_counter() - started)
    return table.assign(method=cell.method, transfer=cell.transfer, pair=cell.pair, budget=budget, seed=cell.seed)


def _validated(features: Features, fit: Scorer, at: np.ndarray) -> float:
    scores, same = fit(at), (features.concepts[at], features.concepts[at])
    both = [metrics.reciprocal_rank(metrics.rank_relevant_from_scores(each, same)) for each in (scores, scores.T)]
    return float(np.round(np.nanmean(both), 9))  # of equal ones the first, whatever the last bit says


def _judged(features: Features, scores: np.ndarray, at: np.ndarray, pair: str) -> pd.DataFrame:
    """One row a query: both directions, or from the query of several modalities alone."""
    asked, offered = parts_of(pair)
    ways = [("+".join(asked), offered, scores)]
    if len(asked) == 1:
        ways.append((offered, asked[0], scores.T))
    same, tables = (features.concepts[at], features.concepts[at]), []
    for query, gallery, each in ways:
        ranks = metrics.rank_relevant_from_scores(np.ascontiguousarray(each), same)
        columns = {"query_modality": query, "gallery_modality": gallery, "query": features.ids[at]}
        columns |= {"group": features.groups[at], "first_rank": metrics.first_rank(ranks)}
        columns |= {"n_relevant": ranks.n_relevant, "n_gallery": len(at)}
        columns |= {f"hit@{k}": metrics.hit_rate_at_k(ranks, k) for k in KS}
        columns |= {f"{name}@{KS[-1]}": metric(ranks, KS[-1]) for name, metric in SETS.items()}
        columns |= {name: getattr(metrics, name)(ranks) for name in ("reciprocal_rank", "average_precision")}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
