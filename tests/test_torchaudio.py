"""torchaudio beside a torch that was built for another CUDA, or none: each case in a fresh process."""

import subprocess
import sys

import pytest

from xmr_lab._torchaudio import cuda_builds, needs_stand_in


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_is_quick_and_loads_nothing_heavy():
    code = """
import sys, time
start = time.perf_counter()
import xmr_lab
seconds = time.perf_counter() - start
heavy = {"torch", "torchaudio", "numpy", "pandas", "transformers"} & {*sys.modules}
assert not heavy, heavy
print(seconds)
"""
    assert min(float(python(code)) for _ in range(3)) < 0.2


def test_torchaudio_computes_and_transformers_models_import():
    code = """
import xmr_lab, torch
from torchaudio.functional import lfilter
from torchaudio.transforms import MFCC, FrequencyMasking, MelSpectrogram, Resample, TimeMasking
wave = torch.sin(torch.arange(16_000) / 5)[None]
assert MFCC(16_000, melkwargs={"n_mels": 40})(wave).shape == (1, 40, 81)
assert Resample(16_000, 8_000)(wave).shape == (1, 8_000)
mel = MelSpectrogram(16_000, n_mels=40)(wave)
assert TimeMasking(20)(FrequencyMasking(8)(mel)).shape == mel.shape
assert lfilter(wave, torch.tensor([1.0, 0.2]), torch.tensor([1.0, 0.1])).isfinite().all()
from transformers import AutoModel, BertModel
print("works")
"""
    assert python(code) == "works"


def test_a_failed_import_before_ours_is_made_good():
    code = """
try:
    import torchaudio
except OSError:
    pass
import xmr_lab
import torchaudio.transforms
from transformers import BertModel
print("works")
"""
    assert python(code) == "works"


@pytest.mark.skipif(not needs_stand_in(*cuda_builds()), reason="torch and torchaudio were built alike here")
def test_what_has_no_pure_version_says_why():
    code = """
import xmr_lab, torch, torchaudio
try:
    torchaudio.functional.forced_align(torch.zeros(1, 4, 3), torch.ones(1, 2))
except RuntimeError as error:
    print(error)
"""
    assert "built for another CUDA" in python(code) and "xmr-lab doctor" in python(code)


@pytest.mark.parametrize(
    ("torch", "torchaudio", "builds", "needed"),
    [
        ("cuda: Optional[str] = None", "'2.11.0+cu130'", (None, "130"), True),
        ("cuda = '12.8'", "'2.11.0+cu130'", ("128", "130"), True),
        ("cuda: Optional[str] = '13.0'", "'2.11.0+cu130'", ("130", "130"), False),
        ("cuda: Optional[str] = None", "'2.11.0+cpu'", (None, None), False),
        ("cuda: Optional[str] = None", "'2.11.0'", (None, None), False),
    ],
)
def test_builds_are_read_from_the_version_files(tmp_path, monkeypatch, torch, torchaudio, builds, needed):
    for name, text in {"torch": torch, "torchaudio": f"__version__ = {torchaudio}"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "version.py").write_text(f"debug = False\n{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)  # find_spec would ask them
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    assert cuda_builds() == builds
    assert needs_stand_in(*builds) is needed
