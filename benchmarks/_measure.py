"""How the benchmarks measure: two threads, contenders in turn, the median over rounds, memory in a fresh process.

Import this before numpy: the number of threads is read when the libraries load.
"""

from __future__ import annotations

import os

THREADS = 2
for _name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM"):
    os.environ[f"{_name}_NUM_THREADS"] = str(THREADS)

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import psutil  # noqa: E402

MB = 1e6


def arguments(description: str | None, **defaults: Any) -> argparse.Namespace:
    """--quick, --rounds, --out, and --memory, with which a benchmark calls itself."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small problem, to see that it runs")
    parser.add_argument("--rounds", type=int, default=defaults.get("rounds", 5))
    parser.add_argument("--out", help="write the results to this JSON file")
    parser.add_argument("--memory", metavar="NAME", help="only print the peak memory of this contender")
    return parser.parse_args()


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleave(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round; they take turns, so that a slow moment hits them all."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(seconds(run))
    return times


def peak_memory(run: Callable[[], Any]) -> float:
    """Bytes of resident memory that ``run`` takes at most, above what is there before it."""
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return max(peak, process.memory_info().rss) - before


def peak_in_fresh_process(script: str, name: str, *options: str) -> float:
    """`peak_memory` of one contender, as ``script --memory NAME`` prints it."""
    command = [sys.executable, script, "--memory", name, *options]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def report(
    times: dict[str, list[float]], baseline: str, memory: dict[str, float], *, out: str | None, **facts: Any
) -> None:
    """Print the table, ratios round by round against ``baseline``, and write it as JSON if asked."""
    rows = []
    for name, each in times.items():
        reference = times[baseline]
        ratios = [t / reference[i] for i, t in enumerate(each)]
        rows.append(
            {
                "name": name,
                "seconds": statistics.median(each),
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "rounds": len(each),
                "peak_mb": memory[name] / MB if name in memory else None,
            }
        )
    for key, value in facts.items():
        print(f"{key}: {value}")
    print(f"{'':44}{'seconds':>9}{'ratio':>8}{'range':>16}{'rounds':>8}{'peak MB':>9}")
    for row in rows:
        low, high = row["ratio_range"]
        peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}"
        print(
            f"{row['name']:44}{row['seconds']:9.3f}{row['ratio']:8.2f}{f'{low:.2f} … {high:.2f}':>16}"
            f"{row['rounds']:8}{peak:>9}"
        )
    print(f"ratio: time divided by that of '{baseline}' in the same round, median; peak: above the inputs")
    if out:
        machine = {"processor": platform.machine(), "python": platform.python_version(), "threads": THREADS}
        with open(out, "w", encoding="utf-8") as file:
            json.dump({**machine, **facts, "baseline": baseline, "results": rows}, file, indent=2)
