"""ESC-50: 2,000 environmental sounds of five seconds in 50 categories and five folds; the category is the text.

Piczak (2015), doi:10.1145/2733373.2806390.
"""

from __future__ import annotations

from .common import DataSet, Rows

__all__ = ["ESC50"]


def read(rows: Rows) -> None:
    """The folds as parts: 1 to 3 for training, 4 for validation, 5 for the test. For five-fold cross-validation, make
    the splits from the column ``part``. Fragments of one recording are a group."""
    name = rows.need("meta/esc50.csv")
    rows.need("audio")
    for row in rows.table(name, "filename", "fold", "category", "src_file"):
        fold, category = row["fold"], row["category"]
        if fold not in ESC50.parts:
            rows.fault(row["filename"], "part", fold, f"is no fold; expected {', '.join(ESC50.parts)}")
        elif fold in rows.parts:
            id = row["filename"].rpartition(".")[0]
            rows.add(fold, id, group=row["src_file"], concept=category, label=category,
                     text=category.replace("_", " "), sound=f"audio/{row['filename']}")  # fmt: skip


ESC50 = DataSet(
    name="esc50",
    title="ESC-50",
    read=read,
    parts={"1": "train", "2": "train", "3": "train", "4": "validation", "5": "test"},
    counts={"rows": dict.fromkeys("12345", 400), "label": dict.fromkeys("12345", 50)},
    where="https://github.com/karolpiczak/ESC-50",
    size="600 MB",
    terms="CC BY-NC",
    layout="meta/esc50.csv, audio/*.wav",
)
