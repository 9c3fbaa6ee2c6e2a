"""Where a hub model's files come from, and whether they are whole: a pinned download, or a local mirror."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

__all__ = [
    "HubName",
    "check_folder",
    "hub_folder",
    "load_network",
    "load_preprocessor",
    "parse_hub_name",
    "read_config",
]

PART = r"[\w.-]+"


class HubName(NamedTuple):
    repository: str
    revision: str


def parse_hub_name(name: str) -> HubName:
    """The parts of ``hub:owner/name@revision``.

    The revision is required: a name alone is another model as soon as its owner uploads one.

    Raises:
        ValueError: if it cannot be read so; the message says how to find a revision.

    Examples:
        >>> parse_hub_name("hub:openai/clip-vit-base-patch32@3d74acf")
        HubName(repository='openai/clip-vit-base-patch32', revision='3d74acf')
    """
    found = re.fullmatch(rf"hub:({PART}/{PART})@([\w./-]+)", name)
    if not found:
        raise ValueError(
            f"cannot read {name!r}; expected hub:owner/name@revision, the revision a commit of 40 hexadecimal digits. "
            "It stands on the model's page under 'Files', 'History', or "
            "`huggingface_hub.HfApi().model_info('owner/name').sha` prints it"
        )
    return HubName(*found.groups())


def hub_folder(name: str) -> Path:
    """The folder with the files of a hub model, checked by `check_folder`.

    With the environment variable ``XMR_HUB_DIR`` that is ``owner/name/revision`` in the folder it names (or
    ``owner/name`` for a name without a revision), and nothing is downloaded: an offline site brings models by file.
    Without it, the files of exactly that commit are downloaded, at first use, to the client's cache.

    Raises:
        ValueError: if the name cannot be read, its revision is no commit, its path leads out of the mirror, or a
            file is damaged.
        FileNotFoundError: if the mirror has no such model, or the model has no safetensors.
        ConnectionError: if it is neither in the client's cache nor within reach.
    """
    mirror = os.environ.get("XMR_HUB_DIR")
    if mirror:
        folder = mirrored(name, Path(mirror))
    else:
        repository, revision = parse_hub_name(name)
        if not re.fullmatch(r"[0-9a-f]{40}", revision):
            raise ValueError(
                f"{name} is not pinned: {revision!r} may stand for another commit tomorrow; expected a commit of 40 "
                f"hexadecimal digits, as `huggingface_hub.HfApi().model_info({repository!r}).sha` prints it"
            )
        folder = download(repository, revision)
    check_folder(folder)
    return folder


def mirrored(name: str, mirror: Path) -> Path:
    """``mirror/owner/name[/revision]``, which must be there, and no file of it outside."""
    found = re.fullmatch(rf"hub:({PART}/{PART})(?:@({PART}(?:/{PART})*))?", name)
    parts = "/".join(filter(None, found.groups())).split("/") if found else []
    if not parts or any(set(part) == {"."} for part in parts):
        raise ValueError(f"cannot read {name!r}; expected hub:owner/name[@revision] without '..' or leading slashes")
    root = mirror.resolve()
    folder = root.joinpath(*parts)
    if not folder.is_dir():
        option = f" --revision {'/'.join(parts[2:])}" if parts[2:] else ""
        raise FileNotFoundError(
            f"{name}: there is no folder {'/'.join(parts)} in XMR_HUB_DIR ({mirror}). Fill {folder} by "
            f"`hf download {'/'.join(parts[:2])}{option} --local-dir FOLDER` where there is a network and copy that "
            "folder, or unset XMR_HUB_DIR to download the model here"
        )
    for path in (folder, *folder.iterdir()):
        if not path.resolve().is_relative_to(root):
            raise ValueError(f"{path} leads out of XMR_HUB_DIR ({mirror}); copy the file instead of linking it")
    return folder


def download(repository: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        files = ["*.safetensors", "*.json", "*.txt", "*.model"]
        return Path(snapshot_download(repository, revision=revision, allow_patterns=files))
    except (OSError, ValueError) as error:  # what the client raises if it finds no host and no copy
        raise ConnectionError(
            f"cannot download {repository} at revision {revision}: {error}. The hub tier needs a network "
            "(or a copy in its cache, or in a mirror named by XMR_HUB_DIR); the encoders of the embedded tier "
            "(encoder_names()) do not"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """The settings in ``config.json``.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no model: it should have a config.json beside its safetensors")
    return read_object(path)


def read_object(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Copy it again") from error
    if not isinstance(held, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object, got {type(held).__name__}. Copy it again")
    return held


def check_folder(folder: Path) -> None:
    """See that a model folder has settings and whole safetensors, and needs no code of its own.

    Raises:
        FileNotFoundError: if config.json, the safetensors or a part of them are missing; other kinds of weights are
            not opened.
        ValueError: if a file is damaged or cut short, or names code of its own or files elsewhere; the message says
            which file it is.
    """
    read_config(folder)
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file() and "auto_map" in read_object(folder / name):
            raise ValueError(
                f"{folder / name} asks for code of the model's own (auto_map), which is never run; take a model or a "
                "revision that transformers knows by itself"
            )
    files = sorted(folder.glob("*.safetensors"))
    for index in sorted(folder.glob("*.safetensors.index.json")):
        check_index(index, {path.name for path in files})
    if not files:
        kinds = ("bin", "pt", "pth", "pkl", "h5", "msgpack")
        others = sorted(path.name for kind in kinds for path in folder.glob(f"*.{kind}"))
        has = f"{', '.join(others)}, which may run code when opened, is refused" if others else "none is there"
        raise FileNotFoundError(
            f"{folder}: expected weights as *.safetensors; {has}. Take a revision that has them: where the main branch "
            "lacks them, a pull request often adds them, and its commit is a revision like any other"
        )
    for path in files:
        try:
            with safe_open(path, "pt"):  # reads the header and compares the file's length with it
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged or cut short ({error}). Copy or download it again") from error


def check_index(index: Path, there: set[str]) -> None:
    """See that the parts that an index speaks of are there, and in its folder."""
    parts = read_object(index).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(name, str) for name in parts.values()):
        raise ValueError(f"{index} is damaged: expected file names under weight_map. Copy it again")
    wanted = set(parts.values())
    if outside := sorted(name for name in wanted if Path(name).name != name):
        raise ValueError(f"{index} names {', '.join(outside)}, outside of its folder; a model's files lie side by side")
    if missing := sorted(wanted - there):
        raise FileNotFoundError(f"{index.parent} lacks {', '.join(missing)}, of which {index.name} speaks")


def load_network(folder: Path) -> Any:
    """The model of a folder in evaluation mode, as float32, all its weights from the folder's safetensors.

    Raises:
        ValueError: if transformers does not know the model, or weights are missing that would be drawn at random.
            Those of a pooler may be (no encoder here looks at a pooler that was not loaded), and wav2vec 2.0's vector
            for masked frames (nothing is masked here).
    """
    from transformers import AutoModel
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # "Loading weights" is noise in a notebook, and the report of keys is checked below
    logging.set_verbosity_error()
    try:
        network, loaded = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            dtype=torch.float32,  # what is stored as float16 too: a CPU computes with it slowly, or not at all
        )
    except Exception as error:  # whatever a config.json that does not fit leads to
        raise ValueError(f"transformers cannot load {folder}: {error}") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    drawn = loaded["missing_keys"]
    missing = sorted(key for key in drawn if "pooler" not in key and not key.endswith("masked_spec_embed"))
    if missing:
        raise ValueError(f"the safetensors in {folder} lack {len(missing)} weights, {missing[0]} among them")
    network.has_pooler_ = not any("pooler" in key for key in drawn)
    return network.eval().requires_grad_(False)


def load_preprocessor(folder: Path, kind: str, **options: Any) -> Any:
    """The ``"AutoTokenizer"``, ``"AutoImageProcessor"`` or ``"AutoFeatureExtractor"`` of a folder.

    Raises:
        ValueError: if its files are missing or damaged.
    """
    import transformers

    load = getattr(transformers, kind).from_pretrained
    try:
        return load(folder, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:  # whatever files that do not fit lead to
        raise ValueError(
            f"{folder} lacks the files of its {kind.removeprefix('Auto')}, or they are damaged: {error}"
        ) from error
