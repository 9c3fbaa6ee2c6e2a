"""Checks of the split: what the test should not share with the training, nor with the tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from xmr_lab._validation import unit

from .evidence import Evidence
from .findings import Finding, Severity

__all__ = ["SPLITS"]

SOURCE = "Kapoor & Narayanan (2023), Leakage and the reproducibility crisis, doi:10.1016/j.patter.2023.100804"
NEAR = 0.999  # cosine above which two feature vectors are taken for the same thing


def _across(items: pd.DataFrame, column: str) -> pd.DataFrame:
    """The values of a column that more than one split has, with these splits."""
    known = items.dropna(subset=[column, "split"])
    known = known[known[column] != ""]
    splits = known.groupby(column)["split"].agg(lambda split: sorted(set(split)))
    return splits[splits.map(len) > 1].to_frame("splits").reset_index()


def shared(
    name: str, column: str, severity: Severity, what: str, why: str, remedy: str, source: str = SOURCE
) -> Callable[[Evidence], Iterator[Finding]]:
    """A check that no value of a column of ``items`` stands in two splits."""

    def check(evidence: Evidence) -> Iterator[Finding]:
        assert evidence.items is not None
        items = evidence.items
        if column not in items:
            return
        items = items.assign(**{column: items[column].map(_plain if column == "caption" else _name)})
        if not len(both := _across(items, column)):
            return
        example = both.iloc[0]
        where = " and ".join(map(str, example["splits"]))
        shown = f"{len(both)} of {items[column].nunique()}, such as {example[column]!r} in {where}"
        yield Finding(name, severity, what, shown, why, remedy, source)

    return check


def _name(value: object) -> str | None:
    """As text; None where there is none."""
    missing = value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NA
    return None if missing else str(value).strip()


def _plain(caption: object) -> str | None:
    """A caption as people compare them: without case, full stop and surplus space; None where there is none."""
    if not isinstance(caption, str):
        return None
    return " ".join(caption.casefold().strip().rstrip(".!。").split()) or None


def near_duplicates(evidence: Evidence) -> Iterator[Finding]:
    items, features = evidence.items, evidence.features
    assert items is not None and features is not None
    splits = items["split"].to_numpy()
    usable = np.isfinite(features).all(axis=1) & (np.abs(features).sum(axis=1) > 0) & items["split"].notna().to_numpy()
    rows, directions = np.flatnonzero(usable), unit(features[usable])
    found: list[tuple[int, int]] = []
    for start in range(0, len(rows), 1024):  # (1024, n) cosines at a time
        close = directions[start : start + 1024] @ directions.T > NEAR
        a, b = np.nonzero(close)
        pairs = zip(rows[a + start].tolist(), rows[b].tolist(), strict=True)
        found += [(i, j) for i, j in pairs if i < j and splits[i] != splits[j]]
    if found:
        i, j = found[0]
        yield Finding(
            "split-near-duplicates",
            "error",
            "Items of different splits look the same.",
            f"{len(found)} pair{'s' * (len(found) != 1)} with a cosine above {NEAR}, such as "
            f"{items['id'].iloc[i]!r} ({splits[i]}) and {items['id'].iloc[j]!r} ({splits[j]})",
            "What was learnt by heart counts as understood.",
            "Group near-duplicates, and split by group.",
            "Barz & Denzler (2020), Do we train on test data?, arXiv:1902.00423",
        )


def bank(evidence: Evidence) -> Iterator[Finding]:
    assert evidence.bank_ids is not None and evidence.query_ids is not None
    if both := set(evidence.bank_ids) & set(evidence.query_ids):
        yield Finding(
            "bank-of-test-queries",
            "error",
            "The query bank of the hubness correction holds queries of the test.",
            f"{len(both)} of {len(set(evidence.bank_ids))}, such as {min(both)!r}",
            "The result then depends on which other queries are asked; a system that answers one query cannot have it.",
            "Take the bank from the training queries, or call the result transductive and set it apart.",
            "Bogolin et al. (2022), QB-Norm, arXiv:2112.12777",
        )


def tuned(evidence: Evidence) -> Iterator[Finding]:
    assert evidence.tuned_on is not None
    chosen = set(map(str, evidence.tuned_on))
    test = set() if evidence.items is None else set(evidence.items.loc[evidence.items["split"] == "test", "id"])
    test |= set() if evidence.query_ids is None else set(evidence.query_ids)
    if both := chosen & ({"test"} | set(map(str, test))):
        yield Finding(
            "tuned-on-test",
            "error",
            "Settings were chosen on what is then reported.",
            f"{len(both)} of {len(chosen)}, such as {min(both)!r}",
            "The best of many settings on the test is better than any of them is.",
            "Choose on validation data, and look at the test once.",
            "Cawley & Talbot (2010), On over-fitting in model selection, JMLR 11, 2079-2107",
        )


SPLITS = {
    "split-ids": (
        "items",
        shared("split-ids", "id", "error", "The same item stands in more than one split.",
               "The test then measures memory.", "Give every item one split, and drop repeated rows."),
    ),
    "split-captions": (
        "items",
        shared("split-captions", "caption", "warning", "The same caption stands in more than one split.",
               "A model that has seen the caption with other pictures knows the answer to this query.",
               "Group items by caption, and split by group."),
    ),
    "split-groups": (
        "items",
        shared("split-groups", "group", "error", "A group is torn between splits.",
               "Items were grouped because they are not independent; now the test leans on the training.",
               "Split by group, as sklearn's GroupShuffleSplit does."),
    ),
    "split-speakers": (
        "items",
        shared("split-speakers", "speaker", "note", "The same speaker stands in more than one split.",
               "The result holds for voices that were heard in training, and says nothing of others.",
               "Say so, or hold speakers out."),
    ),
    "split-fingerprints": (
        "items",
        shared("split-fingerprints", "fingerprint", "error", "The same file stands in more than one split.",
               "The test then measures memory.", "Remove the copies, or group them."),
    ),
    "split-near-duplicates": ("items features", near_duplicates),
    "bank-of-test-queries": ("bank_ids query_ids", bank),
    "tuned-on-test": ("tuned_on", tuned),
}  # fmt: skip
