"""Evidence from files: Parquet and CSV tables, NPZ arrays, TREC runs and qrels, and a TOML file for facts."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from .evidence import Evidence
from .findings import Finding

__all__ = ["read_evidence"]

ARRAYS = {"queries", "gallery", "scores", "relevant", "query_ids", "gallery_ids", "train_x", "train_y", "features",
          "bank_ids", "tuned_on"}  # fmt: skip
FACTS = {"similarity", "pairs", "widths", "regularization", "bank_ids", "tuned_on", "reported", "claims",
         "n_queries_printed"}  # fmt: skip


def read_evidence(paths: Sequence[str | Path]) -> Evidence:
    """Files, told apart by what they hold.

    - NPZ: arrays ``queries``, ``gallery``, ``scores``, ``relevant`` (boolean matrix), ``query_ids``, ``gallery_ids``,
      ``train_x``, ``train_y``, ``features``, ``bank_ids``, ``tuned_on``;
    - Parquet or CSV: with ``id`` and ``split``, the items; with ``system``, ``query`` and ``value``, trials; any other
      is a printed table;
    - text of four columns, TREC qrels; of six, a TREC run;
    - TOML: the other attributes of `Evidence`, such as ``similarity = "cosine"`` or ``[reported]``.

    Raises:
        ValueError: for a file that cannot be read or whose content is not known, or the same evidence twice.
        FileNotFoundError: if there is no such file.
    """
    found: dict[str, Any] = {}
    runs: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}; expected Parquet, CSV, NPZ, TOML, or a TREC run or qrels")
        try:
            new = _read(path)
        except (OSError, ValueError, BadZipFile) as error:
            raise ValueError(f"{path} is no evidence: {error}") from error
        if twice := (set(new) & set(found)) or ({"run", "qrels"} & set(new) & set(runs)):
            raise ValueError(f"{path} brings {', '.join(sorted(twice))} a second time; give each once")
        runs |= {kind: path for kind in ("run", "qrels") if kind in new}
        found |= new
    if "run" in found or "qrels" in found:
        found |= _trec(found.pop("run", None), found.pop("qrels", None))
    sides = found.pop("train_x", None), found.pop("train_y", None)
    if sides[0] is not None and sides[1] is not None:
        found["train"] = sides
    return Evidence(**found)


def _read(path: Path) -> dict[str, Any]:
    kind = path.suffix.lower()
    if kind == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            if strange := set(arrays) - ARRAYS:
                raise ValueError(f"holds {', '.join(sorted(strange))}; expected {', '.join(sorted(ARRAYS))}")
            return {name: arrays[name].tolist() if name.endswith(("ids", "_on")) else arrays[name] for name in arrays}
    if kind == ".toml":
        facts = tomllib.loads(path.read_text("utf-8"))
        if strange := set(facts) - FACTS:
            raise ValueError(f"holds {', '.join(sorted(strange))}; expected {', '.join(sorted(FACTS))}")
        if not all(isinstance(claim, list) and len(claim) == 2 for claim in facts.get("claims", [])):
            raise ValueError(f'claims must be pairs [["better", "worse"]], got {facts["claims"]!r}')
        return facts
    if kind in (".parquet", ".csv"):
        # digits as printed: 0.90 is not 0.9
        table = pd.read_parquet(path) if kind == ".parquet" else pd.read_csv(path, dtype=str)
        if {"id", "split"} <= set(table):
            return {"items": table}
        if {"system", "query", "value"} <= set(table):
            return {"trials": table.assign(value=pd.to_numeric(table["value"]))}
        return {"table": table}
    rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    widths = {len(row) for row in rows}
    if widths not in ({4}, {6}):
        raise ValueError(
            f"it is none of Parquet, CSV, NPZ and TOML, and has lines of {sorted(widths)} words; "
            "TREC qrels have 4 (query 0 item relevance), a run has 6 (query Q0 item rank score name)"
        )
    return {"qrels" if widths == {4} else "run": rows}


def _trec(run: list[list[str]] | None, qrels: list[list[str]] | None) -> dict[str, Any]:
    """A run and qrels as matrices; an item that the run does not list for a query scores minus infinity there."""
    if run is None or qrels is None:
        raise ValueError(f"a TREC {'run' if run else 'qrels file'} alone says nothing; give both run and qrels")
    already = []
    asked, judged = {row[0] for row in run}, {row[0] for row in qrels}
    if not asked & judged and asked & {row[2] for row in qrels}:
        raise ValueError("queries of the run are items of the qrels: the two columns are exchanged in one of them")
    query_ids, gallery_ids = sorted(judged), sorted({row[2] for row in run} | {row[2] for row in qrels})
    query_at = {name: i for i, name in enumerate(query_ids)}
    item_at = {name: i for i, name in enumerate(gallery_ids)}
    relevant = np.zeros((len(query_ids), len(gallery_ids)), bool)
    for query, _, item, grade in qrels:
        relevant[query_at[query], item_at[item]] = float(grade) > 0
    scores = np.full(relevant.shape, -np.inf)
    repeated = [(row[0], row[2]) for row in run]
    if len(set(repeated)) < len(repeated):
        already.append(
            Finding(
                "run-repeats",
                "error",
                "The run lists an item more than once for the same query.",
                f"{len(repeated) - len(set(repeated))} lines too many",
                "A relevant item then counts several times.",
                "Keep each item's best score.",
            )
        )
    for query, _, item, _, score, _ in run:
        if query in query_at:
            at = query_at[query], item_at[item]
            scores[at] = np.fmax(scores[at], float(score)) if not np.isnan(float(score)) else np.nan
    disagree = sum(_out_of_order(list(rows)) for _, rows in _by_query(run))
    if disagree:
        already.append(
            Finding(
                "run-ranks-disagree",
                "warning",
                "In the run, the ranks are not those of the scores.",
                f"{disagree} of {len(asked)} queries",
                "trec_eval sorts by score and ignores ranks; other programs read the ranks.",
                "Write both from the same order.",
                "Voorhees & Harman (2005), TREC, MIT Press",
            )
        )
    if absent := judged - asked:
        already.append(
            Finding(
                "run-lacks-queries",
                "warning",
                "Queries that are judged are not in the run.",
                f"{len(absent)} of {len(judged)}, such as {min(absent)!r}",
                "Programs that average over the run alone leave them out, which raises the figure.",
                "Count them as missed (trec_eval -c), or say why they are left out.",
            )
        )
    ids = {"query_ids": query_ids, "gallery_ids": gallery_ids}
    return {"scores": scores, "relevant": relevant, "already": already, **ids}


def _by_query(run: list[list[str]]) -> list[tuple[str, list[list[str]]]]:
    rows: dict[str, list[list[str]]] = {}
    for row in run:
        rows.setdefault(row[0], []).append(row)
    return list(rows.items())


def _out_of_order(rows: list[list[str]]) -> bool:
    scores = [float(row[4]) for row in sorted(rows, key=lambda row: float(row[3]))]
    return any(low < high for low, high in pairwise(scores))
