"""LibriSpeech: sentences from audiobooks, read by volunteers, and what they read.

Panayotov, Chen, Povey & Khudanpur (2015), doi:10.1109/ICASSP.2015.7178964.
"""

from __future__ import annotations

import os

from .common import DataSet, Rows

__all__ = ["LIBRISPEECH"]


def read(rows: Rows) -> None:
    home = "LibriSpeech/" if (rows.folder / "LibriSpeech").is_dir() else ""
    speakers = _speakers(rows, f"{home}SPEAKERS.TXT")
    for part in LIBRISPEECH.parts:
        if part not in rows.parts:
            continue
        for speaker in rows.folders(_folders(rows, rows.need(f"{home}{part}")), part):
            if speakers.get(speaker) != part:
                said = speakers.get(speaker, "in no part")
                rows.fault(speaker, "part", f"{part}/{speaker}", f"SPEAKERS.TXT says {said} of this speaker")
            for chapter in _folders(rows, f"{home}{part}/{speaker}"):
                _chapter(rows, part, f"{home}{part}/{speaker}/{chapter}", speaker, chapter)


def _chapter(rows: Rows, part: str, folder: str, speaker: str, chapter: str) -> None:
    name = f"{folder}/{speaker}-{chapter}.trans.txt"
    sounds = {each for each in os.listdir(rows.folder / folder) if each.endswith(".flac")}
    if not (rows.folder / name).is_file():
        rows.fault(f"{speaker}-{chapter}", "text", name, "is not there")
        return
    for line in rows.lines(name):
        id, _, text = line.partition(" ")
        if not id.startswith(f"{speaker}-{chapter}-") or not text.strip():
            rows.fault(id, "text", rows.at, f"is not of the form {speaker}-{chapter}-0000 TEXT")
            continue
        sounds.discard(f"{id}.flac")
        domain = "other" if "other" in part else "clean"
        rows.add(part, id, group=speaker, concept=id, text=text.strip(), speech=f"{folder}/{id}.flac", speaker=speaker,
                 domain=domain)  # fmt: skip
    for sound in sorted(sounds):
        rows.fault(sound.removesuffix(".flac"), "speech", f"{folder}/{sound}", "has no transcript")


def _speakers(rows: Rows, name: str) -> dict[str, str]:
    """Number of a speaker -> part; lines such as ``14 | F | train-clean-360 | 25.03 | Kristin LeMoine``."""
    table = {}
    for line in rows.lines(name):
        if not line.startswith(";"):
            cells = [cell.strip() for cell in line.split("|")]
            table[cells[0]] = cells[2]
    return table


def _folders(rows: Rows, folder: str) -> list[str]:
    rows.at = folder
    with os.scandir(rows.folder / folder) as entries:
        return sorted((entry.name for entry in entries if entry.name.isdecimal() and entry.is_dir()), key=int)


LIBRISPEECH = DataSet(
    name="librispeech",
    title="LibriSpeech",
    read=read,
    parts={
        "train-clean-100": "train",
        "train-clean-360": "train",
        "train-other-500": "train",
        "dev-clean": "validation",
        "dev-other": "validation",
        "test-clean": "test",
        "test-other": "test",
    },
    counts={
        "rows": {
            "train-clean-100": 28_539,
            "train-clean-360": 104_014,
            "train-other-500": 148_688,
            "dev-clean": 2_703,
            "dev-other": 2_864,
            "test-clean": 2_620,
            "test-other": 2_939,
        }
    },
    where="https://www.openslr.org/12",
    size="62 GB; each part is an archive of its own",
    terms="CC BY 4.0",
    layout="LibriSpeech/SPEAKERS.TXT, LibriSpeech/train-clean-100/19/198/19-198.trans.txt, …/19-198-0000.flac",
)
