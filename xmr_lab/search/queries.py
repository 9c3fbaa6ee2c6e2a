"""What a person asks with: texts, and files that hold pictures and sounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from xmr_lab.data import decode_audio, decode_image
from xmr_lab.data.check import PICTURES, SOUNDS, fault

from .searcher import Query

__all__ = ["read_queries", "read_query", "read_upload"]


def read_query(text: str, *, name: str = "") -> Query:
    """A picture or a sound if ``text`` is the path of one, else the text itself.

    Args:
        name: what a file is called in messages, if not by its path.

    Raises:
        FileNotFoundError: if it ends like the name of a picture or sound, and there is no such file.
        ValueError: if the file is damaged or of another kind, or the text is empty.
    """
    if not text.strip():
        raise ValueError("the query is empty: give a sentence, or the path of a picture or sound")
    if text.lower().startswith(("http://", "https://", "ftp://", "file://")):
        raise ValueError(f"{text!r} is an address, and nothing is fetched: download it, and give the file's path")
    path = _path(text)
    ending = path.suffix.lower()
    if ending in PICTURES | SOUNDS:
        if not _is(path, Path.is_file):
            raise FileNotFoundError(f"no file {text!r}. To search for these words, leave out the ending {ending!r}.")
        if reason := fault("image" if ending in PICTURES else "audio", path):
            raise ValueError(f"cannot search with {name or text!r}: it {reason}")
        return decode_image(path) if ending in PICTURES else decode_audio(path)
    if ending and _is(path, Path.is_file):
        read = ", ".join(sorted(PICTURES | SOUNDS))
        raise ValueError(f"{name or text!r} is a file of a kind that is not read; those that are: {read}")
    if _is(path, Path.is_dir) and ("/" in text or "\\" in text or text in (".", "..", "~")):
        raise ValueError(f"{text!r} is a folder. To search in it, name it with --in (in the panel: Folder)")
    if any("\ud800" <= sign <= "\udfff" for sign in text):  # bytes that are not UTF-8
        raise ValueError(f"the text {text!r} is not UTF-8")
    return text


def read_queries(texts: Sequence[str]) -> list[Query]:
    """The parts of one query: the files, and before them all words as one text.

    Raises:
        FileNotFoundError, ValueError: as `read_query`.

    Examples:
        >>> read_queries(["a", "red apple"])
        ['a red apple']
    """
    parts = [read_query(text) for text in texts]
    words = " ".join(part for part in parts if isinstance(part, str))
    return [*([words] if words else []), *(part for part in parts if not isinstance(part, str))]


def read_upload(name: str, content: bytes) -> Query:
    """What a file holds that is given by its name and contents.

    Raises:
        ValueError: as `read_query`, and if the name has no ending that is known.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{Path(name).suffix.lower() or '.none'}"
        path.write_bytes(content)
        return read_query(str(path), name=name)


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of nobody who is known
        return Path(text)


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except (OSError, ValueError):  # too long for a name, or with what no name can hold: a text
        return False
