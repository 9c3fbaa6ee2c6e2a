"""The command line, run for real; errors are one clear line."""

import io
import json
import subprocess
import sys
import time
import warnings

import pytest

from xmr_lab import runner
from xmr_lab.cli import _patience, main


@pytest.mark.parametrize("text", ["seed", "=3", "a b=1"])
def test_an_assignment_of_another_form_is_refused(capsys, text):
    assert main(["run", "-p", text]) == 2
    assert capsys.readouterr().err == f"xmr-lab: error: -p {text}: expected name=value, each name once\n"


def test_a_name_given_twice_is_refused(capsys):
    assert main(["run", "-p", "seed=1", "-p", "seed=2"]) == 2
    assert "seed=2" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_jobs_are_counted_from_one(capsys, jobs):
    with pytest.raises(SystemExit) as exit:
        main(["run", f"-j{jobs}"])
    assert exit.value.code == 2 and "expected 1 or more" in capsys.readouterr().err


def test_params_lists_what_can_be_set(capsys):
    assert main(["params", "14"]) == 0
    assert "seeds: int = 3" in capsys.readouterr().out
    assert main(["params", "99"]) == 2
    assert capsys.readouterr().err.startswith("xmr-lab: error: no notebook 99; there are: 00")


@pytest.mark.parametrize("setting", ["sed=1", "seeds=0", "seeds=many"])
def test_a_wrong_parameter_lists_the_right_ones_and_nothing_runs(capsys, tmp_path, setting):
    assert main(["run", "14", "-p", setting, "--out", str(tmp_path / "out")]) == 2
    assert "seeds: int = 3" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ipynb"))


def test_the_hub_tier_is_refused_where_a_notebook_has_none(capsys, tmp_path):
    assert main(["run", "00", "--tier", "hub", "--out", str(tmp_path)]) == 2
    assert "tier" in capsys.readouterr().err


def test_data_is_verified_and_a_build_needs_the_package(capsys, tmp_path):
    assert main(["data", "verify"]) == 0
    assert "intact: items.parquet" in capsys.readouterr().out
    assert main(["data", "build", "--from", str(tmp_path), "--to", str(tmp_path / "new")]) == 2
    assert "dpkg-deb" in capsys.readouterr().err


def test_search_writes_its_contact_sheet_where_it_is_told(capsys, tmp_path):
    assert main(["search", "a lion", "-k", "2", "--out", str(tmp_path / "found.png")]) == 0
    assert "A lion." in capsys.readouterr().out and (tmp_path / "found.png").stat().st_size > 1000
    assert main(["search", "no such file.png"]) == 2
    assert "leave out the ending" in capsys.readouterr().err


def test_doctor_speaks_json_too(capsys):
    status = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == (report["problems"] > 0)
    assert {"torch", "minilm"} <= {finding["name"] for finding in report["findings"]}


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ModuleNotFoundError("No module named 'x'"), 2, "error: No module named 'x'. What to do: xmr-lab doctor\n"),
        (KeyboardInterrupt(), 130, "interrupted; the next run does what is left.\n"),
    ],
)
def test_what_cannot_be_provoked_here_is_one_line_too(monkeypatch, capsys, error, status, line):
    def fail(number):
        raise error

    monkeypatch.setattr(runner, "describe_parameters", fail)
    assert main(["params", "14"]) == status
    assert capsys.readouterr().err.strip() == f"xmr-lab: {line}".strip()
    assert main(["--debug", "params", "14"]) == status
    assert ("Traceback" in capsys.readouterr().err) is (status == 2)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setattr(runner, "describe_parameters", lambda number: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["params", "14"])


def test_a_closed_pipe_is_no_error():
    command = [sys.executable, "-m", "xmr_lab.cli", "params", "14"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_warnings_for_users_are_one_line(monkeypatch, capsys):
    def warn(number):
        warnings.warn("the file is damaged", stacklevel=2)
        return "done"

    monkeypatch.setattr(runner, "describe_parameters", warn)
    assert main(["params", "14"]) == 0
    assert capsys.readouterr().err == "xmr-lab: warning: the file is damaged\n"


@pytest.mark.parametrize(("terminal", "said"), [(True, "Loading the models"), (False, "")])
def test_whoever_looks_on_is_told_what_takes_so_long(monkeypatch, terminal, said):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("XMR_PROGRESS", raising=False)
    with _patience(0.01):
        time.sleep(0.2)
    assert stream.getvalue().startswith(said) and bool(stream.getvalue()) == terminal


def test_search_loads_no_more_than_it_needs():
    code = "import sys, xmr_lab.search; assert not {'nbformat', 'transformers', 'matplotlib'} & {*sys.modules}"
    subprocess.check_call([sys.executable, "-c", code])


def test_help_is_quick_to_load():
    code = "import sys, xmr_lab.cli; assert not {'torch', 'numpy', 'pandas'} & {*sys.modules}"
    subprocess.check_call([sys.executable, "-c", code])
