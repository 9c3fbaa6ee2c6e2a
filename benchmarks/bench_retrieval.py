"""Exact top 10 of 10,000 queries in a gallery of 113,287 x 512 (COCO's training images), float32.

The yardstick is the fastest bare matrix product we know; the peers are faiss' flat index and usearch's exact
search.

    python benchmarks/bench_retrieval.py [--quick] [--rounds N] [--out FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _measure import THREADS, arguments, interleave, peak_in_fresh_process, peak_memory, report  # noqa

import numpy as np

from xmr_lab.retrieval import retrieve

K = 10
EVERY = 10  # usearch takes minutes: it gets every 10th query, and its time is scaled up


def problem(quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """Queries and gallery, of unit length."""
    rng = np.random.default_rng(0)
    sides = [rng.standard_normal((n, 512), dtype=np.float32) for n in ((500, 5_000) if quick else (10_000, 113_287))]
    for side in sides:
        side /= np.linalg.norm(side, axis=1, keepdims=True)
    return sides[0], sides[1]


def xmr_lab(queries, gallery) -> np.ndarray:
    return retrieve(queries, gallery, k=K, metric="dot").ids


def xmr_lab_cosine(queries, gallery) -> np.ndarray:
    return retrieve(queries, gallery, k=K).ids


def faiss(queries, gallery) -> np.ndarray:
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    return index.search(queries, K)[1]


def usearch(queries, gallery) -> np.ndarray:
    from usearch.index import MetricKind, search

    return search(gallery, queries[::EVERY], K, MetricKind.IP, exact=True, threads=THREADS).keys


def numpy_rows(queries, gallery) -> None:
    rows = 500
    out = np.empty((rows, len(gallery)), np.float32)
    for i in range(0, len(queries), rows):
        part = queries[i : i + rows]
        np.matmul(part, gallery.T, out=out[: len(part)])


def torch_rows(queries, gallery) -> None:
    import torch

    torch.set_num_threads(THREADS)
    queries, gallery, rows = torch.from_numpy(queries), torch.from_numpy(gallery), 500
    out = torch.empty((rows, len(gallery)))
    for i in range(0, len(queries), rows):
        part = queries[i : i + rows]
        torch.matmul(part, gallery.T, out=out[: len(part)])


def numpy_tiles(queries, gallery) -> None:
    from xmr_lab._tiles import in_threads, tiles

    in_threads(lambda t: queries[t[0]] @ gallery[t[1]].T, tiles(len(queries), len(gallery), None))


PRODUCTS = {
    "product: numpy, 500 rows at a time": numpy_rows,
    "product: torch, 500 rows at a time": torch_rows,
    "product: numpy, a tile in each thread": numpy_tiles,
}
SEARCHES = {
    "xmr_lab, dot": xmr_lab,
    "xmr_lab, cosine": xmr_lab_cosine,
    "faiss IndexFlatIP": faiss,
    "usearch exact (a share of the queries)": usearch,
}


def main() -> None:
    options = arguments(__doc__, rounds=3)
    small = problem(quick=True)
    for search in SEARCHES.values():
        search(*small)  # compiled before anything is measured
    inputs = problem(options.quick)
    if options.memory:
        print(peak_memory(lambda: SEARCHES[options.memory](*inputs)))
        return
    found: dict[str, np.ndarray] = {}
    contenders = {name: lambda run=run: run(*inputs) for name, run in PRODUCTS.items()}
    for name, run in SEARCHES.items():
        contenders[name] = lambda name=name, run=run: found.update({name: run(*inputs)})
    times = interleave(contenders, options.rounds)
    for name, ids in found.items():  # theirs may order equal or nearly equal scores differently
        share = EVERY if name.startswith("usearch") else 1
        times[name] = [share * each for each in times[name]]
        agreement = np.mean(ids == found["xmr_lab, dot"][::share])
        assert agreement > 0.999, (name, agreement)
    quick = ("--quick",) if options.quick else ()
    memory = {name: peak_in_fresh_process(__file__, name, *quick) for name in SEARCHES}
    report(
        times,
        min(PRODUCTS, key=lambda name: np.median(times[name])),
        memory,
        out=options.out,
        shape=f"{len(inputs[0])} queries, {inputs[1].shape[0]} x {inputs[1].shape[1]} float32, top {K}",
    )


if __name__ == "__main__":
    main()
