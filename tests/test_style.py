"""The code as a whole: linted, formatted, its types checked, nothing too long."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [("ruff", "check"), ("ruff", "format", "--check", "xmr_lab", "tests", "benchmarks", "lab.py"), ("mypy", "xmr_lab")],
    ids=" ".join,
)
def test_tools_are_content(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notebooks_folder_stays_light():
    assert sum(path.stat().st_size for path in (ROOT / "notebooks").glob("*.ipynb")) < 15e6
