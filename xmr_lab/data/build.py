"""Make the Stamps collection from the unpacked Debian package ``tuxpaint-stamps-default``.

The same input gives the same bytes, given the same versions of Pillow, libsndfile, resvg and pyarrow;
they are written into ``SHA256SUMS``'s neighbour ``BUILD.json``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
import re
import struct
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image
from tqdm.auto import tqdm

from .audio import decode_audio
from .splits import connected_groups, near_duplicates, stratified_group_split
from .stamps import ITEMS, SUMS

__all__ = ["build_stamps"]

SIDE = 224  # pixels, the longer side at most
RATE = 16_000  # Hz
LANGUAGES = ("be", "bg", "ca", "da", "el", "es", "fr", "nl", "ro", "ru")  # of the recordings; English: too few
# Pictures without a vector original that are drawn nevertheless; judged by eye, one by one.
DRAWN = """
    animals/mammals/hedgehog clothes/button clothes/t_* food/pizza household/arttools/highlighter
    household/tools/wrench_adjustable medical/tooth people/body_parts/eye seasonal/easter/*
    seasonal/christmas/Santa seasonal/christmas/bow seasonal/christmas/hard_candy seasonal/christmas/lamp
    seasonal/christmas/santahat seasonal/christmas/star seasonal/christmas/stocking seasonal/christmas/tree
    seasonal/christmas/xmas_tp_bulb seasonal/halloween/bat_left seasonal/halloween/blackcat
    seasonal/halloween/ghost seasonal/halloween/skull seasonal/halloween/spider seasonal/hanukkah/*
    seasonal/newyears/confetti seasonal/newyears/party-* symbols/alphabets/* symbols/chess/* symbols/clockface
    symbols/faces/* symbols/math/* symbols/music/* symbols/recycle symbols/shapes/* town/flags/*
    town/monuments/inukshuk-outline town/roadsigns/arrow town/roadsigns/crossroads
    town/roadsigns/give_way_sign town/roadsigns/hospital town/roadsigns/roundabout town/roadsigns/stop*
    town/roadsigns/t-junction town/roadsigns/toilets town/roadsigns/xing_school town/roadsigns/yield
    town/usps_mailbox vehicles/emergency/sedan_police */cartoon/*
""".split()
_CAPTION = re.compile(r"([A-Za-z_@]+)\.utf8=(.*)")


def build_stamps(source: str | Path, target: str | Path) -> Path:
    """Build the collection from the folder into which the package was unpacked; returns ``target``.

    Everything is written to a new folder first, which then takes the old one's place.

    Raises:
        FileNotFoundError: if ``source`` holds no stamps, or vector pictures and ``resvg-py`` is not installed.
        FileExistsError: if ``target`` holds something else than a collection.
    """
    if Path(target).exists() and any(Path(target).iterdir()) and not (Path(target) / SUMS).is_file():
        raise FileExistsError(f"{target} is not empty and holds no collection ({SUMS}), so it is not replaced")
    candidates = [Path(source), *sorted(Path(source).rglob("stamps"))]
    roots = [path for path in candidates if (path / "animals").is_dir()]
    if not roots:
        raise FileNotFoundError(
            f"no stamps found in {source}. Expected the unpacked Debian package: "
            "'apt-get download tuxpaint-stamps-default', then 'dpkg-deb -x tuxpaint-stamps-default_*.deb DIR'."
        )
    root, target = roots[0], Path(target)
    pictures = {stem: file for stem in _stems(root) if (file := _picture_file(stem))}
    stems = list(pictures)
    images = [_draw(pictures[stem]) for stem in tqdm(stems, desc="pictures", unit="picture")]
    captions = [_captions(_beside(stem, ".txt")) for stem in stems]
    ids = [stem.relative_to(root).as_posix() for stem in stems]
    paired = list(zip(stems, ids, strict=True))
    folders = [stem.parent.relative_to(root).as_posix() for stem in stems]
    concepts = [caption["en"].casefold().strip(" .") for caption in captions]

    links = [(concepts.index(concept), i) for i, concept in enumerate(concepts)]
    groups = connected_groups(len(ids), links + near_duplicates(images, folders))
    labels = [folder.split("/")[0] for folder in folders]

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        new = Path(scratch) / "stamps"
        new.mkdir()
        columns: dict[str, list] = {
            "id": ids,
            "label": labels,
            "category": [folder.removesuffix("/cartoon") for folder in folders],
            "concept": concepts,
            "group": groups.tolist(),
            "split": stratified_group_split(labels, groups).tolist(),
            "domain": [_domain(pictures[stem], id) for stem, id in paired],
            "image": [_file(_webp(image), f"{id}.webp") for image, id in zip(images, ids, strict=True)],
            "sound": [_effect(stem, id) for stem, id in paired],
        }
        locales = sorted({locale for caption in captions for locale in caption} - {"en"})
        columns |= {f"text_{locale}": [c.get(locale) for c in captions] for locale in ["en", *locales]}
        _write(new / ITEMS, columns)
        for language in tqdm(LANGUAGES, desc="speech", unit="language"):
            clips = [_sound(_beside(stem, f"_desc_{language}.ogg"), f"{id}.ogg") for stem, id in paired]
            spoken = {id: clip for id, clip in zip(ids, clips, strict=True) if clip}
            _write(new / f"speech_{language}.parquet", {"id": list(spoken), "audio": list(spoken.values())})
        sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(new.iterdir())]
        (new / SUMS).write_text("".join(sums), "utf-8")
        (new / "BUILD.json").write_text(json.dumps(_versions(), indent=1) + "\n", "utf-8")
        if target.exists():
            target.replace(Path(scratch) / "old")
        new.replace(target)
    return target


def _versions() -> dict[str, str]:
    versions = {"source": "tuxpaint-stamps-default 2022.06.04-1", "libsndfile": soundfile.__libsndfile_version__}
    for name in ("pillow", "pyarrow", "resvg-py", "scipy", "soundfile"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _stems(root: Path) -> list[Path]:
    return [path.with_suffix("") for path in sorted(root.rglob("*.txt"))]


def _beside(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)  # names may hold dots, so no with_suffix


def _picture_file(stem: Path) -> Path | None:
    """The vector original where there is one, as Tux Paint prefers it too."""
    return next((path for ending in (".svg", ".png") if (path := _beside(stem, ending)).is_file()), None)


def _draw(path: Path) -> Image.Image:
    if path.suffix == ".svg":
        try:
            import resvg_py
        except ModuleNotFoundError as error:
            raise FileNotFoundError(
                f"{path.name} is a vector picture, and resvg-py, which draws it, is not installed. "
                "What to do: 'pip install resvg-py', or 'python3 lab.py setup build'."
            ) from error
        drawn = bytes(resvg_py.svg_to_bytes(svg_path=str(path), dpi=96, skip_system_fonts=True))
    else:
        drawn = path.read_bytes()
    image = Image.open(io.BytesIO(drawn)).convert("RGBA")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


def _webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, method=4)
    return buffer.getvalue()


def _captions(path: Path) -> dict[str, str]:
    first, *rest = path.read_text("utf-8").splitlines()
    pairs = [match.groups() for line in rest if (match := _CAPTION.fullmatch(line))]
    return {"en": first.strip()} | {locale: text.strip() for locale, text in pairs if text.strip()}


def _domain(picture: Path, id: str) -> str:
    drawn = picture.suffix == ".svg" or any(fnmatchcase(id, pattern) for pattern in DRAWN)
    return "drawing" if drawn else "photograph"


def _sound(path: Path, name: str) -> dict | None:
    """The recording as 16 kHz mono Ogg Opus, or None where there is none."""
    if not path.is_file():
        return None
    sound = decode_audio(path).mono().resample(RATE)
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.samples, RATE, format="OGG", subtype="OPUS", compression_level=0.95)
    return _file(_fix_serial(buffer.getvalue()), name)


def _effect(stem: Path, id: str) -> dict | None:
    """The sound effect; beside a digit or a letter the file holds its name, spoken, which is none."""
    spoken = id.startswith(("symbols/math", "symbols/alphabets"))
    return None if spoken else _sound(_beside(stem, ".ogg"), f"{id}.ogg")


def _file(content: bytes, name: str) -> dict:
    return {"bytes": content, "path": name}


def _write(path: Path, columns: dict[str, list]) -> None:
    """A Parquet file whose pictures and sounds Hugging Face ``datasets`` recognises as such."""
    table = pa.table(columns)
    kinds = {"image": "Image", "sound": "Audio", "audio": "Audio"}
    features = {name: {"_type": kinds[name]} if name in kinds else
                {"dtype": str(table.schema.field(name).type).replace("large_", ""), "_type": "Value"}
                for name in columns}  # fmt: skip
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, compression="zstd")


# The encoder numbers each Ogg stream at random. A fixed number, and the checksum of each page with it,
# makes the build repeatable (RFC 3533, section 6).
_CRC = []
for _byte in range(256):
    _value = _byte << 24
    for _ in range(8):
        _value = (_value << 1 ^ (0x04C11DB7 if _value & 0x80000000 else 0)) & 0xFFFFFFFF
    _CRC.append(_value)


def _fix_serial(stream: bytes) -> bytes:
    pages, start = [], 0
    while start < len(stream):
        n_segments = stream[start + 26]
        end = start + 27 + n_segments + sum(stream[start + 27 : start + 27 + n_segments])
        page = bytearray(stream[start:end])
        page[14:18], page[22:26] = bytes(4), bytes(4)
        crc = 0
        for byte in page:
            crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC[crc >> 24 ^ byte]
        page[22:26] = struct.pack("<I", crc)
        pages.append(bytes(page))
        start = end
    return b"".join(pages)
