"""Make .venv from the lock, requirements.txt, and install kerasaid into it, editable.

    make setup                  # or, where there is no make: python tools/setup.py

It does nothing when .venv is up to date, makes it where it is missing or broken, and continues
where a call before was stopped. Where packages come from is up to pip's own configuration; what
pip says goes to .venv/setup.log. This file runs on Python 3.6 too: an old Python then gets a clear
line, not a traceback, and can look for a newer one.
"""

import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time

SUPPORTED = ("3.11", "3.12", "3.13")
NEEDED = 3.5  # GB: what .venv holds in the end, and the wheels while pip has them at hand

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, *(["Scripts", "python.exe"] if os.name == "nt" else ["bin", "python"]))
CONFIG = os.path.join(VENV, "pyvenv.cfg")
LOG = os.path.join(VENV, "setup.log")
STAMP = os.path.join(VENV, ".kerasaid-setup")
TEMPORARY = os.path.join(VENV, "tmp")

PROBE = """
import json, sys
from importlib.util import find_spec
print(json.dumps({
    "minor": "%d.%d" % sys.version_info[:2],
    "version": "%d.%d.%d" % sys.version_info[:3],
    "path": getattr(sys, "_base_executable", None) or sys.executable,  # not one inside .venv
    "venv": bool(find_spec("venv") and find_spec("ensurepip")),
    "pip": bool(find_spec("pip")),
}))
"""


def probe(path):
    """Return what a Python says of itself, or None where it does not run."""
    try:
        options = {"stderr": subprocess.DEVNULL, "timeout": 30}
        return json.loads(subprocess.check_output([path, "-I", "-c", PROBE], **options).decode())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def choose_python():
    """Return what `probe` says of the Python to make .venv with: this one, or one on PATH."""
    incomplete = None
    for path in [sys.executable, *(shutil.which("python" + v) for v in reversed(SUPPORTED))]:
        python = path and probe(path)
        if python and python["minor"] in SUPPORTED:
            if python["venv"]:
                return python
            incomplete = incomplete or python
    if incomplete:
        text = "{path} lacks venv or ensurepip; on Debian: sudo apt install python{minor}-venv"
        sys.exit(text.format(**incomplete))
    needed, here = ", ".join(SUPPORTED), f"{platform.python_version()} ({sys.executable})"
    sys.exit(
        f"kerasaid needs one of Python {needed}, and this is {here}; install one, or name it: "
        "make setup PYTHON=/path/to/python3.12"
    )


def read_config(key):
    """Return a setting in .venv/pyvenv.cfg, "" where there is none."""
    try:
        with open(CONFIG, encoding="utf-8", errors="replace") as file:
            found = re.search(rf"^{key} *= *(.*)$", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1) if found else ""


def was_moved():
    """Tell whether .venv was made in another folder: its scripts then call a Python there."""
    command = read_config("command")  # only Python's own venv writes this down
    return command != "" and not command.endswith(" " + VENV)


def make_stamp():
    """Return what the stamp has to say: a hash of the lock, pyproject.toml and the Python."""
    parts = [read_config("version").encode()]
    for name in ("requirements.txt", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            parts.append(file.read())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_up_to_date():
    """Tell whether a call before has installed everything, and nothing has changed since."""
    try:
        with open(STAMP, "rb") as file:
            stamp = file.read()
    except OSError:
        return False
    # A link to a Python that is gone does not exist, either.
    return stamp == make_stamp().encode() and not was_moved() and os.path.exists(PYTHON)


def find_fault():
    """Return why .venv cannot stay as it is; nothing where it can, or where there is none."""
    if not os.path.lexists(VENV) or (os.path.isdir(VENV) and not os.listdir(VENV)):
        return ""
    if not os.path.exists(CONFIG):
        sys.exit(f"{VENV} is there, but is not a virtual environment; move it away")
    if was_moved():
        return "it was made in another folder"
    python = probe(PYTHON)
    if not python:
        return "its Python does not work"
    if python["minor"] not in SUPPORTED:
        return "its Python is {version}".format(**python)
    return "" if python["pip"] else "it has no pip"


# A package that pip is at; for a wheel it says no more than the file's path.
STEP = re.compile(r"(?:Collecting |Requirement \w+ \w+: |Processing .*/)([\w.-]+?)(?=-\d|[=<>! ])")


def show(text):
    """Rewrite the progress line, where there is a terminal."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write("\r" + text[:width].ljust(width) + "\r")
        sys.stdout.flush()


def run(command):
    """Run a command, log what it says and show how far it is; end with one line if it fails."""
    env = dict(os.environ, TMPDIR=TEMPORARY, PIP_USER="0", PYTHONUNBUFFERED="1")
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
        env.pop(name, None)
    lines, collected = [], set()
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        with open(LOG, "ab", buffering=0) as log:
            log.write("$ {}\n".format(" ".join(command)).encode("utf-8", "replace"))
            for line in process.stdout:
                log.write(line)
                lines.append(line.decode("utf-8", "replace").rstrip())
                step = STEP.match(lines[-1])
                if step:
                    name = step.group(1).replace("_", "-").lower()
                    collected.add(name)
                    show(f"collecting {len(collected)} {name}")
                elif lines[-1].startswith("Installing "):
                    show("installing")
        status = process.wait()
    finally:
        show("")
        try:
            process.wait(5)  # Ctrl-C has reached it too: let it clear up
        except subprocess.TimeoutExpired:
            process.kill()
    if status:
        sys.exit(f"{command[2]} failed: {explain(lines)}; all of its output is in .venv/setup.log")


def explain(lines):
    """Return in one line why a command failed, from the lines that it wrote."""
    text = "\n".join(lines)
    if re.search(r"No space left|Errno 28\b|not enough space|quota exceeded", text):
        return "no space is left on the device; make room and call this again"
    errors = [line[len("ERROR: ") :] for line in lines if line.startswith("ERROR: ")]
    if not errors or "Exception:" in errors:  # a traceback follows, and ends with what matters
        errors = [line for line in lines if line.strip()] or ["it said nothing"]
    last = errors[-1]
    if re.search(r"Connection|Max retries|timed out|(SSL|Proxy|Protocol)Error", last):
        return "the package index could not be reached; check the network and pip's configuration"
    unfit = re.search(r"No matching distribution found for (\S+)", last)
    if not unfit:
        return last
    # pip says "none" both where it reached no index and where that has no wheel that fits.
    unreached = "could not be reached or " if "(from versions: none)" in text else ""
    system = f"{platform.system()} {platform.machine()}, Python {read_config('version')}"
    return f"the package index {unreached}has no wheel of {unfit.group(1)} for {system}"


def prepare():
    """Make or empty .venv, check that there is room for it, and mark it as one of ours."""
    os.makedirs(VENV, exist_ok=True)
    for entry in os.scandir(VENV):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.path != CONFIG:
            os.remove(entry.path)
    free = shutil.disk_usage(VENV).free / 1e9
    if free < NEEDED:
        sys.exit(f"no room for .venv: it needs {NEEDED} GB in {ROOT}, and {free:.1f} GB is free")
    open(CONFIG, "a").close()


def forget_halves():
    """Take the records of half-installed packages away, so that pip installs them anew."""
    for library in (["lib", "python3*"], ["Lib"]):
        pattern = os.path.join(glob.escape(VENV), *library, "site-packages", "*.dist-info")
        for folder in glob.glob(pattern):
            # pip writes INSTALLER last, but takes a package without it for installed.
            if not os.path.exists(os.path.join(folder, "INSTALLER")):
                shutil.rmtree(folder)


def install(python):
    """Make .venv with a Python, unless that is None and .venv is there, and fill it."""
    for path in (STAMP, LOG):
        open(path, "w").close()
    try:
        os.makedirs(TEMPORARY, exist_ok=True)  # beside the rest: the room there has been checked
        if python:
            run([python["path"], "-m", "venv", VENV])
        forget_halves()
        pip = [PYTHON, "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
        # Building TensorFlow or scipy here would take hours and then fail.
        run([*pip, "--only-binary", ":all:", "-r", "requirements.txt"])
        run([*pip, "--no-deps", "--no-build-isolation", "-e", "."])
    finally:
        shutil.rmtree(TEMPORARY, ignore_errors=True)
    with open(STAMP + ".new", "w") as file:
        file.write(make_stamp())
    os.replace(STAMP + ".new", STAMP)


def main():
    """Bring .venv up to date."""
    started = time.time()
    try:
        if is_up_to_date():
            return
        fault = find_fault()
        python = choose_python() if fault or not os.path.exists(CONFIG) else None
        if python:
            prepare()
            what = f"remaking .venv ({fault})" if fault else "making .venv"
            print(what, "with Python {version}: a few minutes, once".format(**python), flush=True)
        else:
            print("bringing .venv up to date", flush=True)
        install(python)
    except OSError as error:
        sys.exit("setting up .venv failed: " + explain([str(error)]))
    except KeyboardInterrupt:
        print("stopped; the next call goes on from here", file=sys.stderr)
        sys.exit(130)
    print(".venv is ready ({}:{:02} min)".format(*divmod(int(time.time() - started), 60)))


if __name__ == "__main__":
    main()
