"""The command `xmr-lab`: what it is asked, read and handed to the room that does it."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from threading import Timer
from typing import Any

from xmr_lab import __version__

__all__ = ["main"]

INTERRUPTED = 130  # as shells count it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 found problems, 2 asked wrongly.

    Examples:
        >>> main(["run", "14", "-p", "seed"])  # and on the standard error stream, what is expected
        2
    """
    options = _parser().parse_args(argv)
    if isinstance(sys.stdout, TextIOWrapper):  # what a terminal or file cannot hold is written as its number
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _plain(warnings.showwarning)
            return options.command(options)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nxmr-lab: interrupted; the next run does what is left.", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if options.debug:
            traceback.print_exc()
        remedy = ". What to do: xmr-lab doctor" if isinstance(error, ModuleNotFoundError) else ""
        print(f"xmr-lab: error: {error}{remedy}", file=sys.stderr)
        return 2


def _plain(show: Callable[..., None]) -> Callable[..., None]:
    """Warnings meant for users in a line of their own; others as ``show`` does."""

    def shown(message: Warning | str, category: type[Warning], *where: Any, **rest: Any) -> None:
        if category is UserWarning:
            print(f"xmr-lab: warning: {message}", file=sys.stderr)
        else:
            show(message, category, *where, **rest)

    return shown


def _run(options: argparse.Namespace) -> int:
    from xmr_lab.runner import run_notebooks

    results = run_notebooks(
        options.numbers or None,
        _assignments(options.parameters),
        tier=options.tier,
        out=options.out,
        force=options.force,
        jobs=options.jobs,
    )
    print(*results, f"In {options.out.resolve()}", sep="\n")
    return 0 if all(result.ok for result in results) else 1


def _assignments(texts: Sequence[str]) -> dict[str, str]:
    """The ``name=value`` of the option -p.

    Raises:
        ValueError: if one has another form or a name comes twice.

    Examples:
        >>> _assignments(["seed=3", "query=a = b"])
        {'seed': '3', 'query': 'a = b'}
    """
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals) or name in values:
            raise ValueError(f"-p {text}: expected name=value, each name once")
        values[name] = value
    return values


def _refresh(options: argparse.Namespace) -> int:
    from xmr_lab.runner import refresh_notebooks

    print(*refresh_notebooks(options.numbers or None), sep="\n")
    return 0


def _params(options: argparse.Namespace) -> int:
    from xmr_lab.runner import describe_parameters

    print(describe_parameters(options.number))
    return 0


def _book(options: argparse.Namespace) -> int:
    from xmr_lab.book import build_book

    try:
        print(f"The book: {build_book(options.executed, force=options.force)}")
    except RuntimeError as warnings:  # what the builder complained about
        print(warnings, file=sys.stderr)
        return 1
    return 0


def _data_build(options: argparse.Namespace) -> int:
    from xmr_lab.data.build import build_stamps
    from xmr_lab.data.stamps import stamps_folder

    print(f"Built {build_stamps(options.source, options.to or stamps_folder())}")
    return 0


def _data_verify(options: argparse.Namespace) -> int:
    from xmr_lab.data.stamps import verify

    print(*(f"intact: {name}" for name in verify()), sep="\n")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from xmr_lab.doctor import doctor

    return doctor(as_json=options.json)


def _audit(options: argparse.Namespace) -> int:
    from xmr_lab.audit import audit, read_evidence

    report = audit(read_evidence(options.files))
    print(report.to_json() if options.json else report)
    return 0 if report.ok else 1


def _search(options: argparse.Namespace) -> int:
    with _patience():
        from xmr_lab.search import search_command

        search_command(
            options.query,
            folder=options.folder,
            k=options.k,
            out=options.out,
            language=options.language,
            heard_as=options.heard_as,
            through=options.through or (),
            skip_broken=options.skip_broken,
        )
    return 0


@contextmanager
def _patience(seconds: float = 2) -> Iterator[None]:
    """Say what is being done if it takes longer, to whoever is looking on."""
    timer = Timer(
        seconds, print, ["Loading the models; this takes some seconds …"], {"file": sys.stderr, "flush": True}
    )
    timer.daemon = True
    if sys.stderr.isatty() and os.environ.get("XMR_PROGRESS") != "0":
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _experiment(options: argparse.Namespace) -> int:
    from xmr_lab.grid.command import experiment_command

    return experiment_command(options.grid, out=options.out, processes=options.processes, markdown=options.markdown)


def _index(options: argparse.Namespace) -> int:
    with _patience():
        from xmr_lab.search import index_command
    index_command(options.folder, skip_broken=options.skip_broken, force=options.force, remove=options.remove)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xmr-lab", description="Transfer learning for cross-modal retrieval, from the command line."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run notebooks as reports, with your parameters")
    add = run.add_argument
    add("numbers", nargs="*", metavar="NUMBER", help="such as 14; all by default")
    add("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="set a parameter")
    add("--tier", choices=["embedded", "hub"], default="embedded", help="hub: full size, needs a network")
    add("--out", type=Path, default=Path("out"), help="folder for the results (%(default)s)")
    add("--force", action="store_true", help="also run what has not changed since the last run")
    add("-j", dest="jobs", type=_count, metavar="N", help="notebooks at once")
    run.set_defaults(command=_run)

    refresh = commands.add_parser("refresh", help="write the outputs of a clean run back into notebooks/")
    refresh.add_argument("numbers", nargs="*", metavar="NUMBER", help="such as 14; all by default")
    refresh.set_defaults(command=_refresh)

    params = commands.add_parser("params", help="list the parameters of a notebook")
    params.add_argument("number", metavar="NUMBER", help="such as 14")
    params.set_defaults(command=_params)

    book = commands.add_parser("book", help="build the book from the notebooks that have been run")
    book.add_argument("--executed", type=Path, default=Path("out"), help="their folder (%(default)s)")
    book.add_argument("--force", action="store_true", help="build even if nothing has changed")
    book.set_defaults(command=_book)

    data = commands.add_parser("data", help="build or verify the Stamps collection")
    verbs = data.add_subparsers(required=True, metavar="{build,verify}")
    build = verbs.add_parser("build", help="build it from the unpacked package tuxpaint-stamps-default")
    build.add_argument("--from", dest="source", type=Path, required=True, metavar="DIR")
    build.add_argument("--to", type=Path, metavar="DIR", help="where to (data/stamps)")
    build.set_defaults(command=_data_build)
    verbs.add_parser("verify", help="check its files").set_defaults(command=_data_verify)

    doctor = commands.add_parser("doctor", help="what is installed and intact, what to do about the rest")
    doctor.add_argument("--json", action="store_true", help="for programs to read")
    doctor.set_defaults(command=_doctor)

    audit = commands.add_parser("audit", help="look for what could be wrong with a retrieval experiment")
    add = audit.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="Parquet, CSV, NPZ, TOML, TREC run and qrels, in any order")
    add("--json", action="store_true", help="for programs to read")
    audit.set_defaults(command=_audit)

    experiment = commands.add_parser("experiment", help="run a grid of methods, or what is left of it")
    add = experiment.add_argument
    add("grid", type=Path, metavar="GRID.toml", help="such as experiments/headline.toml")
    add("--out", type=Path, metavar="DIR", help="folder for the results (out/experiments/NAME)")
    add("--processes", type=_count, default=1, metavar="N", help="cells at once, each on one core (%(default)s)")
    add("--markdown", type=Path, metavar="FILE", help="file whose block between the headline marks is rewritten")
    experiment.set_defaults(command=_experiment)

    search = commands.add_parser("search", help="find items by text, pictures and sounds, together or alone")
    add = search.add_argument
    add("query", nargs="+", metavar="QUERY", help="words, paths of pictures and sounds; all together are one query")
    add("--in", dest="folder", type=Path, metavar="FOLDER", help="a collection of your own (Stamps)")
    add("-k", type=_count, default=10, help="how many to find (%(default)s)")
    add("--language", default="es", help="of a spoken query (%(default)s); one that Stamps has speech in")
    add("--heard-as", choices=["auto", "speech", "sound"], default="auto", help="what a sound is (%(default)s)")
    kinds = ["caption", "picture", "speech", "sound"]
    add("--through", action="append", choices=kinds, help="search only by these; may be repeated")
    add("--out", type=Path, default=Path("contact_sheet.png"), help="picture to write, a page beside it (%(default)s)")
    _skip_broken(search)
    search.set_defaults(command=_search)

    index = commands.add_parser("index", help="prepare a folder for searching; what is done already is kept")
    add = index.add_argument
    add("folder", type=Path, metavar="PATH", help="with metadata.csv, or with loose pictures, sounds and texts")
    add("--force", action="store_true", help="compute everything again")
    add("--remove", action="store_true", help="delete the index; the folder is not touched")
    _skip_broken(index)
    index.set_defaults(command=_index)
    return parser


def _skip_broken(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-broken", action="store_true", help="leave out files that cannot be used, and list them")


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a count: expected 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
