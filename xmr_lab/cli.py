"""The command `xmr-lab`: what it is asked (see `arguments`), handed to the room that does it."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from threading import Timer
from typing import Any

from .arguments import parser

__all__ = ["main"]

INTERRUPTED = 130  # as shells count it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 found problems, 2 asked wrongly.

    Examples:
        >>> main(["run", "14", "-p", "seed"])  # and on the standard error stream, what is expected
        2
    """
    options = parser().parse_args(argv)
    if isinstance(sys.stdout, TextIOWrapper):  # what a terminal or file cannot hold is written as its number
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _plain(warnings.showwarning)
            return COMMANDS[options.command](options)
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
    if options.set:
        return _data_verify_set(options)
    from xmr_lab.data.stamps import verify

    print(*(f"intact: {name}" for name in verify()), sep="\n")
    return 0


def _data_verify_set(options: argparse.Namespace) -> int:
    from xmr_lab.data import load_data_set
    from xmr_lab.data.check import fault
    from xmr_lab.data.full import present

    if options.folder is None:
        raise ValueError(f"data verify {options.set}: expected the folder of the data set, too")
    found = load_data_set(
        options.set,
        options.folder,
        parts=options.parts,
        partial=options.partial,
        broken="skip" if options.skip_broken else "raise",
        check=fault if options.decode else present,
    )
    print(*(f"left out: {file}" for file in found.left_out), found.summary().to_string(), sep="\n")
    return 0


def _data_sets(options: argparse.Namespace) -> int:
    from xmr_lab.data import DATA_SETS

    for name, data_set in DATA_SETS.items():
        print(name, *(f"  {line}" for line in data_set.remedy().splitlines()), sep="\n")
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


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "refresh": _refresh,
    "params": _params,
    "book": _book,
    "data_build": _data_build,
    "data_verify": _data_verify,
    "data_sets": _data_sets,
    "doctor": _doctor,
    "audit": _audit,
    "experiment": _experiment,
    "search": _search,
    "index": _index,
}

if __name__ == "__main__":
    sys.exit(main())
