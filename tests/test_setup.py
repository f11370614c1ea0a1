"""tools/setup.py: what it does before and around pip, without installing anything."""

import ast
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "tools" / "setup.py"
GOOD = {
    "version": "3.12.1",
    "executable": "python3.12",
    "implementation": "CPython",
    "bits": 64,
    "free_threaded": False,
    "venv": True,
    "pip": True,
}
OLD = GOOD | {"version": "3.9.18", "executable": "/usr/bin/python3.9"}


def find_old_pythons():
    """Return the Pythons on this machine, 3.6 or newer, that kerasaid does not support."""
    candidates = [shutil.which(f"python3.{minor}") for minor in range(6, 11)]
    candidates += sorted((Path.home() / ".pyenv" / "versions").glob("3.[6-9].*/bin/python"))
    found = {}
    for path in filter(None, candidates):
        command = [str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode == 0:
            found.setdefault(result.stdout.strip(), str(path))
    return found


OLD_PYTHONS = find_old_pythons()


@pytest.fixture
def project(tmp_path):
    """A project with the script in it, in a folder whose name needs care."""
    root = tmp_path / "mein Übungsheft"
    (root / "tools").mkdir(parents=True)
    shutil.copy(SCRIPT, root / "tools")
    (root / "requirements.txt").write_text("numpy==2.4.6\nsix==1.17.0\n", encoding="utf-8")
    (root / "pyproject.toml").write_text("[project]\nname = 'kerasaid'\n", encoding="utf-8")
    return root


@pytest.fixture
def script(project, monkeypatch):
    """The script as a module, for which this is a good Python with enough disk."""
    spec = importlib.util.spec_from_file_location("setup_script", project / "tools" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "describe", lambda: dict(GOOD))
    monkeypatch.setattr(module, "ask", lambda command: dict(GOOD))
    give_disk(monkeypatch, 100)
    return module


@pytest.fixture
def calls(script, monkeypatch):
    """The commands that the script runs; they work, and nothing is installed."""
    commands = []

    def run(call, command):
        commands.append(command)
        if command[2] == "venv":
            make_venv(script)
        return 0

    monkeypatch.setattr(script.Call, "run", run)
    return commands


def give_disk(monkeypatch, gigabytes):
    """Let the disk have so much room."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, gigabytes * 1e9))


def make_venv(script, *, home=None, version="3.12.1"):
    """Lay out what makes a folder an environment for the script."""
    python = Path(script.venv_python())
    python.parent.mkdir(parents=True, exist_ok=True)
    python.touch()
    command = f"python3 -m venv {home or script.VENV}"
    config = f"home = bin\nversion = {version}\ncommand = {command}\n"
    Path(script.VENV, "pyvenv.cfg").write_text(config, encoding="utf-8")


def make_ready(script):
    """Let .venv be up to date."""
    make_venv(script)
    script.write_stamp()


def one_line(capsys):
    """Return the one line on standard error."""
    error = capsys.readouterr().err
    assert error.endswith("\n")
    assert error.count("\n") == 1, error
    return error.strip()


# --- Which Python ------------------------------------------------------------------------------


def test_parses_on_old_pythons():
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_describes_the_running_python():
    command = [sys.executable, SCRIPT, "--describe"]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert said.keys() == GOOD.keys()
    assert said["version"] == "{}.{}.{}".format(*sys.version_info[:3])
    assert said["bits"] == 64
    assert said["venv"] is True


@pytest.mark.parametrize("version", OLD_PYTHONS or [pytest.param("", marks=pytest.mark.skip)])
def test_old_python_gets_one_line(project, version):
    python = Path(OLD_PYTHONS[version])
    result = subprocess.run(
        [python, project / "tools" / "setup.py"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(project)},
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(
        f"kerasaid needs Python 3.11, 3.12 or 3.13, and this is {version}."
    )
    assert result.stderr.count("\n") == 1
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({"version": "3.9.18"}, "3.9.18 (python3.12)"),
        ({"version": "3.10.13"}, "3.10.13 (python3.12)"),
        ({"version": "3.14.0"}, "3.14.0 (python3.12)"),
        ({"implementation": "PyPy"}, "3.12.1, PyPy (python3.12)"),
        ({"bits": 32}, "3.12.1, 32-bit (python3.12)"),
        ({"free_threaded": True}, "3.12.1, free-threaded (python3.12)"),
    ],
)
def test_other_pythons_are_refused(script, calls, monkeypatch, capsys, change, title):
    monkeypatch.setattr(script, "describe", lambda: GOOD | change)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert script.main() == 1
    line = one_line(capsys)
    assert f"kerasaid needs Python 3.11, 3.12 or 3.13, and this is {title}; install" in line
    assert "make setup PYTHON=" in line
    assert calls == []
    assert not Path(script.VENV).exists()


@pytest.mark.parametrize("version", ["3.11.0", "3.12.1", "3.13.9"])
def test_a_supported_python_is_taken(script, calls, monkeypatch, version):
    here = GOOD | {"version": version, "executable": "this one"}
    monkeypatch.setattr(script, "describe", lambda: here)
    assert script.main() == 0
    assert calls[0] == ["this one", "-m", "venv", script.VENV]


def test_an_old_python_finds_a_newer_one(script, monkeypatch):
    monkeypatch.setattr(script, "WINDOWS", False)
    monkeypatch.setattr(script, "describe", lambda: OLD)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    answers = {
        "/bin/python3.13": None,  # as that of a version manager that has no such version
        "/bin/python3.12": GOOD | {"executable": "/bin/python3.12"},
        "/bin/python3.11": GOOD | {"executable": "/bin/python3.11"},
    }
    monkeypatch.setattr(script, "ask", lambda command: answers[command[0]])
    assert script.choose_python()["executable"] == "/bin/python3.12"


def test_windows_asks_its_launcher(script, monkeypatch):
    monkeypatch.setattr(script, "WINDOWS", True)
    monkeypatch.setattr(script, "describe", lambda: OLD)
    monkeypatch.setattr(shutil, "which", {"py": "py.exe"}.get)
    asked = []

    def ask(command):
        asked.append(command)
        return dict(GOOD) if command[1] == "-3.11" else None

    monkeypatch.setattr(script, "ask", ask)
    assert script.choose_python() == GOOD
    assert asked == [["py.exe", "-3.13"], ["py.exe", "-3.12"], ["py.exe", "-3.11"]]


@pytest.mark.parametrize("debian", [True, False])
def test_python_without_venv(script, calls, monkeypatch, capsys, tmp_path, debian):
    monkeypatch.setattr(script, "describe", lambda: GOOD | {"venv": False})
    monkeypatch.setattr(script, "DEBIAN", str(tmp_path if debian else tmp_path / "none"))
    assert script.main() == 1
    line = one_line(capsys)
    assert "cannot make virtual environments" in line
    assert ("sudo apt install python3.12-venv" in line) == debian
    assert calls == []


# --- What is there -----------------------------------------------------------------------------


def test_up_to_date_does_nothing(script, calls, monkeypatch, capsys):
    make_ready(script)
    monkeypatch.setattr(script, "describe", lambda: OLD)  # even this Python will do then
    monkeypatch.setattr(script, "ask", lambda command: pytest.fail("asked another Python"))
    started = time.perf_counter()
    assert script.main() == 0
    assert time.perf_counter() - started < 0.1
    assert capsys.readouterr() == ("", "")
    assert calls == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("requirements.txt", "numpy==2.4.7\nsix==1.17.0\n"),
        ("pyproject.toml", "[project]\nname = 'kerasaid'\nversion = '2'\n"),
        (".venv/pyvenv.cfg", "version = 3.12.2\n"),
        (".venv/.kerasaid-setup", None),
        (".venv/.kerasaid-setup", ""),
    ],
)
def test_changes_are_installed(script, calls, project, capsys, name, content):
    make_ready(script)
    if content is None:
        (project / name).unlink()
    else:
        (project / name).write_text(content, encoding="utf-8")
    assert script.main() == 0
    assert [command[0] for command in calls] == [script.venv_python()] * 2
    assert "bringing .venv up to date" in capsys.readouterr().out
    assert script.main() == 0  # and now it is up to date
    assert capsys.readouterr() == ("", "")
    assert len(calls) == 2


def test_line_ends_do_not_matter(script, project):
    make_ready(script)
    lock = project / "requirements.txt"
    lock.write_bytes(lock.read_bytes().replace(b"\n", b"\r\n"))
    assert script.is_up_to_date()


def break_by_moving(script, monkeypatch):
    make_venv(script, home=script.ROOT + " before/.venv")


def break_python(script, monkeypatch):
    Path(script.venv_python()).unlink()
    monkeypatch.setattr(script, "ask", lambda command: None)


def break_version(script, monkeypatch):
    Path(script.STAMP).unlink()
    monkeypatch.setattr(script, "ask", lambda command: OLD)


def break_pip(script, monkeypatch):
    Path(script.STAMP).unlink()
    monkeypatch.setattr(script, "ask", lambda command: GOOD | {"pip": False})


def break_config(script, monkeypatch):
    Path(script.VENV, "pyvenv.cfg").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_by_moving, "it was made in another folder"),
        (break_python, "its Python does not work"),
        (break_version, "its Python is 3.9.18"),
        (break_pip, "it has no pip"),
        (break_config, "it is not whole"),
    ],
)
def test_broken_environments_are_remade(script, calls, monkeypatch, capsys, damage, reason):
    make_ready(script)
    damage(script, monkeypatch)
    assert script.main() == 0
    assert f"remaking .venv: {reason}\n" in capsys.readouterr().out
    assert calls[0] == ["python3.12", "-m", "venv", "--clear", script.VENV]


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m venv {}",
        "python3 -m venv --clear --upgrade-deps {}",
        'python3 -m venv --prompt="my prompt" {}',
        "",
    ],
)
def test_environments_where_they_were_made_are_kept(script, command):
    os.mkdir(script.VENV)
    assert not script.was_moved({"command": command.format(script.VENV)})
    if command:
        assert script.was_moved({"command": command.format(script.ROOT)})


def test_other_folders_are_left_alone(script, calls, capsys):
    precious = Path(script.VENV, "thesis.txt")
    precious.parent.mkdir()
    precious.write_text("precious", encoding="utf-8")
    assert script.main() == 1
    assert "is not a virtual environment; move it away" in one_line(capsys)
    assert precious.read_text(encoding="utf-8") == "precious"
    assert calls == []


def test_no_disk(script, calls, monkeypatch, capsys):
    give_disk(monkeypatch, 1.26)
    assert script.main() == 1
    line = one_line(capsys)
    assert line.startswith("no room for .venv: it needs about 3.5 GB in ")
    assert line.endswith(", and 1.3 GB is free")
    assert calls == []
    assert not Path(script.VENV).exists()


def test_disk_for_the_rest(script, calls, monkeypatch, capsys):
    make_venv(script)
    give_disk(monkeypatch, 1)
    monkeypatch.setattr(script, "size_of", lambda folder: 0.7e9)
    assert script.main() == 1
    assert "it needs about 2.6 GB more in " in one_line(capsys)
    monkeypatch.setattr(script, "size_of", lambda folder: 2.7e9)
    assert script.main() == 0
    assert len(calls) == 2


# --- Making it ---------------------------------------------------------------------------------


def test_a_new_environment(script, calls, capsys):
    assert script.main() == 0
    assert [command[2] for command in calls] == ["venv", "pip", "pip"]
    lock, package = calls[1:]
    assert lock[0] == package[0] == script.venv_python()
    assert lock[-2:] == ["-r", "requirements.txt"]
    assert package[-4:] == ["--no-deps", "--no-build-isolation", "-e", "."]
    for command in calls[1:]:
        assert "--no-input" in command
        assert "--disable-pip-version-check" in command
        assert not any("index" in part for part in command)
    output = capsys.readouterr().out.splitlines()
    assert len(output) == 2
    expected = "making .venv with Python 3.12.1: up to 2 packages, a few minutes, once"
    assert output[0] == expected
    assert output[1].startswith(".venv is ready: ")
    assert script.is_up_to_date()
    assert not Path(script.VENV, "tmp").exists()


def test_half_installed_packages_are_installed_anew(script, calls):
    make_venv(script)
    library = ["Lib"] if script.WINDOWS else ["lib", "python3.12"]
    for name in ("whole-1.0", "half-1.0"):
        folder = Path(script.VENV, *library, "site-packages", f"{name}.dist-info")
        folder.mkdir(parents=True)
        (folder / "METADATA").touch()
    (folder.parent / "whole-1.0.dist-info" / "INSTALLER").touch()
    assert script.main() == 0
    assert os.listdir(folder.parent) == ["whole-1.0.dist-info"]


def test_a_failure_is_one_line(script, monkeypatch, capsys):
    make_venv(script)

    def run(call, command):
        call.keep("ERROR: something rare")
        return 2

    monkeypatch.setattr(script.Call, "run", run)
    assert script.main() == 1
    where = os.path.join(".venv", "setup.log")
    assert one_line(capsys) == f"pip failed: something rare; all of its output is in {where}"
    assert Path(script.LOG).read_text(encoding="utf-8") == "ERROR: something rare\n"
    assert not Path(script.STAMP).exists()
    assert not Path(script.VENV, "tmp").exists()


def test_a_failing_update_is_not_taken_for_done(script, project, monkeypatch, capsys):
    make_ready(script)
    (project / "requirements.txt").write_text("numpy==2.4.7\n", encoding="utf-8")
    monkeypatch.setattr(script.Call, "run", lambda call, command: call.keep("ERROR: no") or 1)
    assert script.main() == 1
    (project / "requirements.txt").write_text("numpy==2.4.6\nsix==1.17.0\n", encoding="utf-8")
    assert not script.is_up_to_date()


def test_an_unclear_failure_is_looked_into(script, monkeypatch, capsys):
    make_venv(script)
    commands = []

    def run(call, command):
        commands.append(command)
        if "-vv" in command:
            call.keep("Could not fetch URL: connection error: [Errno 111] Connection refused")
        call.keep("ERROR: Could not find a version that satisfies six==1 (from versions: none)")
        call.keep("ERROR: No matching distribution found for six==1")
        return 1

    monkeypatch.setattr(script.Call, "run", run)
    assert script.main() == 1
    assert "no package index could be reached, the connection was refused" in one_line(capsys)
    assert len(commands) == 2
    assert commands[1][-1] == "six==1"
    assert "--dry-run" in commands[1]


def test_ctrl_c_is_one_line(script, monkeypatch, capsys):
    def run(call, command):
        raise KeyboardInterrupt

    monkeypatch.setattr(script.Call, "run", run)
    assert script.main() == 130
    assert one_line(capsys) == "stopped; the next call goes on from here"
    assert not script.is_up_to_date()


def test_files_that_cannot_be_written_are_one_line(script, calls, project, capsys):
    (project / "requirements.txt").unlink()
    assert script.main() == 1
    assert one_line(capsys).startswith("setting up .venv failed: ")


REFUSED = (
    "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after "
    "connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection "
    "object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused')': "
    "/simple/numpy/"
)
NONE_SEEN = (
    "ERROR: Could not find a version that satisfies the requirement numpy==2.4.6 "
    "(from versions: none)\nERROR: No matching distribution found for numpy==2.4.6"
)
OTHERS_SEEN = NONE_SEEN.replace("none)", "1.0, 2.0)")
UNREACHED = "no package index could be reached, "
NO_WHEEL = "the package index has no wheel of numpy==2.4.6 for this platform, "


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (REFUSED + "\n" + NONE_SEEN, UNREACHED + "the connection was refused; check"),
        (
            REFUSED.replace("[Errno 111] Connection refused", "[Errno -3] Temporary failure in "
            "name resolution") + "\n" + NONE_SEEN,
            UNREACHED + "its name could not be looked up; check",
        ),
        (
            REFUSED.replace("[Errno 111] Connection refused", "[Errno 11001] getaddrinfo failed")
            + "\n" + NONE_SEEN,
            UNREACHED + "its name could not be looked up; check",
        ),
        (
            REFUSED.replace("[Errno 111] Connection refused", "[Errno 101] Network is unreachable")
            + "\n" + NONE_SEEN,
            UNREACHED + "there is no network; check",
        ),
        (
            "Could not fetch URL https://host/simple/numpy/: There was a problem confirming the "
            "ssl certificate: ... [SSL: CERTIFICATE_VERIFY_FAILED] - skipping\n" + NONE_SEEN,
            UNREACHED + "its certificate was not accepted; check",
        ),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'ProxyError('Cannot "
            "connect to proxy.', OSError('Tunnel connection failed: 403'))'\n" + NONE_SEEN,
            UNREACHED + "the proxy did not answer; check",
        ),
        (
            "WARNING: The repository located at host is not a trusted or secure host and is being "
            "ignored.\n" + NONE_SEEN,
            UNREACHED + "pip does not trust its host; check",
        ),
        (
            "  Downloading tensorflow.whl (620.8 MB)\nERROR: Exception:\nTraceback (most recent "
            "call last):\npip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool("
            "host='host', port=443): Read timed out.",
            UNREACHED + "it did not answer in time; check",
        ),
        (
            "ERROR: Could not install packages due to an OSError: HTTPSConnectionPool(host='host'"
            ", port=443): Max retries exceeded with url: /numpy.whl",
            UNREACHED + "the connection failed; check",
        ),
        (NONE_SEEN, NO_WHEEL),
        (OTHERS_SEEN, NO_WHEEL),
        (REFUSED + "\n" + OTHERS_SEEN, NO_WHEEL),
        (
            "ERROR: numpy-2.4.6-cp312-cp312-win_amd64.whl is not a supported wheel on this "
            "platform.",
            "the package index has no wheel of numpy-2.4.6-cp312-cp312-win_amd64.whl for",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on "
            "device",
            "no space is left on the device; make room and call this again",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [WinError 112] There is not "
            "enough space on the disk",
            "no space is left on the device; make room and call this again",
        ),
        (REFUSED + "\nERROR: first\nERROR: Hashes differ\n\n[notice] new pip", "Hashes differ"),
        ("error: externally-managed-environment\n\nhint: see", "externally-managed-environment"),
        ("Traceback (most recent call last):\nValueError: why\n", "ValueError: why"),
        ("$ python -m pip install", "it said nothing"),
        ("", "it said nothing"),
    ],
)  # fmt: skip
def test_failures_are_explained(script, output, said):
    explained = script.explain(output.split("\n"))
    assert explained.startswith(said)
    assert "\n" not in explained


# --- Running and showing -----------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


PIP_SAYS = """\
Ignoring colorama: markers 'sys_platform == "win32"' don't match your environment
Collecting absl-py==2.5.1 (from -r requirements.txt (line 1))
  Using cached absl_py-2.5.1-py3-none-any.whl (135 kB)
Processing /some where/six-1.17.0-py2.py3-none-any.whl (from -r requirements.txt (line 3))
Requirement already satisfied: wheel==0.48.0 in /some where/.venv (from -r requirements.txt) (0.48)
Requirement already satisfied: wheel>=0.2 in /some where/.venv (from six->-r requirements.txt) (1)
Collecting tensorflow==2.21.0 (from -r requirements.txt (line 4))
  Downloading https://host/a/tensorflow-2.21.0-cp311-cp311-win_amd64.whl (351.2 MB)
Installing collected packages: absl-py, six, tensorflow
Successfully installed absl-py-2.5.1 six-1.17.0 tensorflow-2.21.0"""


def test_progress_on_a_terminal(script):
    terminal = Terminal()
    progress = script.Progress(5, terminal)
    for line in PIP_SAYS.splitlines():
        progress.feed(line)
    progress.say("done")
    output = terminal.getvalue()
    assert output.count("\n") == 1
    assert output.endswith("\rdone\n")
    drawn = [line.strip() for line in output.split("\r")]
    for expected in (
        "collecting 1/4 absl-py (135 kB) 0:00",
        "collecting 2/4 six 0:00",
        "collecting 3/4 wheel 0:00",
        "collecting 4/4 tensorflow (351.2 MB) 0:00",
        "installing 0/3 0:00",
    ):
        assert expected in drawn
    assert len(progress.collected) == 4


def test_progress_fits_and_leaves_nothing_behind(script, monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((40, 24)))
    terminal = Terminal()
    progress = script.Progress(5, terminal)
    for line in PIP_SAYS.splitlines():
        progress.feed(line)
    progress.clear()
    screens = [""]
    for part in terminal.getvalue().split("\r")[1:]:
        assert len(part) < 40
        screens.append(part + screens[-1][len(part) :])
    assert max(map(len, screens)) == 39
    # Nothing of a longer line stays at the end of a shorter one.
    assert "installing 0/3 0:00" in [screen.strip() for screen in screens]
    assert screens[-1].strip() == ""


def test_no_progress_elsewhere(script):
    stream = io.StringIO()
    progress = script.Progress(5, stream)
    for line in PIP_SAYS.splitlines():
        progress.feed(line)
    assert stream.getvalue() == ""


def test_calls_are_logged(script):
    os.mkdir(script.VENV)
    call = script.Call(script.Progress(1, io.StringIO()))
    code = "import os, sys; print('Collecting é'); print(os.getcwd(), file=sys.stderr); sys.exit(3)"
    assert call.run([sys.executable, "-c", code]) == 3
    assert call.output[0].startswith("$ ")
    assert sorted(call.output[1:]) == sorted(["Collecting é", script.ROOT])
    logged = Path(script.LOG).read_text(encoding="utf-8")
    assert logged.splitlines() == call.output


def test_calls_go_on_where_the_log_cannot_be_written(script):
    call = script.Call(script.Progress(1, io.StringIO()))  # there is no .venv
    assert call.run([sys.executable, "-c", "print('all is well')"]) == 0
    assert call.output[-1] == "all is well"


def test_calls_end_with_the_script(script, monkeypatch):
    progress = script.Progress(1, io.StringIO())
    started = []
    popen = subprocess.Popen

    def keep(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    def interrupt(line):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", keep)
    monkeypatch.setattr(progress, "feed", interrupt)
    code = "import time; print('here', flush=True); time.sleep(1)"
    with pytest.raises(KeyboardInterrupt):
        script.Call(progress).run([sys.executable, "-c", code])
    assert started[0].poll() is not None


def test_calls_do_not_inherit_what_misleads_pip(script, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "kept")
    environment = script.environment()
    assert "PYTHONPATH" not in environment
    assert environment["PIP_USER"] == "0"
    assert environment["PIP_INDEX_URL"] == "kept"
