"""Clotho 2.1: sounds of 15 to 30 seconds from Freesound, each described by five people.

Drossos, Lipping & Virtanen (2020), arXiv:1910.09387.
"""

from __future__ import annotations

from .common import DataSet, Rows

__all__ = ["CLOTHO"]

CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))


def read(rows: Rows) -> None:
    for part in CLOTHO.parts:
        if part not in rows.parts:
            continue
        name = rows.need(f"clotho_captions_{part}.csv", f"clotho_csv_files/clotho_captions_{part}.csv")
        home = rows.need(part, f"clotho_audio_files/{part}")
        for row in rows.table(name, "file_name", *CAPTIONS):
            sound = f"{part}/{row['file_name']}"
            for number, caption in enumerate(CAPTIONS, 1):
                text = row[caption].strip()
                rows.add(part, f"{sound}#{number}", group=sound, text=text, sound=f"{home}/{row['file_name']}")


CLOTHO = DataSet(
    name="clotho",
    title="Clotho 2.1",
    read=read,
    parts={"development": "train", "validation": "validation", "evaluation": "test"},
    counts={
        "sound": {"development": 3_839, "validation": 1_045, "evaluation": 1_045},
        "rows": {"development": 19_195, "validation": 5_225, "evaluation": 5_225},
    },
    where="https://zenodo.org/record/4783391 (clotho_audio_*.7z, clotho_captions_*.csv)",
    size="11 GB unpacked",
    terms="sounds: of each the Creative Commons licence in clotho_metadata_*.csv; captions: see the record's licence",
    layout="clotho_captions_development.csv, …_validation.csv, …_evaluation.csv, development/*.wav, validation/, "
    "evaluation/",
)
