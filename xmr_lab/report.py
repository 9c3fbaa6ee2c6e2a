"""What a notebook reports: its headline numbers, how they compare with the expected ones, its provenance."""

from __future__ import annotations

import hashlib
import html
import importlib.metadata
import io
import json
import math
import os
import platform
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from IPython import get_ipython
from IPython.display import display
from nbformat import NotebookNode

from xmr_lab.experiment import Effect
from xmr_lab.notebooks import ROOT, write

__all__ = [
    "Provenance",
    "check_expected",
    "effects_of",
    "expected_toml",
    "format_effects",
    "format_table",
    "provenance",
    "read_expected",
    "record",
    "record_effects",
    "records_of",
    "save_trials",
    "verdict",
]

EXPECTED = ROOT / "expected"
_PACKAGES = (
    "xmr-lab",
    "torch",
    "torchaudio",
    "transformers",
    "onnxruntime",
    "scikit-learn",
    "numpy",
    "pandas",
)
_FIELDS: dict[str, Any] = {"value": (int, float), "tolerance": (int, float), "source": str, "about": str}
_COLUMNS = ["expected", "tolerance", "measured", "low", "high", "chance", "verdict", "source"]
# one notebook, one kernel: the numbers of this process, for the verdict in its last cell
_recorded: dict[str, dict[str, Any]] = {}


def record(
    name: str, value: float, *, interval: tuple[float, float] | None = None, chance: float | None = None
) -> None:
    """Record a headline number: it is shown, and travels in the notebook's output to the results file.

    Args:
        name: what it is, as in ``expected/NN.toml``; recording a name again replaces its value.
        value: the number.
        interval: its lower and upper bound.
        chance: what guessing would reach.

    Raises:
        ValueError: if a number is not finite, or the interval is upside down.

    Examples:
        >>> record("hit rate @10", 0.7012, interval=(0.65, 0.75), chance=0.05)
        hit rate @10: 0.701 [0.650, 0.750], chance 0.050
    """
    low, high = interval or (None, None)
    given = {"value": value, "low": low, "high": high, "chance": chance}
    entry = {key: float(number) for key, number in given.items() if number is not None}
    if not all(map(math.isfinite, entry.values())) or entry.get("low", 0) > entry.get("high", math.inf):
        raise ValueError(f"record({name!r}): expected finite numbers and low <= high, got {entry}")
    _recorded[name] = entry
    text = f"{name}: {value:.3f}"
    text += f" [{low:.3f}, {high:.3f}]" if interval else ""
    text += f", chance {chance:.3f}" if chance is not None else ""
    if get_ipython() is None:
        print(text)
    else:  # in the metadata, which every front end keeps and none shows
        display({"text/plain": text}, metadata={"xmr_record": {"name": name, **entry}}, raw=True)


def record_effects(effects: Sequence[Effect]) -> None:
    """Record predicted differences and show them as a table; they travel to the book's page of effects.

    Each is recorded under ``"effect: "`` and its name. The table: claim, prediction, difference found with
    its interval, verdict, source.

    Examples:
        >>> record_effects([Effect("a helps", "example", "> 0", 0.5, 0.4, 0.6)])
          claim predicted                   found verdict  source
        a helps       > 0 +0.500 [+0.400, +0.600]   shown example
    """
    entries = []
    for each in effects:
        entry = {"value": each.value, "low": each.low, "high": each.high}
        _recorded[f"effect: {each.name}"] = entry
        about = {"claim": each.name, "predicted": each.prediction, "verdict": each.verdict, "source": each.source}
        entries.append({**about, **entry})
    table = format_effects(entries)
    if get_ipython() is None:
        print(table.reset_index().to_string(index=False))
    else:
        data = {"text/html": table.to_html(), "text/plain": table.to_string()}
        display(data, metadata={"xmr_effects": entries}, raw=True)


def format_effects(entries: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Effects for people, one row each; ``entries`` as `effects_of` returns them."""
    rows = [
        {**entry, "found": f"{entry['value']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}]"} for entry in entries
    ]
    columns = ["claim", "predicted", "found", "verdict", "source"]
    return pd.DataFrame(rows, columns=columns).set_index("claim")


def effects_of(notebook: NotebookNode) -> list[dict[str, Any]]:
    """The effects that an executed notebook recorded."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return [dict(entry) for output in outputs for entry in output.get("metadata", {}).get("xmr_effects", [])]


def save_trials(number: str, trials: pd.DataFrame) -> pd.DataFrame:
    """Write the table of `xmr_lab.experiment.run_trials` to disk as Parquet, in one step, and read it back.

    The file lies beside the executed notebook (``out/01_transfer_learning.parquet``), or, when no runner is at
    work, in ``out/01.parquet``. Figures are drawn from what is returned, so from what is on disk.
    """
    path = Path(os.environ.get("XMR_LAB_TRIALS") or ROOT / "out" / f"{number}.parquet")
    buffer = io.BytesIO()
    trials.to_parquet(buffer, index=False)
    write(buffer.getvalue(), path)
    return pd.read_parquet(path)


def records_of(notebook: NotebookNode) -> dict[str, dict[str, float]]:
    """The numbers that an executed notebook recorded, by name."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if entry := dict(output.get("metadata", {}).get("xmr_record", {})):
                found[entry.pop("name")] = entry
    for entry in effects_of(notebook):
        found[f"effect: {entry['claim']}"] = {key: entry[key] for key in ("value", "low", "high")}
    return found


def read_expected(number: str, *, folder: Path = EXPECTED) -> dict[str, dict[str, Any]]:
    """The expected numbers of a notebook, by name; none if there is no file (format: ``expected/README.md``).

    Raises:
        ValueError: if an entry lacks a field, has another one, or one of the wrong type.
    """
    path = folder / f"{number}.toml"
    if not path.exists():
        return {}
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    for name, entry in entries.items():
        wrong = {key for key in {*entry, *_FIELDS} if not isinstance(entry.get(key), _FIELDS.get(key, ()))}
        if wrong or entry["tolerance"] < 0:
            raise ValueError(
                f"{path.name}, {name!r}: check {', '.join(sorted(wrong)) or 'tolerance'}; "
                "an entry holds value, tolerance (0 or more), source and about, and nothing else"
            )
    return entries


def check_expected(
    number: str, records: Mapping[str, Mapping[str, float]], *, folder: Path = EXPECTED, defaults: bool = True
) -> pd.DataFrame:
    """Compare recorded numbers with the expected ones.

    Returns:
        one row a number. ``verdict`` is "pass" (within the tolerance), "off", "missing" (expected, not
        recorded), "new" (recorded, nothing expected) or "not judged" (not ``defaults``: other parameters).

    Examples:
        >>> check_expected("none", {"accuracy": {"value": 0.5}}).verdict.to_dict()
        {'accuracy': 'new'}
    """
    expected = read_expected(number, folder=folder)
    rows = []
    for name in [*expected, *(name for name in records if name not in expected)]:
        want, got = expected.get(name, {}), dict(records.get(name, {}))
        measured = got.pop("value", None)
        if want and measured is not None:
            # 1e-9: 0.7 must not miss 0.6 by a rounding more than 0.1
            near = abs(measured - want["value"]) <= want["tolerance"] + 1e-9
            judged = "pass" if near else "off"
        else:
            judged = "missing" if want else "new"
        if want and not defaults:
            judged = "not judged"
        rows.append(
            {
                **want,
                "expected": want.get("value"),
                "measured": measured,
                **got,
                "verdict": judged,
                "name": name,
            }
        )
    return pd.DataFrame(rows, columns=["name", *_COLUMNS]).set_index("name")


def format_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `check_expected` for people: three decimals, the interval in one column."""

    def join(form: str, *names: str) -> list[str]:
        rows = table[list(names)].astype(float).itertuples(index=False)
        return ["–" if math.isnan(row[0]) else form.format(*row) for row in rows]

    columns = {
        "expected": join("{:.3f} ± {:.3f}", "expected", "tolerance"),
        "measured": join("{:.3f}", "measured"),
        "interval": join("[{:.3f}, {:.3f}]", "low", "high"),
        "chance": join("{:.3f}", "chance"),
        "verdict": table["verdict"],
        "source": table["source"].fillna("–"),
    }
    return pd.DataFrame(columns, index=table.index.rename(None))


def verdict(number: str) -> pd.DataFrame:
    """The table for a notebook's last cell: expected, measured, interval, chance, verdict."""
    changed = os.environ.get("XMR_LAB_PARAMETERS", "")
    if changed:
        print(f"The expected numbers hold for the default parameters; this run has {changed}.")
    return format_table(check_expected(number, _recorded, defaults=not changed))


def expected_toml(records: Mapping[str, Mapping[str, float]]) -> str:
    """Entries to paste into ``expected/NN.toml``, the tolerance half the interval, for a person to check."""
    entries = []
    for name, entry in records.items():
        spread = (entry["high"] - entry["low"]) / 2 if "low" in entry else 0.02
        entries.append(
            f"[{json.dumps(name, ensure_ascii=False)}]\nvalue = {entry['value']:.3f}\n"
            f'tolerance = {spread:.3f}\nsource = "this kit"\nabout = ""\n'
        )
    return "\n".join(entries)


@dataclass(frozen=True)
class Provenance:
    """Rows of name and value, shown as a table in a notebook."""

    rows: dict[str, str]

    def __repr__(self) -> str:
        width = max(map(len, self.rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.rows.items())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in self.rows.items()
        )
        return f'<table class="provenance"><tbody>{rows}</tbody></table>'


def provenance(
    *, collection: Any = None, encoders: Sequence[Any] = (), seed: int | None = None, **extra: object
) -> Provenance:
    """Where the numbers above come from: versions, commit, machine, data, splits, encoders, seed.

    Args:
        collection: its ``fingerprint`` is shown, and a hash of which item is in which split.
        encoders: their ``fingerprint`` is shown.
        seed: the run's seed.
        extra: further rows.

    Examples:
        >>> provenance(seed=0, pairs=531).rows["pairs"]
        '531'
    """
    rows = {name: _version(name) for name in _PACKAGES}
    rows["commit"] = _commit()
    rows["python"] = platform.python_version()
    rows["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if collection is not None:
        rows["data"] = str(collection.fingerprint)
        pairs = sorted(zip(collection.table["id"].astype(str), collection.table["split"].astype(str), strict=True))
        rows["splits"] = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]
    for encoder in encoders:
        rows[f"{encoder.modality} encoder"] = f"{type(encoder).__name__} {encoder.fingerprint}"
    if seed is not None:
        rows["seed"] = str(seed)
    return Provenance(rows | {name: str(value) for name, value in extra.items()})


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit of the checkout, "with changes" if it has any, or "unknown"."""
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True).stdout
            for command in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--", "xmr_lab", "data"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + (", with changes" if changes.strip() else "")
