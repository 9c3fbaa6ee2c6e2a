"""Flickr8k, its captions read aloud (Flickr Audio Captions), and Flickr30k.

Hodosh, Young & Hockenmaier (2013), doi:10.1613/jair.3994; Harwath & Glass (2015), arXiv:1511.03690; Young et al.
(2014), doi:10.1162/tacl_a_00166; Karpathy & Fei-Fei (2015), arXiv:1412.2306.
"""

from __future__ import annotations

from collections.abc import Iterator

from .common import DataSet, Rows

__all__ = ["FLICKR8K", "FLICKR30K", "FLICKR30K_TOKENS", "FLICKR_AUDIO"]

PARTS = {"train": "train", "dev": "validation", "test": "test"}
PICTURES_8K = ("Flicker8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Flickr8k_Dataset")  # the first is official
PICTURES_30K = ("flickr30k-images", "flickr30k_images")
KARPATHY = tuple(f"{folder}dataset_flickr30k.json" for folder in ("", "karpathy/", "caption_datasets/"))
TERMS = "non-commercial research and education; pictures under the Flickr terms of use"


def captions(rows: Rows, name: str) -> Iterator[tuple[str, str, str]]:
    """Picture, number and text of every line ``picture.jpg#0<tab>text``."""
    for line in rows.lines(name):
        key, tab, text = line.partition("\t")
        picture, sharp, number = key.rpartition("#")
        if tab and sharp and picture and number.isdecimal() and text.strip():
            yield picture, number, text.strip()
        else:
            rows.fault(key, "text", rows.at, "is not of the form picture.jpg#0<tab>text")


def splits_8k(rows: Rows) -> tuple[dict[str, str], str]:
    """The part of every picture that is in one, and where the lists lie. 92 of the 8,092 are in none."""
    tokens = rows.need("Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt")
    home, parts = tokens.removesuffix("Flickr8k.token.txt"), dict[str, str]()
    for part in PARTS:
        for line in rows.lines(f"{home}Flickr_8k.{part}Images.txt"):
            picture = line.strip()
            if (other := parts.setdefault(picture, part)) != part:
                rows.fault(picture, "part", f"{other}, {part}", "is in more than one part")
    return parts, home


def read_8k(rows: Rows) -> None:
    parts, home = splits_8k(rows)
    pictures, captioned = rows.need(*PICTURES_8K), set()
    for picture, number, text in captions(rows, f"{home}Flickr8k.token.txt"):
        captioned.add(picture)
        if (part := parts.get(picture)) in rows.parts:
            rows.add(part, f"{picture}#{number}", group=picture, text=text, image=f"{pictures}/{picture}")
    _uncaptioned(rows, parts, captioned, "Flickr8k.token.txt")


def read_audio(rows: Rows) -> None:
    """Every recording, with the caption that is read and its picture."""
    parts, home = splits_8k(rows)
    pictures, audio = rows.need(*PICTURES_8K), rows.need("flickr_audio")
    texts = {(picture, number): text for picture, number, text in captions(rows, f"{home}Flickr8k.token.txt")}
    speakers = {wav: speaker for wav, speaker in _words(rows, f"{audio}/wav2spk.txt", 2)}
    recorded = set()
    for wav, picture, number in _words(rows, f"{audio}/wav2capt.txt", 3):
        recorded.add(picture)
        text = texts.get((picture, number.removeprefix("#")))
        if text is None or picture not in parts or wav not in speakers:
            what = "speaker in wav2spk.txt" if text and picture in parts else f"caption {picture}{number}"
            rows.fault(wav, "speech", wav, f"belongs to no known {what}")
        elif parts[picture] in rows.parts:
            rows.add(parts[picture], wav.removesuffix(".wav"), group=picture, text=text, image=f"{pictures}/{picture}",
                     speech=f"{audio}/wavs/{wav}", speaker=speakers[wav])  # fmt: skip
    _uncaptioned(rows, parts, recorded, "wav2capt.txt")


def read_30k(rows: Rows) -> None:
    """The pictures of Karpathy's list, which leaves out 769 of the 31,783."""
    pictures = rows.need(*PICTURES_30K)
    for image in rows.json(rows.need(*KARPATHY), "images"):
        part, picture = image["split"], image["filename"]
        if part not in FLICKR30K.parts:
            rows.fault(picture, "part", str(part), f"is unknown; expected {', '.join(FLICKR30K.parts)}")
        elif part in rows.parts:
            for number, sentence in enumerate(image["sentences"]):
                text = sentence["raw"].strip()
                rows.add(part, f"{picture}#{number}", group=picture, text=text, image=f"{pictures}/{picture}")


def read_30k_tokens(rows: Rows) -> None:
    """All pictures; no split is published with them, so one is drawn."""
    pictures = rows.need(*PICTURES_30K)
    for picture, number, text in captions(rows, "results_20130124.token"):
        rows.add("all", f"{picture}#{number}", group=picture, text=text, image=f"{pictures}/{picture}")


def _words(rows: Rows, name: str, n: int) -> Iterator[tuple[str, ...]]:
    for line in rows.lines(name):
        words = tuple(line.split())
        if len(words) == n:
            yield words
        else:
            rows.fault(words[0], "list", rows.at, f"has {len(words)} words; {n} are expected")


def _uncaptioned(rows: Rows, parts: dict[str, str], known: set[str], name: str) -> None:
    for picture, part in parts.items():
        if part in rows.parts and picture not in known:
            rows.fault(picture, "text", picture, f"is in the {part} part, but {name} has nothing on it")


WHERE_8K = "request form https://forms.illinois.edu/sec/1713398 (Flickr8k_Dataset.zip, Flickr8k_text.zip)"
LAYOUT_8K = "Flicker8k_Dataset/*.jpg, Flickr8k.token.txt, Flickr_8k.trainImages.txt, …devImages.txt, …testImages.txt"
FLICKR8K = DataSet(
    name="flickr8k",
    title="Flickr8k",
    read=read_8k,
    parts=PARTS,
    counts={
        "image": {"train": 6_000, "dev": 1_000, "test": 1_000},
        "rows": {"train": 30_000, "dev": 5_000, "test": 5_000},
    },
    where=WHERE_8K,
    size="1 GB",
    terms=TERMS,
    layout=LAYOUT_8K,
)
FLICKR_AUDIO = DataSet(
    name="flickr_audio",
    title="Flickr Audio Captions",
    read=read_audio,
    parts=PARTS,
    counts=FLICKR8K.counts,
    where=f"https://groups.csail.mit.edu/sls/downloads/flickraudio/ (flickr_audio.tar.gz); Flickr8k: {WHERE_8K}",
    size="4.2 GB, and 1 GB of pictures",
    terms=f"recordings CC BY-SA; Flickr8k: {TERMS}",
    layout=f"flickr_audio/wavs/*.wav, flickr_audio/wav2capt.txt, flickr_audio/wav2spk.txt, {LAYOUT_8K}",
)
WHERE_30K = "request form at https://shannon.cs.illinois.edu/DenotationGraph/"
FLICKR30K = DataSet(
    name="flickr30k",
    title="Flickr30k, Karpathy's split",
    read=read_30k,
    parts={"train": "train", "val": "validation", "test": "test"},
    counts={
        "image": {"train": 29_000, "val": 1_014, "test": 1_000},
        "rows": {"train": 145_000, "val": 5_070, "test": 5_000},
    },
    where=f"{WHERE_30K}; dataset_flickr30k.json: "
    "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
    size="4.4 GB",
    terms=TERMS,
    layout="flickr30k-images/*.jpg, dataset_flickr30k.json",
)
FLICKR30K_TOKENS = DataSet(
    name="flickr30k_tokens",
    title="Flickr30k, all pictures",
    read=read_30k_tokens,
    parts={"all": ""},
    counts={"image": {"all": 31_783}, "rows": {"all": 158_915}},
    where=WHERE_30K,
    size="4.4 GB",
    terms=TERMS,
    layout="flickr30k-images/*.jpg, results_20130124.token",
)
