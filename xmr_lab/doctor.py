"""`xmr-lab doctor`: what is installed, which weights and data are intact, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata as metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from xmr_lab._torchaudio import install_stand_in

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# whatever else is needed is imported where it is used: its absence is for the doctor to find

__all__ = ["Finding", "doctor", "examine"]

SET_UP = "python3 lab.py setup"
NEEDED_GB = 1.0  # embeddings, executed notebooks and the book, with room to spare
OPTIONAL = {"bench": "the benchmarks", "build": "`xmr-lab data build`"}  # extras; "test" is always there


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report; `remedy` says what to do about a problem."""

    part: str
    name: str
    state: Literal["ok", "note", "problem"]
    found: str
    remedy: str = ""


def doctor(*, as_json: bool = False) -> int:
    """Print the findings; returns the exit status, 1 if there is a problem."""
    findings = examine()
    problems = sum(finding.state == "problem" for finding in findings)
    if as_json:
        print(json.dumps({"problems": problems, "findings": [asdict(each) for each in findings]}, indent=1))
    else:
        print(format_findings(findings))
        print(f"\n{problems or 'no'} problem{'' if problems == 1 else 's'}")
    return int(problems > 0)


def format_findings(findings: list[Finding]) -> str:
    """A table by parts, a remedy below each problem.

    Examples:
        >>> print(format_findings([Finding("Packages", "scipy", "problem", "missing", SET_UP)]))
        Packages
          PROBLEM  scipy  missing
                   what to do: python3 lab.py setup
    """
    width = max(len(each.name) for each in findings)
    marks = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
    lines = []
    for part, group in groupby(findings, key=lambda each: each.part):
        lines.append(part)
        for each in group:
            lines.append(f"  {marks[each.state]:<7}  {each.name:<{width}}  {each.found}")
            if each.remedy:
                lines.append(f"           what to do: {each.remedy}")
    return "\n".join(lines)


def examine() -> list[Finding]:
    """Run every examination; one that breaks is itself a finding, and the others go on."""
    findings: list[Finding] = []
    for part, examination in EXAMINATIONS.items():
        try:
            findings += examination(part)
        except Exception as error:
            found = f"{type(error).__name__}: {error}".splitlines()[0]
            findings.append(Finding(part, "examination", "problem", found, SET_UP))
    return findings


def _python(part: str) -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    wanted = SpecifierSet(metadata.metadata("xmr-lab")["Requires-Python"])
    fits = platform.python_version() in wanted
    found = f"{platform.python_version()} ({sys.executable})"
    remedy = "" if fits else f"install Python {wanted}, remove .venv, then {SET_UP}"
    yield Finding(part, "Python", "ok" if fits else "problem", found, remedy)
    yield Finding(part, "platform", "ok", platform.platform())


def _packages(part: str) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    for text in metadata.requires("xmr-lab") or []:
        requirement = Requirement(text)
        asking = [extra for extra in ("", "test", *OPTIONAL) if _asks_for(requirement, extra)]
        if not asking:
            continue  # for another platform
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            if asking[0] in OPTIONAL:
                found = f"not installed; only {OPTIONAL[asking[0]]} needs it"
                yield Finding(part, requirement.name, "note", found, f"{SET_UP} {asking[0]}")
            else:
                yield Finding(part, requirement.name, "problem", "missing", SET_UP)
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        found = version if fits else f"{version}, but {requirement.specifier} is needed"
        yield Finding(part, requirement.name, "ok" if fits else "problem", found, "" if fits else SET_UP)


def _asks_for(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _torch(part: str) -> Iterator[Finding]:
    """torch and torchaudio are two wheels that must have been built alike (see `_torchaudio`)."""
    import torch

    replaced = install_stand_in()
    try:
        import torchaudio.transforms
    except Exception as error:
        found = f"torchaudio cannot be imported: {type(error).__name__}: {error}".splitlines()[0]
        remedy = f"restart Python and import xmr_lab before torchaudio; if that does not help, {SET_UP}"
        yield Finding(part, "torchaudio", "problem", found, remedy)
    else:
        found = f"torch {torch.__version__} beside torchaudio {torchaudio.__version__}"
        if replaced:
            remedy = "nothing here; in code of your own, import xmr_lab before torchaudio"
            yield Finding(part, "pair", "note", f"{found}, which computes in pure torch", remedy)
        else:
            yield Finding(part, "pair", "ok", found)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    gpu = gpu or ("Apple, through MPS" if torch.backends.mps.is_available() else None)
    yield Finding(part, "GPU", "ok" if gpu else "note", gpu or "none seen; the embedded tier needs none")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{torch.get_num_threads()} threads in torch, {usable} of {os.cpu_count()} cores usable"
    yield Finding(part, "threads", "ok", found)


def _pip_check(part: str) -> Iterator[Finding]:
    if importlib.util.find_spec("pip") is None:
        yield Finding(part, "pip check", "note", "pip is not installed here")
        return
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if done.returncode == 0:
        yield Finding(part, "pip check", "ok", "no package contradicts another")
    for line in done.stdout.splitlines() if done.returncode else []:
        yield Finding(part, "pip check", "problem", line, SET_UP)


def _disk(part: str) -> Iterator[Finding]:
    from xmr_lab.encoders.cache import cache_folder

    folder = cache_folder()
    elsewhere = "set XMR_CACHE to a folder where you may write"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding(part, "cache", "problem", f"cannot write in {folder}: {error.strerror}", elsewhere)
        return
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield Finding(part, "cache", "ok", f"{size / 1e6:.1f} MB in {folder}; may be deleted at any time")
    free = shutil.disk_usage(folder).free / 1e9
    enough = free >= NEEDED_GB
    remedy = "" if enough else f"make room: at least {NEEDED_GB:g} GB"
    yield Finding(part, "free disk", "ok" if enough else "problem", f"{free:.1f} GB", remedy)


def _weights(part: str) -> Iterator[Finding]:
    from xmr_lab.encoders.weights import weights

    for each in weights():
        try:
            each.check()
        except (OSError, ValueError) as error:  # the message ends with the remedy
            yield Finding(part, each.name, "problem", str(error))
        else:
            found = f"intact, SHA-256 {each.sha256[:12]}…, {each.licence}, from {each.package}"
            yield Finding(part, each.name, "ok", found)


def _data(part: str) -> Iterator[Finding]:
    from xmr_lab.data.stamps import verify

    try:
        yield from [Finding(part, name, "ok", "intact") for name in verify()]
    except (FileNotFoundError, ValueError) as error:  # here, too
        yield Finding(part, "stamps", "problem", str(error))


EXAMINATIONS: dict[str, Callable[[str], Iterator[Finding]]] = {
    "Python": _python,
    "Packages": _packages,
    "Together": _pip_check,
    "torch": _torch,
    "Disk": _disk,
    "Weights": _weights,
    "Data": _data,
}
