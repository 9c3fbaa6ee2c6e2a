#!/usr/bin/env python3
"""Sets XMR Lab up and runs its everyday commands. Needs nothing but Python.

  python3 lab.py             set up, run every notebook, build the book
  python3 lab.py setup       only make .venv and install everything into it
  python3 lab.py test        all tests and notebooks (pytest, nbval); what follows goes to pytest
  python3 lab.py lab         open JupyterLab on the notebooks
  python3 lab.py bench       run the benchmarks, or those named: lab.py bench retrieval
  python3 lab.py lock        remake constraints.txt and environment.yml from pyproject.toml;
                             lab.py lock --upgrade takes newer versions
  python3 lab.py clean       remove what runs and the book left; clean --all removes .venv, too

  python3 lab.py run | refresh | params | book | data | search | index | experiment | audit | doctor
                             the commands of xmr-lab: lab.py run 14 -p seed=3, lab.py run --help

Each sets up first if need be; what is in place already is not done again. The package index is pip's:
PIP_INDEX_URL, PIP_FIND_LINKS, HTTPS_PROXY and pip.conf hold here as everywhere. For a computer without
a GPU, UV_TORCH_BACKEND=cpu takes the smaller build of torch where PyTorch's own index is in reach.
"""

# An old Python must get as far as the message about it: no syntax newer than 3.6 in this file.
import ast
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
STAMP = VENV / "xmr-lab.json"
UNFINISHED = {"state": "unfinished"}
NEEDED_GB = 4  # .venv with the CPU build of torch and its bytecode takes 2.9; the rest is for caches and results
UV = "uv>=0.9,<1"
INTERRUPTED = 130  # as shells count it


class Failure(Exception):
    """What went wrong, and in the next lines what to do about it."""


# -- Python ---------------------------------------------------------------------------------------


def supported_minors() -> range:
    """The supported versions 3.x, from pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"', text, re.MULTILINE)
    if not match:
        raise Failure("pyproject.toml: requires-python should have the form >=3.A,<3.B")
    return range(int(match[1]), int(match[2]))


def probe(*command: str) -> "dict | None":
    """Version and path of a Python, and whether it can make environments; None if it does not run."""
    code = (
        "import sys, importlib.util as u; print(repr({'version': list(sys.version_info[:2]),"
        "'path': sys.executable, 'venv': bool(u.find_spec('ensurepip') and u.find_spec('venv'))}))"
    )
    try:
        output = subprocess.check_output([*command, "-c", code], stderr=subprocess.DEVNULL)
        return ast.literal_eval(output.decode("utf-8"))
    except (OSError, subprocess.CalledProcessError, ValueError, SyntaxError):
        return None


def find_python() -> str:
    """A Python to make the environment with: this one if it will do, or else one on the PATH."""
    minors = supported_minors()
    this = getattr(sys, "_base_executable", None) or sys.executable  # not that of an environment
    others = [command for minor in minors for command in ((f"python3.{minor}",), ("py", f"-3.{minor}"))]
    found = [python for python in (probe(*command) for command in [(this,), *others]) if python]
    fitting = [python for python in found if supported(python)]
    for python in fitting:
        if python["venv"]:
            return python["path"]
    if fitting:
        raise Failure(
            f"{fitting[0]['path']} has no ensurepip, so it cannot make an environment.\n"
            "  What to do: install it (Debian, Ubuntu: apt install python3-venv), then run this again."
        )
    raise Failure(
        f"XMR Lab needs Python 3.{minors[0]} to 3.{minors[-1]}. This is {sys.version.split()[0]} ({this}),\n"
        "  and no other was found on the PATH.\n"
        "  What to do: install one (python.org, your system's packages, or conda with environment.yml),\n"
        "  then run this again with it."
    )


def supported(python: dict) -> bool:
    return python["version"][0] == 3 and python["version"][1] in supported_minors()


# -- set-up ---------------------------------------------------------------------------------------


def ensure(*extras: str) -> None:
    """Make .venv hold what pyproject.toml asks for, with the extra "test" and those named."""
    with one_at_a_time():
        stamp = read_stamp()
        wanted = sorted({"test", *extras, *stamp.get("extras", [])})
        if stamp == stamp_for(wanted):
            return
        with step("Set-up"):
            if not can_be_updated(stamp):
                make_venv()
            write_stamp(UNFINISHED)
            install(",".join(wanted))
            write_stamp(stamp_for(wanted))


def stamp_for(extras: "list[str]") -> dict:
    """What the stamp says once everything is installed: a change in any of it means work to do."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes().replace(b"\r\n", b"\n"))
    version = (probe(PYTHON) or {}).get("version")
    return {"sha256": digest.hexdigest(), "python": version, "folder": str(ROOT), "extras": extras}


def read_stamp() -> dict:
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write_stamp(stamp: dict) -> None:
    draft = STAMP.with_suffix(".draft")
    draft.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    os.replace(str(draft), str(STAMP))


def can_be_updated(stamp: dict) -> bool:
    """Whether the .venv that is there will do, or must be made anew."""
    if stamp == UNFINISHED:
        say("The last set-up did not finish, so .venv is made anew.")
        return False
    python = probe(PYTHON)
    if not python or not supported(python):
        return False
    # without a stamp it is somebody's own, and kept; ours must not have moved, nor changed its Python
    return not stamp or (stamp.get("folder"), stamp.get("python")) == (str(ROOT), python["version"])


def make_venv() -> None:
    python = find_python()
    if VENV.exists():
        shutil.rmtree(str(VENV))
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < NEEDED_GB:
        raise Failure(
            f"the set-up needs about {NEEDED_GB} GB in {ROOT}; {free:.1f} GB are free.\n"
            "  What to do: make room (pip cache purge, uv cache clean), or move this folder elsewhere."
        )
    VENV.mkdir()
    write_stamp(UNFINISHED)
    say(f"Making .venv with {python}")
    if call([python, "-m", "venv", str(VENV)]):
        raise Failure(f"{python} could not make .venv; its own message is above.")


def install(extras: str) -> None:
    """Install with uv, which is faster, or else with pip."""
    what = ["-c", "constraints.txt", "-e", f".[{extras}]"]
    pip = [PYTHON, "-m", "pip"]
    if call([*pip, "--version"], quiet=True):  # an environment made by uv
        call([PYTHON, "-m", "ensurepip"], quiet=True)
    if call([*pip, "install", "--retries", "1", "--timeout", "20", UV], quiet=True):
        say("Installing with pip, since uv cannot be had (some minutes)")
    else:
        say("Installing with uv")
        if not call([PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, *what], uv_settings()):
            return
        say("uv did not manage; trying pip (some minutes)")
    if call([*pip, "install", *what]):
        raise Failure(
            "the packages could not be installed; the messages above say why.\n"
            "  If they speak of connections or retries, no package index is in reach. What to do, one of:\n"
            "  - set HTTPS_PROXY=http://HOST:PORT, or PIP_INDEX_URL to an index that you can reach;\n"
            "  - with no network at all: on a computer like this one that has it, in a copy of this folder,\n"
            f"      python3 -m pip wheel -w wheelhouse -c constraints.txt '.[{extras}]' setuptools uv\n"
            "    then bring the folder wheelhouse here and set PIP_NO_INDEX=1 PIP_FIND_LINKS=wheelhouse.\n"
            "  Then run this again."
        )


def uv_settings() -> "dict[str, str]":
    """pip's configuration (files and environment) as uv's variables, where those are not set.

    uv does not read pip's configuration, and behind a firewall that is where the index stands.
    """
    pip = dict(re.findall(r"^\S*?\.([a-z-]+)='(.*)'\r?$", pip_says("config", "list"), re.MULTILINE))
    extra = pip.get("extra-index-url", "")
    if extra:  # uv would look there first, and take a wheel for any machine before the one for this machine
        default = re.search(r"\(default (\S+?)\)", pip_says("install", "--help"))
        extra = " ".join(filter(None, [pip.get("index-url") or (default and default[1]), extra]))
    settings = {
        "UV_DEFAULT_INDEX": pip.get("index-url"),
        "UV_INDEX": extra,
        "UV_INDEX_STRATEGY": "unsafe-best-match",  # as pip chooses
        "UV_COMPILE_BYTECODE": "1",  # as pip does: half a minute once, and every start is seconds shorter
        "UV_OFFLINE": pip.get("no-index"),  # uv has no variable for "only from these folders"
        "UV_FIND_LINKS": ",".join(pip.get("find-links", "").split()),
        "UV_INSECURE_HOST": pip.get("trusted-host"),
        "SSL_CERT_FILE": pip.get("cert"),
    }
    return {name: value for name, value in settings.items() if value and name not in os.environ}


def pip_says(*arguments: str) -> str:
    wide = {**os.environ, "COLUMNS": "1000"}  # or its help breaks lines
    return subprocess.check_output([PYTHON, "-m", "pip", *arguments], env=wide).decode("utf-8", "replace")


@contextlib.contextmanager
def one_at_a_time() -> "Iterator[None]":
    """Wait until no other set-up runs here. The lock ends with its process, however that ends."""
    (ROOT / "out").mkdir(exist_ok=True)
    with open(str(ROOT / "out" / ".setup.lock"), "a") as file:
        if not lock_file(file.fileno()):
            say("Another set-up is running in this folder; waiting for it.")
            while not lock_file(file.fileno()):
                time.sleep(1)
        yield


def lock_file(file: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# -- commands -------------------------------------------------------------------------------------


def everything() -> int:
    ensure()
    with step("Notebooks"):
        ran = xmr_lab("run")
    if ran == INTERRUPTED:
        return ran
    with step("Book"):  # also where a number is off: the book shows that
        return xmr_lab("book") or ran


def setup(*arguments: str) -> int:
    ensure(*arguments)
    say(f"Set up in {VENV}")
    return 0


def test(*arguments: str) -> int:
    ensure()
    # two processes of one thread each, as in the runner: at these sizes two threads mostly wait for each other
    # and no bars, which nbval would take for output where nothing is cached yet
    settings = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "XMR_PROGRESS": "0"}
    processes = ["-n", str(min(2, os.cpu_count() or 1)), "--dist", "loadscope"]  # a notebook stays in one
    return call([PYTHON, "-m", "pytest", *processes, "--nbval-lax", "--nbval-current-env", *arguments], settings)


def lab(*arguments: str) -> int:
    ensure()
    offline = "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate"
    return call([PYTHON, "-m", "jupyterlab", offline, *arguments], folder=ROOT / "notebooks")


def bench(*names: str) -> int:
    ensure("bench")
    scripts = sorted((ROOT / "benchmarks").glob("[!_]*.py"))
    chosen = [script for script in scripts if not names or script.stem[6:] in names]
    if not chosen:
        raise Failure(f"no such benchmark; there are: {', '.join(script.stem[6:] for script in scripts)}")
    return max(call([PYTHON, str(script)]) for script in chosen)


def lock(*arguments: str) -> int:
    ensure()
    if sys.version_info < (3, 11):  # noqa: UP036 - has no tomllib
        return call([PYTHON, str(ROOT / "lab.py"), "lock", *arguments])
    # a uv.lock would record hosts; without annotations and local wheels the same file comes out anywhere
    options = ["--universal", "--all-extras", "--no-annotate", "--no-header", "--quiet"]
    command = [PYTHON, "-m", "uv", "pip", "compile", *options, "pyproject.toml", "-o", "constraints.txt"]
    status = call([*command, *arguments], {"UV_FIND_LINKS": ""})
    (ROOT / "environment.yml").write_text(environment_yml(), encoding="utf-8")
    return status


def environment_yml() -> str:
    """environment.yml as it must be: conda brings Python and pip, the rest is as in pyproject.toml."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = project["dependencies"] + project["optional-dependencies"]["test"]
    return "\n".join(
        [
            "# Made by `python3 lab.py lock` from pyproject.toml; use: conda env create -f environment.yml",
            "name: xmr-lab",
            "channels: [conda-forge]",
            "dependencies:",
            f'  - "python{project["requires-python"]}"',
            "  - pip",
            "  - pip:",
            *(f'      - "{line}"' for line in ["-c constraints.txt", *packages, "-e ."]),
            "",
        ]
    )


def clean(*arguments: str) -> int:
    for folder in [ROOT / "out", ROOT / "book" / "_build"] + [VENV] * ("--all" in arguments):
        if folder.exists():
            say(f"Removing {folder}")
            shutil.rmtree(str(folder))
    return 0


COMMANDS = {"setup": setup, "test": test, "lab": lab, "bench": bench, "lock": lock, "clean": clean}
OF_XMR_LAB = ("run", "refresh", "params", "book", "data", "search", "index", "experiment", "audit", "doctor")


def main(argv: "list[str]") -> int:
    name, arguments = (argv[0], argv[1:]) if argv else ("", [])
    try:
        if name in ("-h", "--help", "help"):
            print(__doc__)
        elif not name:
            return everything()
        elif name in COMMANDS:
            return COMMANDS[name](*arguments)
        elif name in OF_XMR_LAB:
            ensure()
            return xmr_lab(name, *arguments)
        else:
            raise Failure(f"there is no command {name!r}; python3 lab.py --help lists them.")
    except Failure as failure:
        print(f"lab.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlab.py: interrupted; the next run does what is left.", file=sys.stderr)
        return INTERRUPTED
    return 0


# -- small helpers --------------------------------------------------------------------------------


def xmr_lab(*arguments: str) -> int:
    return call([PYTHON, "-m", "xmr_lab.cli", *arguments])


def call(
    command: "list[str]", settings: "dict[str, str] | None" = None, folder: Path = ROOT, quiet: bool = False
) -> int:
    """Run a program; returns its exit status. What it prints is shown unless ``quiet``."""
    output = subprocess.DEVNULL if quiet else None
    environment = {**os.environ, "PYTHONUTF8": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **(settings or {})}
    return subprocess.call(command, cwd=str(folder), env=environment, stdout=output, stderr=output)


@contextlib.contextmanager
def step(name: str) -> "Iterator[None]":
    say(f"== {name}")
    start = time.time()
    yield
    say(f"== {name}: {time.time() - start:.0f} s")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
