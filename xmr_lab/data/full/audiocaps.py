"""AudioCaps: clips of ten seconds from YouTube, described by people; one caption each in training, five in the others.

Kim, Kim, Lee & Kim (2019), doi:10.18653/v1/N19-1011.
"""

from __future__ import annotations

import os

from xmr_lab.data.check import SOUNDS

from .common import DataSet, Rows

__all__ = ["AUDIOCAPS"]


def read(rows: Rows) -> None:
    for part in AUDIOCAPS.parts:
        if part not in rows.parts:
            continue
        name, home = rows.need(f"{part}.csv", f"dataset/{part}.csv"), rows.need(f"audio/{part}", "audio")
        with os.scandir(rows.folder / home) as entries:
            names = [os.path.splitext(entry.name) for entry in entries]
        sounds = {stem: f"{home}/{stem}{ending}" for stem, ending in names if ending.lower() in SOUNDS}
        for row in rows.table(name, "audiocap_id", "youtube_id", "start_time", "caption"):
            clip = row["youtube_id"]
            named = f"{clip}_{row['start_time']}"
            sound = sounds.get(named) or sounds.get(clip) or f"{home}/{named}.wav"
            rows.add(part, row["audiocap_id"], group=clip, text=row["caption"].strip(), sound=sound)


AUDIOCAPS = DataSet(
    name="audiocaps",
    title="AudioCaps",
    read=read,
    parts={"train": "train", "val": "validation", "test": "test"},
    counts={"rows": {"train": 49_838, "val": 2_475, "test": 4_875}},
    where="captions: https://github.com/cdjkim/audiocaps (dataset/*.csv); the sounds are not distributed, but are "
    "cut from YouTube by oneself, where some of them are gone (broken='skip' leaves these out)",
    size="captions 5 MB; sounds about 43 GB at 32 kHz",
    terms="captions free for academic purposes only; sounds under the terms of YouTube and their owners",
    layout="train.csv, val.csv, test.csv; audio/ or audio/train/, audio/val/, audio/test/ with "
    "<youtube_id>_<start_time>.wav or <youtube_id>.wav (.flac and others, too)",
)
