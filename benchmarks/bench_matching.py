"""How the matching methods grow with the number of items n and the number of columns d.

    python benchmarks/bench_matching.py [--quick] [--rounds N] [--out FILE]

Two views of random numbers with a common part. Each method is run over a range of n at one d, and of d at one n; the
slope is that of a line through the logarithms of the times: 1 is linear, 2 quadratic, 3 cubic. Iterative methods
run a fixed number of iterations, so the slopes are those of one iteration. A method that takes more than a few seconds
is not asked for more.
"""

from __future__ import annotations

from _measure import THREADS, arguments, seconds  # first: it sets the number of threads

# isort: split
import json
import platform
from collections.abc import Callable

import numpy as np
import torch

from xmr_lab.matching import (
    CCA,
    GCCA,
    CollectiveFactorization,
    CrossModalGraph,
    DeepCCA,
    GromovWasserstein,
    JointNMF,
    JointSVD,
    KernelCCA,
    KernelRidgeMap,
    RidgeMap,
    TwoTower,
    hungarian,
    sinkhorn,
)

ENOUGH = 4.0  # seconds; the next size would take several times as long


def views(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, 8))
    x, y = (hidden @ rng.normal(size=(8, d)) + 0.5 * rng.normal(size=(n, d)) for _ in range(2))
    return x, y


def walk(x: np.ndarray, y: np.ndarray) -> None:
    """Half of the items are pairs, half are queries and gallery: graph and solution are made for each gallery."""
    CrossModalGraph(k=10).fit(x[::2], y[::2]).scores(x[1::2], y[1::2])


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
    "joint SVD": lambda x, y: JointSVD(16).fit(x, y),
    "joint NMF, 20 iterations": lambda x, y: JointNMF(16, n_iterations=20).fit(x, y),
    "collective factorisation, 5 iterations": lambda x, y: CollectiveFactorization(16, n_iterations=5).fit(x, y),
    "ridge": lambda x, y: RidgeMap().fit(x, y),
    "kernel ridge": lambda x, y: KernelRidgeMap().fit(x, y),
    "CCA": lambda x, y: CCA(16).fit(x, y),
    "kernel CCA": lambda x, y: KernelCCA(16).fit(x, y),
    "GCCA": lambda x, y: GCCA(16).fit(x, y),
    "two towers, 5 epochs": lambda x, y: TwoTower(64, epochs=5).fit(x, y),
    "deep CCA, 5 epochs": lambda x, y: DeepCCA(16, hidden=(64,), epochs=5).fit(x, y),
    "walk": walk,
    "assignment": lambda x, y: hungarian(x @ y.T),
    "Sinkhorn, 50 turns": lambda x, y: sinkhorn(x @ y.T, temperature=9.0, iterations=50, tolerance=0),
    "Gromov-Wasserstein, 5 steps": lambda x, y: GromovWasserstein(max_iter=5).fit(x, y),
}


def measure(run: Callable[[np.ndarray, np.ndarray], object], sizes: list[tuple[int, int]], rounds: int) -> list[float]:
    """The shortest time at each size, up to the first that takes longer than `ENOUGH`."""
    times: list[float] = []
    for n, d in sizes:
        x, y = views(n, d)
        times.append(min(seconds(lambda x=x, y=y: run(x, y)) for _ in range(rounds)))
        if times[-1] > ENOUGH:
            break
    return times


def slope(sizes: list[int], times: list[float]) -> float:
    """Of the line through the logarithms; NaN if there is but one size."""
    sizes = sizes[: len(times)]
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0]) if len(times) > 1 else float("nan")


def main() -> None:
    options = arguments(__doc__, rounds=2)
    torch.set_num_threads(THREADS)
    n_range = [100, 200, 400] if options.quick else [250, 500, 1000, 2000, 4000]
    d_range = [16, 64, 256] if options.quick else [32, 128, 512, 1024]
    results = []
    for name, run in METHODS.items():
        run(*views(64, 32))  # whatever is loaded or compiled at the first call
        by_n = measure(run, [(n, 128) for n in n_range], options.rounds)
        by_d = measure(run, [(400, d) for d in d_range], options.rounds)
        results.append(
            {
                "name": name,
                "seconds": dict(zip(n_range, by_n, strict=False)),
                "slope_n": slope(n_range, by_n),
                "slope_d": slope(d_range, by_d),
            }
        )
    print(f"n: {n_range} at d = 128; d: {d_range} at n = 400")
    print(f"{'':40}{'slope in n':>12}{'slope in d':>12}{'largest n':>12}{'seconds':>9}")
    for row in results:
        largest = max(row["seconds"])
        print(f"{row['name']:40}{row['slope_n']:12.2f}{row['slope_d']:12.2f}{largest:12}{row['seconds'][largest]:9.3f}")
    if options.out:
        machine = {"processor": platform.machine(), "python": platform.python_version(), "threads": THREADS}
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump({**machine, "results": results}, file, indent=2)


if __name__ == "__main__":
    main()
