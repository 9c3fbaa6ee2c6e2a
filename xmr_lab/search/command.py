"""The commands ``xmr-lab search`` and ``xmr-lab index``: what they print and write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import get_terminal_size

from xmr_lab._files import write
from xmr_lab.data import Collection
from xmr_lab.data.folder import has_table

from .index import FolderIndex
from .page import contact_sheet_bytes, page, query_words
from .queries import read_queries
from .searcher import Found, HeardAs, Query, Searcher, channels, shared_bridges
from .table import table_lines

__all__ = ["answer", "index_command", "search_command"]

SHOWN = 200  # items on a contact sheet and a page, at most


def search_command(
    query: Sequence[str] | str,
    *,
    folder: Path | None = None,
    k: int = 10,
    out: Path = Path("contact_sheet.png"),
    language: str = "es",
    heard_as: HeardAs = "auto",
    through: Sequence[str] = (),
    skip_broken: bool = False,
) -> None:
    """Print the best matches and write their contact sheet, and a page with players beside it.

    Args:
        query: words and files; together one query.
        folder: to search instead of Stamps, by its index, which is brought up to date.
        out: the contact sheet; the page has the same name and ends in .html.
    """
    if out.suffix.lower() in (".html", ".htm", ""):
        raise ValueError(f"--out {out} names the contact sheet: let it end in .png; the page is written beside it")
    if folder is not None and out.resolve().is_relative_to(folder.resolve()) and not has_table(folder):
        raise ValueError(
            f"--out {out} lies in the folder that is searched, and would be one of its items the next time; "
            "write elsewhere, such as --out ../contact_sheet.png"
        )
    asked = read_queries([query] if isinstance(query, str) else query)
    found, gallery = answer(
        asked, folder=folder, k=k, language=language, heard_as=heard_as, through=through, skip_broken=skip_broken
    )
    _say_left_out(gallery)
    print(f"Searching {gallery.name} ({len(gallery)} items) for {query_words(asked)}")
    print(*found.notes, sep="\n", end="\n" if found.notes else "")
    width = get_terminal_size(fallback=(0, 0)).columns  # 0 into a pipe
    print(*table_lines(found.table.drop(columns="position").reset_index(), width), sep="\n", flush=True)
    shown = replace(found, table=found.table.head(SHOWN))
    first = f" (the first {SHOWN})" if len(found.table) > SHOWN else ""
    sheet = contact_sheet_bytes(shown.table, gallery, format=out.suffix[1:])
    if sheet is None:
        print("None of these has a picture, so there is no contact sheet.")
    else:
        _write(sheet, out)
        print(f"Contact sheet{first}: {out}")
    beside = out.with_suffix(".html")
    _write(page(asked, shown, gallery, language=language), beside)
    print(f"Page with players{first}: {beside}")


def _write(content: str | bytes, path: Path) -> None:
    try:
        write(content, path)
    except OSError as error:
        raise OSError(f"cannot write {path} ({error.strerror}); another place: --out PATH") from error


def answer(
    asked: Sequence[Query],
    *,
    folder: Path | None = None,
    k: int = 10,
    language: str = "es",
    heard_as: HeardAs = "auto",
    through: Sequence[str] = (),
    skip_broken: bool = False,
) -> tuple[Found, Collection]:
    """What is found in Stamps, or in a folder by its index, which is brought up to date; and where it was found."""
    if folder is None:
        searcher = stamps_searcher(language, tuple(through))
        return searcher.find(asked, k, heard_as=heard_as), searcher.gallery
    with FolderIndex(folder).open() as index:
        gallery = index.load("skip" if skip_broken else "raise")
        searcher = Searcher(gallery, language=language, through=through, embed=index.embed)
        return searcher.find(asked, k, heard_as=heard_as), gallery


@cache
def stamps_searcher(language: str, through: tuple[str, ...]) -> Searcher:
    """One for the whole process, so that its vectors are loaded once."""
    return Searcher(language=language, through=through)


def index_command(folder: Path, *, skip_broken: bool = False, force: bool = False, remove: bool = False) -> None:
    """Prepare a folder for searching, or forget it."""
    index = FolderIndex(folder, force=force)
    if remove:
        print(f"Removed {index.place}" if index.remove() else f"There is no index of {folder}")
        return
    start = time.perf_counter()
    with index.open():
        gallery = index.load("skip" if skip_broken else "raise")
        _say_left_out(gallery)
        bridges = shared_bridges()
        for channel in channels(gallery, bridges):
            encoder, method = bridges.encoder(channel.kind, channel.language)
            index.embed(encoder, channel.items, method=method)
        index.tidy()
    print(f"{gallery.name}: {len(gallery)} items in {time.perf_counter() - start:.1f} s")
    for what, count in index.counts.items():
        print(f"  {what}: {count.items}, of which {count.computed} computed now, in {count.seconds:.1f} s")
    if unknown := sorted(set(gallery.languages("audio")) - set(bridges.stamps.languages("audio"))):
        print(f"  speech in {', '.join(unknown)}: not indexed, since there is none in Stamps to learn it from")
    print(f"Kept in {index.place} ({index.size() / 1e6:.1f} MB); xmr-lab index --remove {folder} deletes it")


def _say_left_out(gallery: Collection) -> None:
    if gallery.left_out:
        count = len(gallery.left_out)
        print(f"Left out {count} file{'s' if count > 1 else ''} that cannot be used:")
        print(*(f"  {each}" for each in gallery.left_out), sep="\n")
