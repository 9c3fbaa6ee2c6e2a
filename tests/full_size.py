"""Miniature copies of the full-size data sets, in exactly the layouts that their official archives unpack to.

Every picture and sound is a real file, tiny and different from the others; ``links=True`` makes them hard links to a
few instead, for layouts of a hundred thousand.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

LINKS = 10_000  # to one file; many file systems allow 65,000
SYNSETS = {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish, Carassius auratus", "n02012849": "crane"}
SUBSETS = (
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
)
WORDS = ("dog", "river", "bell", "child", "market", "rain", "bicycle", "window", "train", "tree")


class Media:
    """Writes the pictures and sounds below a folder."""

    def __init__(self, folder: Path, *, links: bool = False) -> None:
        self.folder, self.links, self.count = folder, links, 0
        self.origin: dict[str, Path] = {}

    def write(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.count += 1
        if self.links and self.count % LINKS and path.suffix in self.origin:
            os.link(self.origin[path.suffix], path)
            return
        rng = np.random.default_rng(self.count)
        if path.suffix.lower() in (".jpg", ".jpeg"):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path, "JPEG")
        else:
            soundfile.write(path, rng.normal(scale=0.1, size=800).clip(-1, 1), 16_000)
        self.origin[path.suffix] = path


def caption(i: int) -> str:
    return f"A {WORDS[i % 10]} and a {WORDS[i // 10 % 10]}, number {i}."


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def imagenet(folder: Path, *, n: int = 2, flat: bool = False, links: bool = False) -> None:
    """``n`` training pictures and one for validation in each of three classes."""
    media, truth = Media(folder, links=links), []
    (folder / "LOC_synset_mapping.txt").write_text("".join(f"{s} {words}\n" for s, words in SYNSETS.items()), "utf-8")
    for synset in SYNSETS:
        for i in range(n):
            media.write(f"train/{synset}/{synset}_{i + 1}.JPEG")
    for i, place in enumerate([2, 0, 1], 1):
        synset = "" if flat else f"{[*SYNSETS][place]}/"
        media.write(f"val/{synset}ILSVRC2012_val_{i:08d}.JPEG")
        truth.append(3 - place)  # the development kit numbers classes in an order of its own
    if flat:
        development_kit(folder / "ILSVRC2012_devkit_t12" / "data", truth)


def development_kit(folder: Path, truth: list[int]) -> None:
    """meta.mat, where groups of classes follow the classes, and the ground truth."""
    from scipy.io import savemat

    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "f8")]
    classes = [(3 - place, synset, words, "", 0) for place, (synset, words) in enumerate(SYNSETS.items())]
    synsets = np.array([*classes[::-1], (4, "n00015388", "animal", "", 3)], dtype=kinds)
    folder.mkdir(parents=True)
    savemat(folder / "meta.mat", {"synsets": synsets.reshape(-1, 1)})
    text = "".join(f"{number}\n" for number in truth)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(text, "utf-8")


def coco(folder: Path, *, n: int = 2, links: bool = False) -> None:
    """``n`` pictures in each of Karpathy's parts, five captions each, the first of a part six."""
    media, images, half = Media(folder, links=links), [], {}
    for part in ("train", "restval", "val", "test"):
        for i in range(n):
            cocoid, year = len(images) + 101, "train2014" if part == "train" else "val2014"
            filename = f"COCO_{year}_{cocoid:012d}.jpg"
            media.write(f"{year}/{filename}")
            ids = [10 * cocoid + k for k in range(5 + (i == 0))]
            raw = [caption(id) + " " * (id % 2) for id in ids]
            sentences = [
                {"tokens": text.lower().split(), "raw": text, "imgid": len(images), "sentid": id}
                for id, text in zip(ids, raw, strict=True)
            ]
            images.append({"filepath": year, "sentids": ids, "filename": filename, "imgid": len(images), "split": part,
                           "sentences": sentences, "cocoid": cocoid})  # fmt: skip
            listed = half.setdefault(year, {"info": {"year": 2014}, "images": [], "licenses": [{"id": 1}],
                                            "annotations": []})  # fmt: skip
            listed["images"].append({"license": 1, "file_name": filename, "height": 8, "width": 8, "id": cocoid})
            listed["annotations"] += [
                {"image_id": cocoid, "id": id, "caption": text} for id, text in zip(ids, raw, strict=True)
            ]
    write_json(folder / "dataset_coco.json", {"images": images, "dataset": "coco"})
    for year, listed in half.items():
        write_json(folder / "annotations" / f"captions_{year}.json", listed)


def spoken_coco(folder: Path, *, n: int = 2) -> None:
    """`coco` with its captions read aloud; the pictures of the part ``val`` are in a list of their own."""
    coco(folder, n=n)
    lists, media = {"train": [], "val": []}, Media(folder / "SpokenCOCO")
    for image in json.loads((folder / "dataset_coco.json").read_text("utf-8"))["images"]:
        half, captions = "val" if image["split"] == "val" else "train", []
        for sentence in image["sentences"]:
            uttid = f"m{sentence['sentid'] % 7}-3LUY3GC63Z0R9_{image['cocoid']}_{sentence['sentid']}"
            wav = f"wavs/{half}/0/{uttid}.wav"
            media.write(wav)
            captions.append({"text": sentence["raw"].upper(), "speaker": uttid[:2], "uttid": uttid, "wav": wav})
        lists[half].append({"image": f"{image['filepath']}/{image['filename']}", "captions": captions})
    for half, data in lists.items():
        write_json(folder / "SpokenCOCO" / f"SpokenCOCO_{half}.json", {"data": data})


def flickr8k(folder: Path, *, n: int = 2) -> None:
    """``n`` pictures in each part and one in none, five captions each; one of a file that does not exist."""
    media, lines, number = Media(folder), [], 0
    for part in ("train", "dev", "test", ""):
        names = [f"{1000 + 10 * len(part) + i}_{number:010x}.jpg" for i in range(n if part else 1)]
        for name in names:
            media.write(f"Flicker8k_Dataset/{name}")
            lines += [f"{name}#{k}\t{caption(number + k)} .\n" for k in range(5)]
            number += 5
        if part:
            (folder / f"Flickr_8k.{part}Images.txt").write_text("".join(f"{name}\n" for name in names), "utf-8")
    lines += [f"2258277193_586949ec62.jpg.1#{k}\tsome boys .\n" for k in range(5)]
    (folder / "Flickr8k.token.txt").write_text("".join(lines), "utf-8")


def flickr_audio(folder: Path, *, n: int = 2) -> None:
    flickr8k(folder, n=n)
    listed = {part: (folder / f"Flickr_8k.{part}Images.txt").read_text("utf-8").split() for part in ("train", "dev")}
    names = [*listed["train"], *listed["dev"], *(folder / "Flickr_8k.testImages.txt").read_text("utf-8").split()]
    pairs = [(f"{name.removesuffix('.jpg')}_{k}.wav", name, k) for name in names for k in range(5)]
    media = Media(folder / "flickr_audio")
    for wav, _, _ in pairs:
        media.write(f"wavs/{wav}")
    captions = "".join(f"{wav} {name} #{k}\n" for wav, name, k in pairs)
    (folder / "flickr_audio" / "wav2capt.txt").write_text(captions, "utf-8")
    speakers = "".join(f"{wav} {1 + i % 3}\n" for i, (wav, _, _) in enumerate(pairs))
    (folder / "flickr_audio" / "wav2spk.txt").write_text(speakers, "utf-8")


def flickr30k(folder: Path, *, n: int = 2) -> None:
    """``n`` pictures in each of Karpathy's parts, and one that he leaves out."""
    media, images, lines = Media(folder), [], []
    for part in ("train", "val", "test", ""):
        for i in range(n if part else 1):
            name = f"{len(images) + 1000092795 + 7 * (not part)}.jpg"
            media.write(f"flickr30k-images/{name}")
            texts = [caption(5 * len(images) + i + k) for k in range(5)]
            lines += [f"{name}#{k}\t{text}\n" for k, text in enumerate(texts)]
            if part:
                sentences = [{"tokens": text.split(), "raw": text, "imgid": i, "sentid": k}
                             for k, text in enumerate(texts)]  # fmt: skip
                images.append({"sentids": [*range(5)], "imgid": len(images), "sentences": sentences, "split": part,
                               "filename": name})  # fmt: skip
    write_json(folder / "dataset_flickr30k.json", {"images": images, "dataset": "flickr30k"})
    (folder / "results_20130124.token").write_text("".join(lines), "utf-8")


def librispeech(folder: Path, *, n: int = 2, parts: tuple[str, ...] = SUBSETS) -> None:
    """One speaker with one chapter of ``n`` sentences in each part."""
    media, speakers = Media(folder / "LibriSpeech"), ["; some comment\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"]
    for number, part in enumerate(SUBSETS):
        speaker, chapter = 14 + number, 208 + number
        speakers.append(f"{speaker:<5}| F | {part:<17}| 25.03 | Kristin LeMoine\n")
        if part in parts:
            ids = [f"{speaker}-{chapter}-{i:04d}" for i in range(n)]
            for id in ids:
                media.write(f"{part}/{speaker}/{chapter}/{id}.flac")
            text = "".join(f"{id} {caption(i).upper()}\n" for i, id in enumerate(ids))
            place = folder / "LibriSpeech" / part / str(speaker) / str(chapter)
            (place / f"{speaker}-{chapter}.trans.txt").write_text(text, "utf-8")
    (folder / "LibriSpeech" / "SPEAKERS.TXT").write_text("".join(speakers), "utf-8")


def audiocaps(folder: Path, *, n: int = 2) -> None:
    """``n`` clips in each part; one caption each for training, else five."""
    media = Media(folder)
    for number, part in enumerate(("train", "val", "test")):
        rows = []
        for i in range(n):
            clip, start = f"-{number}abc_{i}XYZ", 30 * i
            media.write(f"audio/{part}/{clip}_{start}.wav")
            rows += [[1000 * number + 10 * i + k, clip, start, caption(i + k)] for k in range(5 if number else 1)]
        write_csv(folder / f"{part}.csv", ["audiocap_id", "youtube_id", "start_time", "caption"], rows)


def clotho(folder: Path, *, n: int = 2) -> None:
    media = Media(folder)
    for part in ("development", "validation", "evaluation"):
        names = [f"{WORDS[i]} (take, {i}).wav" for i in range(n)]
        for name in names:
            media.write(f"{part}/{name}")
        header = ["file_name", *(f"caption_{k}" for k in range(1, 6))]
        rows = [[name, *(caption(5 * i + k) for k in range(5))] for i, name in enumerate(names)]
        write_csv(folder / f"clotho_captions_{part}.csv", header, rows)


def esc50(folder: Path, *, n: int = 2) -> None:
    """``n`` categories in each of the five folds, two fragments of one recording each."""
    media, rows = Media(folder), []
    header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    for fold in range(1, 6):
        for target, category in enumerate(("dog", "chirping_birds", "rain")[:n]):
            source = 100_000 + 10 * fold + target
            for take in "AB":
                name = f"{fold}-{source}-{take}-{target}.wav"
                media.write(f"audio/{name}")
                rows.append([name, fold, target, category, "False", source, take])
    write_csv(folder / "meta" / "esc50.csv", header, rows)


MAKERS = {
    "imagenet": imagenet, "coco": coco, "coco_2014": coco, "spoken_coco": spoken_coco, "flickr8k": flickr8k,
    "flickr_audio": flickr_audio, "flickr30k": flickr30k, "flickr30k_tokens": flickr30k, "librispeech": librispeech,
    "audiocaps": audiocaps, "clotho": clotho, "esc50": esc50,
}  # fmt: skip
