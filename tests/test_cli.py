"""The command line: what is asked reaches the room that does it, and errors are one clear line."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from xmr_lab.cli import main


@pytest.fixture
def room(monkeypatch):
    """Puts a function in the place of a module's; returns what it was called with."""

    def put(module, name, result=None):
        seen = []

        def function(*args, **options):
            seen.append((args, options))
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setitem(sys.modules, module, ModuleType(module))
        setattr(sys.modules[module], name, function)
        return seen

    return put


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_run(room, capsys, tmp_path, ok, status):
    seen = room("xmr_lab.runner", "run_notebooks", [SimpleNamespace(ok=ok)])
    command = [
        "run",
        "14",
        "A1",
        "-p",
        "seed=3",
        "-p",
        "query=a = b",
        "--tier",
        "hub",
        "--out",
        str(tmp_path),
    ]
    assert main([*command, "--force", "-j", "2"]) == status
    options = {"tier": "hub", "out": tmp_path, "force": True, "jobs": 2}
    assert seen == [((["14", "A1"], {"seed": "3", "query": "a = b"}), options)]
    assert str(tmp_path) in capsys.readouterr().out


def test_run_without_words_takes_all_notebooks_with_their_defaults(room):
    seen = room("xmr_lab.runner", "run_notebooks", [])
    assert main(["run"]) == 0
    options = {"tier": "embedded", "out": Path("out"), "force": False, "jobs": None}
    assert seen == [((None, {}), options)]


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


def test_params_and_refresh(room, capsys):
    room("xmr_lab.runner", "describe_parameters", "seed: int = 0")
    assert main(["params", "14"]) == 0 and capsys.readouterr().out == "seed: int = 0\n"
    seen = room("xmr_lab.runner", "refresh_notebooks", [])
    assert main(["refresh", "14"]) == 0 and seen == [((["14"],), {})]


def test_book_says_where_it_is_and_what_the_builder_complained_about(room, capsys):
    room("xmr_lab.book", "build_book", Path("book/_build/html/index.html"))
    assert main(["book"]) == 0 and "index.html" in capsys.readouterr().out
    room("xmr_lab.book", "build_book", RuntimeError("warning: unknown document"))
    assert main(["book"]) == 1 and "unknown document" in capsys.readouterr().err


def test_data_and_doctor_and_search(room, tmp_path):
    room("xmr_lab.data.stamps", "stamps_folder", tmp_path)
    seen = room("xmr_lab.data.build", "build_stamps", tmp_path)
    assert main(["data", "build", "--from", "unpacked"]) == 0
    assert seen == [((Path("unpacked"), tmp_path), {})]
    room("xmr_lab.data.stamps", "verify", ["items.parquet"])
    assert main(["data", "verify"]) == 0
    room("xmr_lab.doctor", "doctor", 1)
    assert main(["doctor"]) == 1
    seen = room("xmr_lab.search", "search_command")
    assert main(["search", "a red apple", "--in", "mine", "-k", "3"]) == 0
    wanted = {"folder": Path("mine"), "k": 3, "out": Path("contact_sheet.png"), "language": "es"}
    assert seen == [(("a red apple",), wanted)]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("no such notebook"), 2, "xmr-lab: error: no such notebook\n"),
        (FileNotFoundError("no data"), 2, "xmr-lab: error: no data\n"),
        (
            ModuleNotFoundError("No module named 'x'"),
            2,
            "xmr-lab: error: No module named 'x'. What to do: xmr-lab doctor\n",
        ),
        (KeyboardInterrupt(), 130, "\nxmr-lab: interrupted; the next run does what is left.\n"),
    ],
)
def test_errors_are_one_line_and_debug_shows_more(room, capsys, error, status, line):
    room("xmr_lab.runner", "describe_parameters", error)
    assert main(["params", "14"]) == status
    assert capsys.readouterr().err == line
    assert main(["--debug", "params", "14"]) == status
    assert ("Traceback" in capsys.readouterr().err) is (status == 2)


def test_an_error_of_ours_is_not_hidden(room):
    room("xmr_lab.runner", "describe_parameters", TypeError("a mistake in the code"))
    with pytest.raises(TypeError):
        main(["params", "14"])


def test_help_is_quick_to_load():
    code = "import sys, xmr_lab.cli; assert not {'torch', 'numpy', 'pandas'} & {*sys.modules}"
    subprocess.check_call([sys.executable, "-c", code])
