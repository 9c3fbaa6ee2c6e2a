"""COCO captions, in Karpathy's split and in the official one of 2014, and SpokenCOCO, where people read them aloud.

Lin et al. (2014), arXiv:1405.0312; Chen et al. (2015), arXiv:1504.00325; Karpathy & Fei-Fei (2015),
arXiv:1412.2306; Hsu et al. (2021), arXiv:2012.15454.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from .common import DataSet, Rows

__all__ = ["COCO", "COCO_2014", "SPOKEN_COCO"]

KARPATHY = tuple(f"{folder}dataset_coco.json" for folder in ("", "annotations/", "karpathy/", "caption_datasets/"))
PARTS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
PICTURES = "https://cocodataset.org/#download (train2014.zip, val2014.zip)"
SPLIT = "Karpathy's dataset_coco.json: https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
TERMS = "annotations CC BY 4.0; pictures under the Flickr terms of use, their copyright is their owners'"


def read_karpathy(rows: Rows) -> None:
    """All captions from Karpathy's list; what he calls restval (the rest of val2014) is used for training."""
    for image in rows.json(rows.need(*KARPATHY), "images"):
        part, group = image["split"], str(image["cocoid"])
        if part not in PARTS:
            rows.fault(group, "part", str(part), f"is unknown; expected {', '.join(PARTS)}")
        elif part in rows.parts:
            name = f"{image['filepath']}/{image['filename']}"
            for sentence in image["sentences"]:
                rows.add(part, str(sentence["sentid"]), group=group, text=sentence["raw"].strip(), image=name)


def read_2014(rows: Rows) -> None:
    """The captions of train2014 and val2014."""
    for part in ("train2014", "val2014"):
        if part not in rows.parts:
            continue
        name = rows.need(f"annotations/captions_{part}.json", f"captions_{part}.json")
        pictures: dict[int, str] = {}
        for image in rows.json(name, "images"):
            if pictures.setdefault(image["id"], image["file_name"]) != image["file_name"]:
                rows.fault(str(image["id"]), "image", image["file_name"], "has the id of another picture")
        for caption in rows.json(name, "annotations"):
            id, group = str(caption["id"]), str(caption["image_id"])
            if caption["image_id"] not in pictures:
                rows.fault(id, "image", group, f"{name} has no picture of this id")
                continue
            picture = f"{part}/{pictures[caption['image_id']]}"
            rows.add(part, id, group=group, text=caption["caption"].strip(), image=picture)


def read_spoken(rows: Rows) -> None:
    """Every recording, in Karpathy's split by the picture that it describes."""
    places = {}
    for image in rows.json(rows.need(*KARPATHY), "images"):
        places[image["filename"]] = (image["split"], str(image["cocoid"]))
    for half in ("train", "val"):
        name = rows.need(f"SpokenCOCO/SpokenCOCO_{half}.json", f"SpokenCOCO_{half}.json")
        home = PurePosixPath(name).parent
        for image in rows.json(name, "data"):
            picture = image["image"]
            part, group = places.get(PurePosixPath(picture).name, (None, ""))
            if part is None:
                rows.fault(picture, "image", picture, "is not in dataset_coco.json, so it has no split")
                continue
            for caption in image["captions"] if part in rows.parts else ():
                speech = (home / caption["wav"]).as_posix()
                rows.add(part, caption["uttid"], group=group, text=caption["text"].strip(), image=picture,
                         speech=speech, speaker=caption["speaker"])  # fmt: skip


COCO = DataSet(
    name="coco",
    title="COCO captions, Karpathy's split",
    read=read_karpathy,
    parts=PARTS,
    counts={
        "image": {"train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000},
        "rows": {"train": 414_113, "restval": 152_634, "val": 25_010, "test": 25_010},
    },
    where=f"{PICTURES}; {SPLIT}",
    size="19 GB",
    terms=TERMS,
    layout="train2014/*.jpg, val2014/*.jpg, dataset_coco.json",
)
COCO_2014 = DataSet(
    name="coco_2014",
    title="COCO captions, official split of 2014",
    read=read_2014,
    parts={"train2014": "train", "val2014": "validation"},
    counts={
        "image": {"train2014": 82_783, "val2014": 40_504},
        "rows": {"train2014": 414_113, "val2014": 202_654},
    },
    where=f"{PICTURES}, annotations_trainval2014.zip",
    size="19 GB",
    terms=TERMS,
    layout="train2014/*.jpg, val2014/*.jpg, annotations/captions_train2014.json, annotations/captions_val2014.json",
)
SPOKEN_COCO = DataSet(
    name="spoken_coco",
    title="SpokenCOCO",
    read=read_spoken,
    parts=PARTS,
    counts={},  # "approximately 600,000 recordings" is all that is published
    where=f"https://data.csail.mit.edu/placesaudio/SpokenCOCO.tar.gz; {PICTURES}; {SPLIT}",
    size="64 GB, and 19 GB of pictures",
    terms=f"see https://groups.csail.mit.edu/sls/downloads/placesaudio/; COCO: {TERMS}",
    layout="SpokenCOCO/SpokenCOCO_train.json, SpokenCOCO/SpokenCOCO_val.json, SpokenCOCO/wavs/, train2014/, val2014/, "
    "dataset_coco.json",
)
