"""tools/setup.py: what it does before and around pip, without installing anything."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "tools" / "setup.py"
OLD_PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python"))
GOOD = {"version": "3.12.1", "minor": "3.12", "path": "/python", "venv": True, "pip": True}
OLD = GOOD | {"version": "3.9.18", "minor": "3.9", "path": "/old"}


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, in a folder whose name needs care; all it runs is kept and seems to work."""
    root = tmp_path / "mein Übungsheft"
    (root / "tools").mkdir(parents=True)
    (root / "requirements.txt").write_text("numpy==2.4.6\n")
    (root / "pyproject.toml").write_text("[project]\n")
    path = shutil.copy(SCRIPT, root / "tools")
    spec = importlib.util.spec_from_file_location("setup_script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.calls, module.root, module.real_run = [], root, module.run

    def run(command):
        module.calls.append(command)
        if command[2] == "venv":
            make_venv(module)

    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "probe", lambda path: GOOD)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100e9))
    return module


def make_venv(script, home=""):
    """Lay out what makes a folder an environment for the script."""
    Path(script.PYTHON).parent.mkdir(parents=True, exist_ok=True)
    Path(script.PYTHON).touch()
    config = f"version = 3.12.1\ncommand = python3 -m venv {home or script.VENV}\n"
    Path(script.CONFIG).write_text(config, encoding="utf-8")


def let_pip(script, code):
    """Let a few lines of Python stand in for all that the script runs."""
    (script.root / "fake.py").write_text(code)
    script.run = lambda command: script.real_run([sys.executable, "fake.py", "pip"])


def failure(script):
    """Return the one line with which the script ends."""
    with pytest.raises(SystemExit) as end:
        script.main()
    assert "\n" not in end.value.code
    assert not script.is_up_to_date()
    return end.value.code


def test_parses_on_old_pythons():
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("python", OLD_PYTHONS, ids=str)
def test_old_python_gets_one_line(script, python):
    command = [python, script.root / "tools" / "setup.py"]
    result = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""})
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("kerasaid needs one of Python 3.11, 3.12, 3.13, and this is 3.")
    assert not Path(script.VENV).exists()


@pytest.mark.parametrize(
    ("on_path", "said"),
    [
        ({"python3.11": None}, "kerasaid needs one of Python"),  # it does not run
        ({"python3.12": GOOD | {"venv": False}}, "on Debian: sudo apt install python3.12-venv"),
        ({"python3.13": None, "python3.12": GOOD, "python3.11": OLD}, ""),
        ({"python3.13": GOOD | {"venv": False}, "python3.11": GOOD}, ""),
    ],
)
def test_an_old_python_looks_for_a_newer_one(script, monkeypatch, on_path, said):
    monkeypatch.setattr(shutil, "which", lambda name: name if name in on_path else None)
    monkeypatch.setattr(script, "probe", lambda path: on_path.get(path, OLD))
    if said:
        assert said in failure(script)
    else:
        script.main()
        assert script.calls[0] == ["/python", "-m", "venv", script.VENV]


def test_a_new_environment_then_nothing(script, monkeypatch, capsys):
    script.main()
    venv, lock, package = script.calls
    assert venv == ["/python", "-m", "venv", script.VENV]
    assert lock[-4:] == ["--only-binary", ":all:", "-r", "requirements.txt"]
    assert package[-4:] == ["--no-deps", "--no-build-isolation", "-e", "."]
    assert capsys.readouterr().out.startswith("making .venv with Python 3.12.1: a few minutes")
    monkeypatch.setattr(script, "probe", lambda path: pytest.fail("asked a Python"))
    script.main()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", ["requirements.txt", "pyproject.toml", ".venv/pyvenv.cfg", ".venv/.kerasaid-setup"]
)
def test_changes_are_installed(script, capsys, name):
    script.main()
    (script.root / name).write_text("version = 3.12.2\n")
    script.main()
    assert [command[0] for command in script.calls[3:]] == [script.PYTHON] * 2
    assert "\nbringing .venv up to date\n" in capsys.readouterr().out
    assert script.is_up_to_date()


@pytest.mark.parametrize(
    ("home", "found", "reason"),
    [
        ("/elsewhere/.venv", GOOD, "it was made in another folder"),
        ("", None, "its Python does not work"),
        ("", OLD, "its Python is 3.9.18"),
        ("", GOOD | {"pip": False}, "it has no pip"),
    ],
)
def test_broken_environments_are_remade(script, monkeypatch, capsys, home, found, reason):
    script.main()
    make_venv(script, home)
    if not home:  # for a moved one, the stamp alone says nothing
        (Path(script.STAMP) if found else Path(script.PYTHON)).unlink()
    Path(script.VENV, "leftover").mkdir()
    monkeypatch.setattr(script, "probe", lambda path: found if path == script.PYTHON else GOOD)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1.26e9))
    assert "no room for .venv: it needs 3.5 GB in" in failure(script)
    assert os.listdir(script.VENV) == ["pyvenv.cfg"]  # so the next call knows it as ours
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4e9))
    script.main()
    assert f"remaking .venv ({reason}) with Python 3.12.1: " in capsys.readouterr().out
    assert script.calls[3] == ["/python", "-m", "venv", script.VENV]


@pytest.mark.parametrize("name", ["thesis.txt", ""])
def test_what_is_not_ours_is_left_alone(script, name):
    precious = Path(script.VENV, name)
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("precious")
    assert "is not a virtual environment; move it away" in failure(script)
    assert precious.read_text() == "precious"


def test_half_installed_packages_are_installed_anew(script):
    make_venv(script)
    library = Path(script.VENV, "lib", "python3.12", "site-packages")
    for name in ("half.dist-info", "whole.dist-info"):
        (library / name).mkdir(parents=True)
    (library / "whole.dist-info" / "INSTALLER").touch()
    script.main()
    assert os.listdir(library) == ["whole.dist-info"]


def test_a_failing_update_is_one_line_and_in_the_log(script, monkeypatch):
    script.main()
    (script.root / "requirements.txt").write_text("numpy==2.4.7\n")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    let_pip(script, "import os; print(os.environ, '\\nERROR: it is rare'); raise SystemExit(3)")
    assert failure(script) == "pip failed: it is rare; all of its output is in .venv/setup.log"
    log = Path(script.LOG).read_text(encoding="utf-8")
    assert log.endswith("\nERROR: it is rare\n")
    assert "'PIP_USER': '0'" in log and f"'TMPDIR': {script.TEMPORARY!r}" in log
    assert "PYTHONPATH" not in log
    assert not Path(script.TEMPORARY).exists()
    (script.root / "requirements.txt").write_text("numpy==2.4.6\n")
    assert not script.is_up_to_date()


def test_ctrl_c_waits_for_pip_and_is_one_line(script, monkeypatch, capsys):
    make_venv(script)
    let_pip(script, "import time; print('Collecting a==1'); time.sleep(0.3); open('end', 'w')")
    monkeypatch.setattr(script, "show", Mock(side_effect=[KeyboardInterrupt, None]))
    with pytest.raises(SystemExit, match="130"):
        script.main()
    assert capsys.readouterr().err == "stopped; the next call goes on from here\n"
    assert (script.root / "end").exists()


RETRYING = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError()'\n"
NONE = "ERROR: (from versions: none)\nERROR: No matching distribution found for six==1"
TRACEBACK = "ERROR: Exception:\nTraceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (RETRYING + NONE, "the package index could not be reached or has no wheel of six==1 for "),
        (NONE.replace("none", "1.0"), "the package index has no wheel of six==1 for "),
        (TRACEBACK + "ReadTimeoutError: Read timed out.", "the package index could not be reached"),
        ("ERROR: an OSError: [Errno 28] No space left on device", "no space is left on the device"),
        (RETRYING + "ERROR: first\nERROR: Hashes differ\n\n[notice] new", "Hashes differ"),
        (TRACEBACK + "ValueError: why\n", "ValueError: why"),
        ("", "it said nothing"),
    ],
)
def test_failures_are_explained(script, output, said):
    assert script.explain(output.split("\n")).startswith(said)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_terminals(script, monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 24)))
    os.mkdir(script.VENV)
    said = (
        "Collecting absl-py==2.5.1 (from -r requirements.txt (line 1))\n"
        "Processing /a b/six-1.17.0-py2.py3-none-any.whl (from -r requirements.txt (line 3))\n"
        "Requirement already satisfied: six>=0.2 in /a b/.venv (from wheel->-r requirements.txt)\n"
        "Installing collected packages: absl-py, six"
    )
    let_pip(script, f"print({said!r})")
    script.run([])
    shown = ["collecting 1 absl-p", "collecting 2 six", "collecting 2 six", "installing", ""]
    shown = "".join(f"\r{part:19}\r" for part in shown if terminal)
    assert capsys.readouterr().out == shown
