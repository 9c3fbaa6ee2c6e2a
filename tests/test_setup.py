"""The set-up: a real driver on a small checkout; only the installers and the free disk are played."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import xmr_lab

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def load(folder):
    spec = importlib.util.spec_from_file_location("lab", folder / "lab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lab(tmp_path):
    """lab.py in a checkout of its own: `calls` notes the programs it calls, `fail` names those that fail."""
    for name in ("lab.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    module = load(tmp_path)
    module.calls, module.fail = [], set()

    def call(command, settings=None, folder=None, quiet=False):
        words = [os.path.relpath(word, tmp_path) if os.path.isabs(word) else word for word in command[1:]]
        module.calls.append(" ".join(words))
        if "venv" in command:  # a real one, without the slow part
            return subprocess.call([*command, "--without-pip"])
        return int(any(name in module.calls[-1] for name in module.fail))

    module.call = call
    module.uv_settings = dict  # asks the pip of the environment, which is not installed here
    return module


def installs(lab):
    return [" ".join(call.split()[:4]) for call in lab.calls if " install " in call and lab.UV not in call]


UV = "-m uv pip install"
PIP = "-m pip install -c"


# -- Python ---------------------------------------------------------------------------------------


def test_an_old_python_can_read_the_driver_and_it_needs_no_package():
    tree = ast.parse((ROOT / "lab.py").read_text("utf-8"), feature_version=(3, 6))
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imports} <= sys.stdlib_module_names


def test_supported_versions_are_those_of_pyproject(lab):
    wanted = SpecifierSet(PROJECT["requires-python"])
    assert list(lab.supported_minors()) == [minor for minor in range(40) if f"3.{minor}.1" in wanted]


def test_this_python_is_taken_if_it_will_do(lab):
    assert lab.probe(lab.find_python())["version"] == list(sys.version_info[:2])


def old_python_and(**others):
    pythons = {sys.executable: [3, 9], getattr(sys, "_base_executable", ""): [3, 9]} | others
    return lambda *command: (
        {"version": pythons[command[0]], "path": f"/bin/{command[0]}", "venv": command[0] != "python3.13"}
        if command[0] in pythons
        else None
    )


def test_with_an_old_python_another_one_on_the_path_is_taken(lab):
    lab.probe = old_python_and(**{"python3.12": [3, 12], "python3.13": [3, 13]})
    assert lab.find_python() == "/bin/python3.12"


def test_with_only_an_old_python_the_message_says_what_is_needed(lab, capsys):
    lab.probe = old_python_and()
    assert lab.main(["setup"]) == 1
    message = capsys.readouterr().err
    assert "needs Python 3.11 to 3.13" in message and "What to do: install" in message
    assert "Traceback" not in message and not lab.VENV.exists()


def test_a_python_that_cannot_make_environments_is_named_with_the_package_to_install(lab):
    lab.probe = old_python_and(**{"python3.13": [3, 13]})
    with pytest.raises(lab.Failure, match=r"(?s)python3.13 has no ensurepip.*apt install python3-venv"):
        lab.find_python()


# -- set-up ---------------------------------------------------------------------------------------


def test_a_second_set_up_does_nothing(lab):
    lab.ensure()
    assert installs(lab) == [UV] and lab.calls[0].startswith("-m venv")
    lab.calls.clear()
    lab.ensure()
    assert lab.calls == []


def test_a_change_of_what_is_needed_is_installed_into_what_is_there(lab):
    lab.ensure()
    lab.calls.clear()
    with open(lab.ROOT / "constraints.txt", "a") as file:
        file.write("# changed\n")
    lab.ensure()
    assert installs(lab) == [UV] and not any("-m venv" in call for call in lab.calls)


def test_an_extra_once_asked_for_stays(lab):
    lab.ensure("bench")
    lab.calls.clear()
    lab.ensure()
    assert lab.calls == [] and json.loads(lab.STAMP.read_text())["extras"] == ["bench", "test"]


def test_an_interrupted_set_up_is_made_anew(lab, capsys):
    def interrupt(command, *_, **__):
        raise KeyboardInterrupt

    whole = lab.call
    lab.call = interrupt
    assert lab.main(["setup"]) == 130 and "interrupted" in capsys.readouterr().err
    (lab.VENV / "rest").touch()
    lab.call = whole
    assert lab.main(["setup"]) == 0
    assert "did not finish" in capsys.readouterr().out and not (lab.VENV / "rest").exists()


def test_a_checkout_that_moved_is_set_up_anew(lab):
    lab.ensure()
    stamp = json.loads(lab.STAMP.read_text())
    lab.write_stamp({**stamp, "folder": "/elsewhere"})
    (lab.VENV / "rest").touch()
    lab.ensure()
    assert not (lab.VENV / "rest").exists()


def test_an_environment_of_the_users_own_is_kept(lab):
    subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", str(lab.VENV)])
    (lab.VENV / "mine").touch()
    lab.ensure()
    assert (lab.VENV / "mine").exists() and installs(lab) == [UV]


@pytest.mark.parametrize("fail", [UV, "--retries 1"])
def test_pip_is_the_fallback(lab, fail):
    lab.fail = {fail}
    lab.ensure()
    assert installs(lab)[-1] == PIP


def test_without_an_index_the_message_says_what_to_do_and_nothing_counts_as_done(lab, capsys):
    lab.fail = {"--retries 1", PIP}
    assert lab.main(["setup"]) == 1
    message = capsys.readouterr().err
    assert all(word in message for word in ("HTTPS_PROXY", "PIP_INDEX_URL", "wheelhouse", "PIP_NO_INDEX"))
    assert lab.read_stamp() == lab.UNFINISHED


def test_without_room_the_message_says_how_much_is_needed(lab, monkeypatch, capsys):
    monkeypatch.setattr(lab.shutil, "disk_usage", lambda path: SimpleNamespace(free=0.5e9))
    assert lab.main(["setup"]) == 1
    assert "about 4 GB" in (message := capsys.readouterr().err) and "0.5 GB are free" in message
    assert not lab.VENV.exists()


def test_uv_is_told_what_pip_is_configured_to_use(lab, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_INDEX", "PIP_EXTRA"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    driver = load(ROOT)
    driver.PYTHON = sys.executable
    settings = driver.uv_settings()
    assert settings["UV_FIND_LINKS"] == "/wheels,/more"
    assert settings["UV_DEFAULT_INDEX"] == "http://127.0.0.1:9/simple"
    assert "UV_INDEX" not in settings
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///more/simple")  # pip asks it after the other one
    assert driver.uv_settings()["UV_INDEX"] == "http://127.0.0.1:9/simple file:///more/simple"
    monkeypatch.delenv("PIP_INDEX_URL")
    assert len(driver.uv_settings()["UV_INDEX"].split()) == 2
    monkeypatch.setenv("UV_FIND_LINKS", "/mine")
    assert "UV_FIND_LINKS" not in driver.uv_settings()


def test_only_one_set_up_at_a_time_and_a_dead_one_does_not_count(lab):
    code = "import lab, time\nwith lab.one_at_a_time():\n    print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], cwd=lab.ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with open(lab.ROOT / "out" / ".setup.lock", "a") as file:
        assert not lab.lock_file(file.fileno())
        other.kill()
        other.wait()
        assert lab.lock_file(file.fileno())
    other.stdout.close()


# -- commands -------------------------------------------------------------------------------------


def test_help_names_every_command():
    shown = subprocess.check_output([sys.executable, ROOT / "lab.py", "--help"], text=True)
    driver = load(ROOT)
    assert all(re.search(rf"\b{name}\b", shown) for name in [*driver.COMMANDS, *driver.OF_XMR_LAB])


def test_an_unknown_command_is_an_error(lab, capsys):
    assert lab.main(["tset"]) == 1
    assert "there is no command 'tset'" in capsys.readouterr().err


def test_the_first_command_sets_up_runs_and_builds_even_where_a_number_is_off(lab):
    lab.fail = {"xmr_lab.cli run"}
    assert lab.main([]) == 1
    assert [call for call in lab.calls if "xmr_lab" in call] == ["-m xmr_lab.cli run", "-m xmr_lab.cli book"]


@pytest.mark.parametrize("status", [0, 1])
def test_the_second_command_ends_as_the_tests_do(lab, status):
    lab.fail = {"pytest"} if status else set()
    assert lab.main(["test", "-k", "metrics"]) == status
    processes = min(2, os.cpu_count() or 1)
    assert lab.calls[-1] == f"-m pytest -n {processes} --dist loadscope --nbval-lax --nbval-current-env -k metrics"


def test_the_tests_cover_package_and_notebooks():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    assert {"tests", "xmr_lab", "notebooks"} <= {*options["testpaths"]}


def test_clean_leaves_the_environment_unless_told(lab):
    lab.ensure()
    (lab.ROOT / "book" / "_build").mkdir(parents=True)
    lab.main(["clean"])
    assert not (lab.ROOT / "book" / "_build").exists() and lab.VENV.exists()
    lab.main(["clean", "--all"])
    assert not lab.VENV.exists()


# -- files that must agree ------------------------------------------------------------------------


def test_environment_yml_is_in_step_with_pyproject():
    text = (ROOT / "environment.yml").read_text("utf-8")
    assert text == load(ROOT).environment_yml(), "run `python3 lab.py lock`"
    python, pip, rest = yaml.safe_load(text)["dependencies"]
    assert (python, pip) == (f"python{PROJECT['requires-python']}", "pip")
    named = {Requirement(line).name for line in rest["pip"] if not line.startswith("-")}
    asked_for = "jupyterlab nbconvert torch transformers torchaudio matplotlib umap-learn papermill pytest nbval"
    assert set(asked_for.split()) <= named


def test_constraints_hold_every_requirement_and_no_host():
    text = (ROOT / "constraints.txt").read_text("utf-8")
    pins = [Requirement(line) for line in text.splitlines()]
    assert not re.search(r"https?:|file:|@|\+cpu|--", text)
    optional = PROJECT["optional-dependencies"].values()
    for requirement in map(Requirement, [*PROJECT["dependencies"], *(line for extra in optional for line in extra)]):
        versions = [str(pin.specifier)[2:] for pin in pins if pin.name == canonicalize_name(requirement.name)]
        assert versions and all(map(requirement.specifier.contains, versions)), requirement


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert PROJECT["version"] == xmr_lab.__version__ == citation["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8").replace("[", "").replace("]", "")
