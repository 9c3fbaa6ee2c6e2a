"""The doctor: each kind of trouble is found, named, and met with something to do."""

import json
from importlib import import_module
from types import SimpleNamespace

import pytest

from xmr_lab import doctor as module
from xmr_lab.doctor import Finding, doctor, examine, format_findings


def findings(examination):
    return list(examination("part"))


def test_this_environment_fits_what_the_project_asks_for():
    found = findings(module._python) + findings(module._packages)
    assert {"numpy", "torch", "pytest"} <= {each.name for each in found}
    assert not [each for each in found if each.state == "problem"]


def test_a_missing_and_an_outdated_package_are_problems_and_an_optional_one_is_not(monkeypatch):
    versions = {"numpy": "1.26.4", "packaging": "24"}

    def version(name):
        if name in versions:
            return versions[name]
        raise module.metadata.PackageNotFoundError(name)

    asked = [
        "numpy>=2.0,<3",
        "scipy>=1.14",
        "packaging>=20",
        "faiss-cpu>=1.9; extra == 'bench'",
        "x; python_version < '3'",
    ]
    monkeypatch.setattr(module.metadata, "version", version)
    monkeypatch.setattr(module.metadata, "requires", lambda name: asked)
    states = {each.name: (each.state, each.found, each.remedy) for each in findings(module._packages)}
    assert states == {
        "numpy": ("problem", "1.26.4, but <3,>=2.0 is needed", "python3 lab.py setup"),
        "scipy": ("problem", "missing", "python3 lab.py setup"),
        "packaging": ("ok", "24", ""),
        "faiss-cpu": ("note", "not installed; only the benchmarks needs it", "python3 lab.py setup bench"),
    }


def test_the_pair_of_torch_and_torchaudio_is_explained(monkeypatch):
    monkeypatch.setattr(module, "install_stand_in", lambda: True)
    pair = next(each for each in findings(module._torch) if each.name == "pair")
    assert pair.state == "note" and "pure torch" in pair.found and "import xmr_lab before" in pair.remedy


def test_a_torchaudio_that_cannot_be_imported_is_a_problem(monkeypatch):
    monkeypatch.setitem(module.sys.modules, "torchaudio.transforms", None)
    broken = next(each for each in findings(module._torch) if each.state == "problem")
    assert "cannot be imported" in broken.found and "restart Python" in broken.remedy


def test_a_cache_that_cannot_be_written_and_a_full_disk_are_problems(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "file"))
    assert [each.state for each in findings(module._disk)] == ["problem"]
    monkeypatch.setenv("XMR_CACHE", str(tmp_path))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e8))
    cache, disk = findings(module._disk)
    assert (cache.state, disk.state, disk.found) == ("ok", "problem", "0.1 GB")


def test_weights_are_intact_or_a_problem(monkeypatch):
    def check():
        raise ValueError("damaged. Install the package again")

    room = import_module("xmr_lab.encoders.weights")
    assert all("intact" in each.found for each in findings(module._weights))
    monkeypatch.setattr(room, "weights", lambda: [SimpleNamespace(name="minilm", check=check)])
    assert findings(module._weights) == [Finding("part", "minilm", "problem", "damaged. Install the package again")]


def test_damaged_data_is_a_problem_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("XMR_STAMPS", str(tmp_path))
    (problem,) = findings(module._data)
    assert problem.state == "problem" and "git checkout" in problem.found


def test_an_examination_that_breaks_does_not_end_the_others(monkeypatch):
    def breaks(part):
        yield Finding(part, "first", "ok", "seen")
        raise OSError("no such device\nat all")

    monkeypatch.setattr(module, "EXAMINATIONS", {"One": breaks, "Two": lambda part: [Finding(part, "b", "ok", "")]})
    found = [(each.part, each.state) for each in examine()]
    assert found == [("One", "ok"), ("One", "problem"), ("Two", "ok")]


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_exit_status_and_json(monkeypatch, capsys, state, status):
    finding = Finding("Disk", "cache", state, "full", "make room")
    monkeypatch.setattr(module, "EXAMINATIONS", {"Disk": lambda part: [finding]})
    assert doctor() == status
    assert "what to do: make room" in capsys.readouterr().out
    assert doctor(as_json=True) == status
    assert json.loads(capsys.readouterr().out) == {
        "problems": status,
        "findings": [{"part": "Disk", "name": "cache", "state": state, "found": "full", "remedy": "make room"}],
    }


def test_the_table_has_a_heading_a_part():
    table = format_findings(
        [Finding("A", "x", "ok", "1"), Finding("A", "yy", "note", "2"), Finding("B", "z", "ok", "3")]
    )
    assert table.splitlines() == ["A", "  ok       x   1", "  note     yy  2", "B", "  ok       z   3"]
