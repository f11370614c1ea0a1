"""Start a notebook: seeds, a quiet log, and what it runs on."""

import json
import logging
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def setup(seed=0):
    """Seed every generator, set the look of figures, and print the versions in use.

    Example:

    >>> import kerasaid
    >>> kerasaid.setup(seed=0)  # doctest: +ELLIPSIS
    Python ...

    Args:
        seed: a whole number from 0 to 4,294,967,295; it seeds Python, NumPy and the backend.

    Reference: `keras.utils.set_random_seed`.
    """
    import keras

    from kerasaid import plots
    from kerasaid.results import show

    keras.utils.set_random_seed(seed)
    # TensorFlow's advice on retracing appears whenever several small models are trained.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    plots.use_style()
    found = {**describe(), "backend": keras.backend.backend()}
    backend, threads = found["backend"], found["threads"]
    lines = [
        f"Python {found['python']}, Keras {found['keras']}, "
        f"{backend} {_version(backend)}, NumPy {found['numpy']}",
        f"{found['cpu']}, {threads} thread{'s' * (threads != 1)}, seed {seed}",
    ]
    show("\n".join(lines), {"environment": found})


def describe():
    """Return what a result depends on: versions, processor, threads, commit.

    Nothing is imported for it, so the command line can call it quickly.

    Returns:
        A dict with the keys python, keras, backend, tensorflow, numpy, cpu, threads, commit;
        a value is None where it cannot be known.
    """
    return {
        "python": platform.python_version(),
        "keras": _version("keras"),
        "backend": _configured_backend(),
        "tensorflow": _version("tensorflow"),
        "numpy": _version("numpy"),
        "cpu": _cpu(),
        "threads": usable_threads(),
        "commit": _commit(),
    }


def usable_threads():
    """Return how many processors this process may use, and TensorFlow where it is limited."""
    affinity = getattr(os, "sched_getaffinity", None)
    threads = len(affinity(0)) if affinity else os.cpu_count()
    limit = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return min(threads, int(limit)) if limit.isdigit() and int(limit) else threads


def _version(distribution):
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _configured_backend():
    """Return the backend that Keras would choose: environment first, then its own file."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return json.loads((home / "keras.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError):
        return "tensorflow"


def _cpu():
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _commit():
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or not a checkout
    return answer.stdout.strip()
