"""Memory and time of full-size data sets: does either grow with what lies on the disk?

Layouts of 10,000 and of 100,000 items are generated, as the official archives unpack (tests/full_size.py): pictures
in ImageNet's folders, and captions in COCO's lists, five a picture, the pictures hard links to small ones. Each is
loaded, gone through picture by picture, and encoded with a colour histogram. Memory is the peak of resident memory
above what the process holds before that step, in a fresh process for each.

    python benchmarks/bench_full_size.py [--quick] [--rounds N] [--out FILE]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from _measure import MB, arguments, interleave, peak_in_fresh_process, peak_memory, report  # noqa

import tempfile
from collections.abc import Callable

import full_size

from xmr_lab.data import Collection, load_data_set
from xmr_lab.encoders.histograms import ColourHistogram

SETS = ("imagenet", "coco")
STEPS = ("load", "go through", "encode")


def generate(folder: Path, name: str, items: int) -> None:
    folder.mkdir()
    if name == "imagenet":
        full_size.imagenet(folder, n=items // len(full_size.SYNSETS), links=True)
    else:  # four parts, five captions a picture
        full_size.coco(folder, n=items // 20, links=True)


def load(folder: str, name: str) -> Collection:
    return load_data_set(name, folder, partial=True)


def go_through(collection: Collection) -> None:
    for picture in collection.images.distinct():
        assert picture.size == (8, 8)


def encode(collection: Collection) -> None:
    pictures = collection.images.distinct()
    vectors = ColourHistogram().encode(pictures, progress=False)
    assert len(vectors) == len(pictures)


def step(name: str, folder: str, which: str) -> float:
    """Peak memory in bytes of one step, above what is there before it."""
    if which == "load":
        load(str(small(folder)), name)  # what only the first load needs: modules, a pool of memory
        return peak_memory(lambda: load(folder, name))
    collection, warm = load(folder, name), load(str(small(folder)), name)
    run = {"go through": go_through, "encode": encode}[which]
    run(warm)
    return peak_memory(lambda: run(collection))


def small(folder: str) -> Path:
    return Path(folder).with_name(Path(folder).name.split("-")[0] + "-200")


def kept(collection: Collection) -> int:
    """Bytes of the table and of what names the files and holds the texts."""
    sources = [field.sources for field in collection.fields.values()]
    columns = sum(column.values.nbytes + column.codes.nbytes for column in sources)  # type: ignore[attr-defined]
    return columns + int(collection.table.memory_usage(deep=True).sum())


def main() -> None:
    options = arguments(__doc__, rounds=1)
    os.environ["XMR_PROGRESS"] = "0"
    if options.memory:
        name, which, folder = options.memory.split(":", 2)
        print(step(name, folder, which))
        return
    sizes = (1_000, 10_000) if options.quick else (10_000, 100_000)
    with tempfile.TemporaryDirectory() as home:
        for name in SETS:
            times, memory, facts = measure(Path(home), name, sizes, options.rounds)
            out = str(Path(options.out).with_suffix(f".{name}.json")) if options.out else None
            report(times, f"load: {sizes[0]:,} items", memory, out=out, **facts)
            print()


def measure(home: Path, name: str, sizes: tuple[int, int], rounds: int) -> tuple[dict, dict, dict]:
    """Seconds, peaks of memory, and what follows from them, for both sizes of a data set."""
    contenders: dict[str, Callable] = {}
    memory: dict[str, float] = {}
    for items in (200, *sizes):
        generate(home / f"{name}-{items}", name, items)
    for items in sizes:
        folder = str(home / f"{name}-{items}")
        collection = load(folder, name)
        runs = (
            lambda f=folder, n=name: load(f, n),
            lambda c=collection: go_through(c),
            lambda c=collection: encode(c),
        )
        for which, run in zip(STEPS, runs, strict=True):
            contenders[f"{which}: {items:,} items"] = run
            memory[f"{which}: {items:,} items"] = peak_in_fresh_process(__file__, f"{name}:{which}:{folder}")
    few, many = ({which: memory[f"{which}: {items:,} items"] for which in STEPS} for items in sizes)
    facts = {
        "data_set": name,
        "pictures": len(collection.images.distinct()),
        "bytes_an_item_kept": round(kept(collection) / len(collection)),
        "growth_of_the_peak_mb": {which: round((many[which] - few[which]) / MB, 1) for which in STEPS},
        "vectors_mb": round(len(collection.images.distinct()) * ColourHistogram().dim * 4 / MB, 1),
    }
    return interleave(contenders, rounds), memory, facts


if __name__ == "__main__":
    main()
