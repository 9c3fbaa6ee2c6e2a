"""Both directions of hit rate @1/5/10, median rank, MRR and mAP on a problem of the shape of COCO's 5k test.

5,000 images, 25,000 captions, 512 dimensions, float32. The yardstick is the fastest bare matrix product we know.

    python benchmarks/bench_metrics.py [--quick] [--rounds N] [--out FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _measure import THREADS, arguments, interleave, peak_in_fresh_process, peak_memory, report, seconds  # noqa

import numpy as np

from xmr_lab import metrics

KS = (1, 5, 10)
EVERY = 20  # torchmetrics takes minutes: it gets every 20th query, once, and its time is scaled up
Numbers = dict[str, float]


def problem(quick: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images, captions near their image, and their labels."""
    rng = np.random.default_rng(0)
    n = 500 if quick else 5_000
    images = rng.standard_normal((n, 512), dtype=np.float32)
    labels = np.arange(n), np.repeat(np.arange(n), 5)
    captions = rng.standard_normal((5 * n, 512), dtype=np.float32)
    captions *= 6  # so that about half of the hits at 1 are missed
    captions += images[labels[1]]
    for side in (images, captions):
        side /= np.linalg.norm(side, axis=1, keepdims=True)
    return images, captions, *labels


def xmr_lab(images, captions, image_labels, caption_labels, *, every: int = 1) -> Numbers:
    numbers = {}
    both = metrics.rank_relevant_both(images, captions, (image_labels, caption_labels))
    for way, ranks in zip(("to captions", "to images"), both, strict=True):
        for k in KS:
            numbers[f"hit_rate@{k} {way}"] = float(metrics.hit_rate_at_k(ranks, k)[::every].mean())
        numbers[f"median rank {way}"] = float(np.median(metrics.first_rank(ranks)[::every]))
        numbers[f"MRR {way}"] = float(metrics.reciprocal_rank(ranks)[::every].mean())
        numbers[f"mAP {way}"] = float(metrics.average_precision(ranks)[::every].mean())
    return numbers


def torchmetrics(images, captions, image_labels, caption_labels, *, every: int) -> Numbers:
    """The functions of torchmetrics on some queries; it has no median rank: from the reciprocal rank."""
    import torch
    from torchmetrics.functional.retrieval import (
        retrieval_average_precision,
        retrieval_hit_rate,
        retrieval_reciprocal_rank,
    )

    numbers = {}
    sides = (images, image_labels), (captions, caption_labels)
    for way, (x, x_labels), (y, y_labels) in (("to captions", *sides), ("to images", *sides[::-1])):
        values = []
        y_labels = torch.from_numpy(y_labels)
        product = torch.from_numpy(x[::every]) @ torch.from_numpy(y).T
        for scores, label in zip(product, x_labels[::every], strict=True):
            relevant = y_labels == int(label)
            hits = [retrieval_hit_rate(scores, relevant, top_k=k) for k in KS]
            reciprocal = retrieval_reciprocal_rank(scores, relevant)
            values.append([*hits, 1 / reciprocal, reciprocal, retrieval_average_precision(scores, relevant)])
        columns = np.array(values).T
        for k, column in zip(KS, columns, strict=False):
            numbers[f"hit_rate@{k} {way}"] = float(column.mean())
        numbers[f"median rank {way}"] = float(np.median(columns[3]))
        numbers[f"MRR {way}"], numbers[f"mAP {way}"] = (float(c.mean()) for c in columns[4:])
    return numbers


def products(images: np.ndarray, captions: np.ndarray) -> dict:
    """The bare product in the ways that are worth trying; the fastest is the yardstick."""
    import torch

    from xmr_lab._tiles import in_threads, tiles

    torch.set_num_threads(THREADS)
    rows = 1_000
    out = np.empty((rows, len(captions)), np.float32)
    x, y, torch_out = torch.from_numpy(images), torch.from_numpy(captions), torch.from_numpy(out)

    def numpy_rows() -> None:
        for i in range(0, len(images), rows):
            part = images[i : i + rows]
            np.matmul(part, captions.T, out=out[: len(part)])

    def torch_rows() -> None:
        for i in range(0, len(images), rows):
            part = x[i : i + rows]
            torch.matmul(part, y.T, out=torch_out[: len(part)])

    def numpy_tiles() -> None:
        in_threads(lambda t: images[t[0]] @ captions[t[1]].T, tiles(len(images), len(captions), None))

    return {
        "product: numpy, whole": lambda: images @ captions.T,
        "product: numpy, 1,000 rows at a time": numpy_rows,
        "product: torch, 1,000 rows at a time": torch_rows,
        "product: numpy, a tile in each thread": numpy_tiles,
    }


def main() -> None:
    options = arguments(__doc__)
    xmr_lab(*problem(quick=True))  # compiled before anything is measured
    inputs = problem(options.quick)
    if options.memory:
        print(peak_memory(lambda: globals()[options.memory](*inputs)))
        return
    bare = products(*inputs[:2])
    contenders = {**bare, "xmr_lab": lambda: xmr_lab(*inputs)}
    times = interleave(contenders, options.rounds + 1)
    times = {name: each[1:] for name, each in times.items()}  # the first round warms up
    theirs: Numbers = {}
    times["torchmetrics (a share of the queries, scaled)"] = [
        EVERY * seconds(lambda: theirs.update(torchmetrics(*inputs, every=EVERY)))
    ]
    for name, value in xmr_lab(*inputs, every=EVERY).items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-4, err_msg=name)
    quick = ("--quick",) if options.quick else ()
    memory = {"xmr_lab": peak_in_fresh_process(__file__, "xmr_lab", *quick)}
    report(
        times,
        min(bare, key=lambda name: np.median(times[name])),
        memory,
        out=options.out,
        shape=f"{len(inputs[0])} x {len(inputs[1])} x {inputs[0].shape[1]}, float32, both directions",
        numbers={name: round(value, 4) for name, value in xmr_lab(*inputs).items()},
    )


if __name__ == "__main__":
    main()
