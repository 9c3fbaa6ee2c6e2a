"""What the command `xmr-lab` can be asked: its parts, options and help. What is done then is in `cli`."""

from __future__ import annotations

import argparse
from pathlib import Path

from xmr_lab import __version__

__all__ = ["parser"]

AUDIT = """
What a file is, is told by what it holds:
  Parquet, CSV   items (id, split; maybe group, caption, speaker, fingerprint),
                 trials (system, query, value; maybe seed, group), or a printed table (R@1, MRR, F1 …)
  NPZ            queries, gallery, scores, relevant, query_ids, gallery_ids, train_x, train_y, features,
                 bank_ids, tuned_on
  text           a TREC run (six columns) and qrels (four)
  TOML           similarity = "cosine", claims = [["better", "worse"]], [reported] "hit rate @10" = 0.55 …
Each check takes what it needs; what could not be checked is named. The exit status is 0 if there is neither
error nor warning, 1 if there is, and 2 if a file cannot be read.
"""
EXPERIMENT = """
The grid says pairs of modalities, methods, kinds of transfer and numbers of labelled pairs; an unknown name is
answered with those that exist. A run that was interrupted goes on where it stopped. In the folder: results.parquet
(every query), costs.parquet, summary.csv. The exit status is 0, or 1 if a cell failed.
"""


def parser() -> argparse.ArgumentParser:
    """Of what it reads, ``command`` is the name of a function of `cli`, without its underscore."""
    whole = argparse.ArgumentParser(
        prog="xmr-lab", description="Transfer learning for cross-modal retrieval, from the command line."
    )
    whole.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    whole.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run notebooks as reports, with your parameters")
    add = run.add_argument
    add("numbers", nargs="*", metavar="NUMBER", help="such as 14; all by default")
    add("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="set a parameter")
    add("--tier", choices=["embedded", "hub"], default="embedded", help="hub: full size, needs a network")
    add("--out", type=Path, default=Path("out"), help="folder for the results (%(default)s)")
    add("--force", action="store_true", help="also run what has not changed since the last run")
    add("-j", dest="jobs", type=_count, metavar="N", help="notebooks at once")
    run.set_defaults(command="run")

    refresh = commands.add_parser("refresh", help="write the outputs of a clean run back into notebooks/")
    refresh.add_argument("numbers", nargs="*", metavar="NUMBER", help="such as 14; all by default")
    refresh.set_defaults(command="refresh")

    params = commands.add_parser("params", help="list the parameters of a notebook")
    params.add_argument("number", metavar="NUMBER", help="such as 14")
    params.set_defaults(command="params")

    book = commands.add_parser("book", help="build the book from the notebooks that have been run")
    book.add_argument("--executed", type=Path, default=Path("out"), help="their folder (%(default)s)")
    book.add_argument("--force", action="store_true", help="build even if nothing has changed")
    book.set_defaults(command="book")

    data = commands.add_parser("data", help="build or verify the Stamps collection, or verify a full-size data set")
    verbs = data.add_subparsers(required=True, metavar="{build,verify,sets}")
    build = verbs.add_parser("build", help="build it from the unpacked package tuxpaint-stamps-default")
    build.add_argument("--from", dest="source", type=Path, required=True, metavar="DIR")
    build.add_argument("--to", type=Path, metavar="DIR", help="where to (data/stamps)")
    build.set_defaults(command="data_build")
    verify = verbs.add_parser("verify", help="check the files of Stamps, or of a full-size data set")
    add = verify.add_argument
    add("set", nargs="?", metavar="SET", help="such as coco (see data sets); Stamps by default")
    add("folder", nargs="?", type=Path, metavar="FOLDER", help="where the set lies")
    add("--parts", nargs="+", metavar="PART", help="only these, such as dev-clean test-clean")
    add("--partial", action="store_true", help="accept other numbers of items than the official ones")
    add("--decode", action="store_true", help="decode every file, not only look whether it is there")
    _skip_broken(verify)
    verify.set_defaults(command="data_verify")
    sets = verbs.add_parser("sets", help="full-size data sets: where to get them, their sizes and terms")
    sets.set_defaults(command="data_sets")

    doctor = commands.add_parser("doctor", help="what is installed and intact, what to do about the rest")
    doctor.add_argument("--json", action="store_true", help="for programs to read")
    doctor.set_defaults(command="doctor")

    raw = argparse.RawDescriptionHelpFormatter
    about = "look for what could be wrong with a retrieval experiment"
    audit = commands.add_parser("audit", help=about, formatter_class=raw, epilog=AUDIT)
    add = audit.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="Parquet, CSV, NPZ, TOML, TREC run and qrels, in any order")
    add("--json", action="store_true", help="for programs to read")
    audit.set_defaults(command="audit")

    about = "run a grid of methods, or what is left of it"
    experiment = commands.add_parser("experiment", help=about, formatter_class=raw, epilog=EXPERIMENT)
    add = experiment.add_argument
    add("grid", type=Path, metavar="GRID.toml", help="such as experiments/headline.toml")
    add("--out", type=Path, metavar="DIR", help="folder for the results (out/experiments/NAME)")
    add("--processes", type=_count, default=1, metavar="N", help="cells at once, each on one core (%(default)s)")
    add("--markdown", type=Path, metavar="FILE", help="file whose block between the headline marks is rewritten")
    experiment.set_defaults(command="experiment")

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
    search.set_defaults(command="search")

    index = commands.add_parser("index", help="prepare a folder for searching; what is done already is kept")
    add = index.add_argument
    add("folder", type=Path, metavar="PATH", help="with metadata.csv, or with loose pictures, sounds and texts")
    add("--force", action="store_true", help="compute everything again")
    add("--remove", action="store_true", help="delete the index; the folder is not touched")
    _skip_broken(index)
    index.set_defaults(command="index")
    return whole


def _skip_broken(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-broken", action="store_true", help="leave out files that cannot be used, and list them")


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a count: expected 1 or more")
    return int(text)
