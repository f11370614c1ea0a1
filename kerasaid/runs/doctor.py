"""What this machine has, what would fail, and how to mend it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from kerasaid import datasets, environment
from kerasaid.environment import ROOT

_MEMORY_GB = 3  # a notebook peaks below 2 GiB; the system and a browser need the rest


def doctor(say=print):
    """Print one line for each thing that is needed; return whether all of them are there."""
    results = []
    for check in (_python, _packages, _data, _kernel, _backend, _folder, _memory, _disk):
        try:
            good, line, mend = check()
        except Exception as error:  # a doctor does not faint
            good, line, mend = False, f"{check.__name__[1:]}: {error}", "see the README"
        results.append((good, line, mend))
        say(f"{'✓' if good else '✗'} {line}" + (f"; {mend}" if mend and not good else ""))
    missing = sum(not good for good, _, _ in results)
    say("everything is here" if not missing else f"{missing} of {len(results)} need mending")
    return missing == 0


def _python():
    found = sys.version_info[:2]
    python, threads = sys.version.split()[0], environment.usable_threads()
    line = f"Python {python} on {sys.platform}, {threads} thread{'s' * (threads != 1)}"
    return (3, 11) <= found <= (3, 13), line, "install Python 3.11, 3.12 or 3.13"


def _packages():
    """Compare the installed versions of the direct dependencies with the lock."""
    wrong = []
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE))
    for name in ("keras", "tensorflow", "numpy", "scikit-learn", "matplotlib", "jupyterlab",
                 "ipykernel", "papermill", "nbconvert", "nbval"):  # fmt: skip
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found != pins.get(name):
            wrong.append(f"{name} {found} (lock: {pins.get(name)})")
    line = "packages as locked" if not wrong else f"packages differ: {', '.join(wrong)}"
    return not wrong, line, "run: make setup"


def _data():
    try:
        for name in datasets.manifest():
            datasets.read_shipped(name)
    except (ValueError, OSError) as error:
        return False, str(error), ""
    return True, "data as in its manifest", ""


def _kernel():
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return False, "no Jupyter kernel named python3", "run: make setup"
    own = shutil.which(command) is not None and (
        not Path(command).is_absolute()
        or os.path.realpath(Path(command).parent) == os.path.realpath(Path(sys.executable).parent)
    )
    mend = f"it starts {command}; start Jupyter from this environment: make lab"
    return own, "the kernel python3 is this environment's", mend


def _backend():
    code = "import kerasaid, keras; print(keras.backend.backend(), float(keras.ops.ones(())))"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
        )
    except subprocess.TimeoutExpired:
        return False, "Keras did not start within 5 minutes", "is the machine very busy?"
    if answer.returncode < 0:  # it was killed: what it said last, without kerasaid holding it back
        command = [sys.executable, "-c", "import tensorflow"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        backend = environment.describe()["backend"]
        return False, f"Keras does not start on {backend} ({last})", "run: make setup"
    return True, f"Keras starts on {answer.stdout.split()[0]}", ""


def _folder():
    folder = ROOT / "reports"
    existing = folder if folder.exists() else ROOT
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return False, f"{existing} cannot be written ({error.strerror})", "use --out DIR"
    return True, "reports/ can be written", ""


def _memory():
    free = psutil.virtual_memory().available / 1e9
    line = f"{free:.1f} GB of memory free"
    return free >= _MEMORY_GB, line, f"about {_MEMORY_GB} GB are needed: close other programs"


def _disk():
    free = shutil.disk_usage(ROOT).free / 1e9
    return free >= 0.5, f"{free:.1f} GB of disk free", "0.5 GB are needed for reports"
