"""Make .venv from the lock, requirements.txt, and install kerasaid into it, editable.

    make setup                  # or, where there is no make: python tools/setup.py

It does nothing when .venv is up to date, makes it where it is missing or broken, and continues
where a call before was stopped. Where packages come from is up to pip's own configuration.
Progress is one line on a terminal; all that pip says goes to .venv/setup.log.

Everything here runs on Python 3.6 too, so that an old Python gets a clear line, not a traceback,
and so that it can find a newer Python to make .venv with.
"""

import contextlib
import glob
import hashlib
import json
import os
import platform
import queue
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from importlib.util import find_spec

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
LOG = os.path.join(VENV, "setup.log")
STAMP = os.path.join(VENV, ".kerasaid-setup")
SUPPORTED = ("3.11", "3.12", "3.13")
WINDOWS = os.name == "nt"
DEBIAN = "/etc/debian_version"  # there on Ubuntu and others made from Debian, too

GB = 1e9
INSTALLED = 2.6 * GB  # what .venv holds in the end
NEEDED = 3.5 * GB  # the same, and the wheels while pip has them at hand

# What a call that was stopped while it made or cleared .venv can leave there.
LEFTOVERS = {
    *("bin", "include", "lib", "lib64", "share", "etc", "Scripts", "Include", "Lib"),
    *("pyvenv.cfg", ".gitignore", "setup.log", "tmp", ".kerasaid-setup"),
}


class SetupError(Exception):
    """What stops the set-up, in one line for whoever called it."""


# --- Which Python ------------------------------------------------------------------------------


def describe():
    """Return what decides whether the running Python can carry kerasaid."""
    return {
        "version": "{}.{}.{}".format(*sys.version_info[:3]),
        # In a virtual environment, the Python that it was made with.
        "executable": getattr(sys, "_base_executable", None) or sys.executable,
        "implementation": platform.python_implementation(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "venv": bool(find_spec("venv") and find_spec("ensurepip")),
        "pip": bool(find_spec("pip")),
    }


def is_supported(python):
    """Tell whether the wheels in the lock are for the Python described."""
    return (
        python["version"].rpartition(".")[0] in SUPPORTED
        and python["implementation"] == "CPython"
        and python["bits"] == 64
        and not python["free_threaded"]
    )


def title(python):
    """Return the version of the Python described, and what is unusual about it."""
    words = [python["version"]]
    if python["implementation"] != "CPython":
        words.append(python["implementation"])
    if python["bits"] != 64:
        words.append("{}-bit".format(python["bits"]))
    if python["free_threaded"]:
        words.append("free-threaded")
    return ", ".join(words)


def ask(command):
    """Return what another Python says of itself, or None where it does not work."""
    try:
        result = subprocess.run(
            [*command, os.path.abspath(__file__), "--describe"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            timeout=30,
            check=True,
        )
        return json.loads(result.stdout.decode("utf-8"))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def other_pythons():
    """Yield the descriptions of the supported Pythons on PATH, the newest first."""
    for version in reversed(SUPPORTED):
        command = ["py", "-" + version] if WINDOWS else ["python" + version]
        found = shutil.which(command[0])
        python = ask([found, *command[1:]]) if found else None
        if python and is_supported(python):
            yield python


def choose_python():
    """Return the description of the Python to make .venv with: this one, or one on PATH."""
    here = describe()
    suited = [here] if is_supported(here) else list(other_pythons())
    if not suited:
        raise SetupError(
            "kerasaid needs Python {} or {}, and this is {} ({}); install one of them or name it: "
            "make setup PYTHON={}".format(
                ", ".join(SUPPORTED[:-1]),
                SUPPORTED[-1],
                title(here),
                here["executable"],
                r"C:\path\to\python.exe" if WINDOWS else "/path/to/python3.12",
            )
        )
    for python in suited:
        if python["venv"]:
            return python
    version = suited[0]["version"].rpartition(".")[0]
    if os.path.exists(DEBIAN):
        cure = f"install it: sudo apt install python{version}-venv"
    else:
        cure = "install the rest of that Python, or name another: make setup PYTHON=..."
    raise SetupError(
        "Python {} ({}) cannot make virtual environments, its module venv or ensurepip is "
        "missing; {}".format(title(suited[0]), suited[0]["executable"], cure)
    )


def environment():
    """Return the environment for the Pythons called here: the user's, less what misleads pip."""
    mine = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"):
        mine.pop(name, None)
    mine.update(PYTHONNOUSERSITE="1", PYTHONIOENCODING="utf-8", PYTHONUNBUFFERED="1", PIP_USER="0")
    return mine


# --- What is there -----------------------------------------------------------------------------


def venv_python():
    """Return the path of the Python in .venv."""
    return os.path.join(VENV, *(["Scripts", "python.exe"] if WINDOWS else ["bin", "python"]))


def read_config():
    """Return the settings in .venv/pyvenv.cfg, none where it cannot be read."""
    try:
        with open(os.path.join(VENV, "pyvenv.cfg"), encoding="utf-8") as file:
            pairs = [line.partition("=") for line in file]
    except (OSError, ValueError):
        return {}
    return {key.strip(): value.strip() for key, _, value in pairs}


def was_moved(config):
    """Tell whether .venv was made in another folder: its scripts then call a Python there."""
    made = re.search(r'-m venv (?:--prompt="[^"]*" |--\S+ )*(.+)$', config.get("command", ""))
    if not made:
        return False  # not made by Python's own venv, which alone writes this down
    try:
        return not os.path.samefile(made.group(1), VENV)
    except OSError:
        return True


def current_stamp(config):
    """Return what the stamp has to say: a hash of the lock, pyproject.toml and the Python."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            content = file.read().replace(b"\r\n", b"\n")
        digest.update(b"%d\n%s" % (len(content), content))
    digest.update(config.get("version", config.get("version_info", "")).encode())
    return digest.hexdigest()


def is_up_to_date():
    """Tell whether a call before has installed everything, and nothing has changed since."""
    try:
        with open(STAMP, encoding="ascii") as file:
            stamp = file.read().strip()
    except (OSError, ValueError):
        return False
    config = read_config()
    return (
        stamp == current_stamp(config)
        and not was_moved(config)
        and os.path.exists(venv_python())  # False also for a link to a Python that is gone
    )


def why_remake():
    """Return why .venv cannot be used as it is; nothing where it can, or where there is none."""
    if not os.path.lexists(VENV) or (os.path.isdir(VENV) and not os.listdir(VENV)):
        return ""
    config = read_config()
    if not config:
        if not os.path.isdir(VENV) or set(os.listdir(VENV)) - LEFTOVERS:
            raise SetupError(f"{VENV} is there, but is not a virtual environment; move it away")
        return "it is not whole"
    if was_moved(config):
        return "it was made in another folder"
    python = ask([venv_python()])
    if not python:
        return "its Python does not work"
    if not is_supported(python):
        return f"its Python is {title(python)}"
    return "" if python["pip"] else "it has no pip"


def size_of(folder):
    """Return how many bytes the files in a folder hold."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(path, name)).st_size
    return size


def check_disk(remake):
    """Stop where the disk has no room for what is still to be installed."""
    held = size_of(VENV)
    free = shutil.disk_usage(VENV if os.path.isdir(VENV) else ROOT).free
    if remake:
        needed, free = NEEDED, free + held
    else:
        needed = NEEDED * max(0, 1 - held / INSTALLED)
    if free < needed:
        raise SetupError(
            "no room for .venv: it needs about {:.1f} GB{} in {}, and {:.1f} GB is free".format(
                needed / GB, " more" if held and not remake else "", ROOT, free / GB
            )
        )


# --- Making it ---------------------------------------------------------------------------------


class Progress:
    """What pip is at, from what it says: one line that is rewritten, where there is a terminal."""

    def __init__(self, total, stream=None):
        """Start with the number of packages that pip may have to collect."""
        self.total = total
        self.stream = stream or sys.stdout
        self.on_terminal = self.stream.isatty()
        self.started = time.monotonic()
        self.collected = set()
        self.stage = "making .venv"
        self.name = ""
        self.installing = 0  # how many packages pip is installing, once it is
        self.before = set()
        self.width = 0

    def feed(self, line):
        """Take in one line of pip's output."""
        seen = re.match(r"(Collecting|Requirement already satisfied:|Processing) (.+)", line)
        if line.startswith("Ignoring "):  # its marker is for other platforms or Pythons
            self.total -= 1
        elif seen:
            self.stage, self.name = "collecting", package_name(seen.group(2))
            self.collected.add(self.name)
        elif re.match(r"\s*(Downloading|Using cached) .*\.whl", line):
            file, size = re.search(r"(\S+\.whl)(?:\.metadata)?(.*)", line).groups()
            self.name = package_name(file) + size
        elif line.startswith("Installing collected packages:"):
            self.stage, self.name = "installing", ""
            self.installing = line.count(",") + 1
            self.before = installed_packages()
        self.draw()

    def draw(self):
        """Rewrite the line on the terminal."""
        if not self.on_terminal:
            return
        counts = ""
        if self.installing:
            done = len(installed_packages() - self.before)
            counts = f" {min(done, self.installing)}/{self.installing}"
        elif self.collected:
            counts = f" {len(self.collected)}/{self.total}"
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        text = f"{self.stage}{counts} {self.name} {minutes}:{seconds:02}"
        text = text.replace("  ", " ")[: shutil.get_terminal_size().columns - 1]
        self.stream.write("\r" + text.ljust(self.width))
        self.stream.flush()
        self.width = len(text)

    def say(self, text):
        """Write a line that stays."""
        if self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.width = 0
        self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self):
        """Take the line off the terminal, so that an error stands alone."""
        if self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
            self.width = 0


def package_name(text):
    """Return the name in a requirement or in the path of a wheel, the way the lock spells it."""
    file = re.search(r"([^/\\\s-]+)-\S+\.whl", text)
    name = file.group(1) if file else re.match(r"[\w.-]*", text).group()
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_packages():
    """Return the names and versions of what is installed in .venv."""
    library = ["Lib"] if WINDOWS else ["lib", "python3*"]
    return set(glob.glob(os.path.join(glob.escape(VENV), *library, "site-packages", "*.dist-info")))


class Call:
    """Runs commands one after the other, shows their progress and keeps what they say."""

    def __init__(self, progress):
        """Start with nothing said."""
        self.progress = progress
        self.output = []

    def run(self, command):
        """Run a command and return its exit status."""
        self.keep("$ " + " ".join(command))
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            # pip's temporary files go beside .venv's own: the room there has been checked.
            env=dict(environment(), TMPDIR=os.path.join(VENV, "tmp")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        lines = queue.Queue()
        threading.Thread(target=read_into, args=(process.stdout, lines), daemon=True).start()
        try:
            while True:
                try:
                    line = lines.get(timeout=0.5)
                except queue.Empty:
                    self.progress.draw()
                    continue
                if line is None:
                    return process.wait()
                self.keep(line)
                self.progress.feed(line)
        finally:
            stop(process)

    def keep(self, line):
        """Keep a line of output, in the log too as far as that can be written."""
        self.output.append(line)
        try:
            with open(LOG, "a", encoding="utf-8", errors="replace") as file:
                file.write(line + "\n")
        except OSError:  # the disk may be full, and then the line itself says so
            pass


def read_into(stream, lines):
    """Put the lines of a stream into a queue, and None at its end."""
    for line in stream:
        lines.put(line.decode("utf-8", "replace").rstrip())
    lines.put(None)


def stop(process):
    """End a process that still runs: Ctrl-C has reached it too, so let it clear up first."""
    for end in (lambda: None, process.terminate, process.kill):
        end()
        try:
            process.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            pass


# What pip says where it has not reached the index, and what that means; the last is any of them.
UNREACHED = (
    (
        r"name resolution|getaddrinfo failed|Name or service not known|nodename nor servname",
        "its name could not be looked up",
    ),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError|ssl certificate", "its certificate was not accepted"),
    (r"ProxyError|Cannot connect to proxy", "the proxy did not answer"),
    (r"Connection refused|WinError 10061", "the connection was refused"),
    (r"Network is unreachable|No route to host|WinError 1005[01]", "there is no network"),
    (r"[Tt]imed out|TimeoutError", "it did not answer in time"),
    (
        r"not a trusted or secure host",
        "pip does not trust its host",
    ),
    (r"\b40[137] (Client )?Error", "it wants other credentials"),
    (
        r"ConnectionPool|Max retries|Retrying \(|ProtocolError|Connection(Reset| broken| aborted)",
        "the connection failed",
    ),
)
NO_SPACE = r"No space left on device|Errno 28\b|not enough space on the disk|Disk quota exceeded"

UNFIT = r"No matching distribution found for (\S+)|(\S+\.whl) is not a supported wheel"


def explain(output):
    """Return in one line why a command failed, from the lines that it wrote."""
    text = "\n".join(output)
    if re.search(NO_SPACE, text):
        return "no space is left on the device; make room and call this again"
    errors = [line[len("ERROR: ") :] for line in output if line.lower().startswith("error: ")]
    if "Exception:" in errors:  # a traceback follows, and ends with what matters
        errors = []
    said = [line.strip() for line in output if line.strip() and not line.startswith("$ ")]
    last = (errors or said or ["it said nothing"])[-1]
    unfit = re.search(UNFIT, last)
    # pip warns of each connection that fails, and may go on all the same: only where it ended with
    # such an error, or saw no version at all of a package, was it the connection that ended it.
    blamed = text if unfit and "from versions: none" in text else last
    for pattern, _ in UNREACHED:
        if re.search(pattern, blamed):
            reason = next(reason for known, reason in UNREACHED if re.search(known, text))
            return (
                f"no package index could be reached, {reason}; check the network and pip's "
                "configuration, then call this again"
            )
    if unfit:
        system = f"{platform.system()} {platform.machine()}"
        wheel = unfit.group(1) or unfit.group(2)
        return f"the package index has no wheel of {wheel} for this platform, {system}"
    return last


def install(python, remake):
    """Make .venv with a Python, unless that is None and it is there, and fill it."""
    with open(os.path.join(ROOT, "requirements.txt"), encoding="utf-8") as file:
        total = sum(1 for line in file if line.strip() and not line.startswith("#"))
    progress = Progress(total)
    started = time.monotonic()
    if remake:
        progress.say(f"remaking .venv: {remake}")
    if not progress.on_terminal:
        if python:
            version = python["version"]
            progress.say(
                f"making .venv with Python {version}: up to {total} packages, a few minutes, once"
            )
        else:
            progress.say("bringing .venv up to date")
    call = Call(progress)
    pip = (venv_python(), "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
    # Building TensorFlow or scipy here would take hours and then fail.
    wheels = ("--only-binary", ":all:")
    commands = [
        [*pip, "--progress-bar", "off", *wheels, "-r", "requirements.txt"],
        [*pip, "--no-deps", "--no-build-isolation", "-e", "."],
    ]
    try:
        if python:
            flags = ["--clear"] if remake else []
            commands.insert(0, [python["executable"], "-m", "venv", *flags, VENV])
        else:
            forget(STAMP, LOG)
            forget_halves()
        for command in commands:
            os.makedirs(os.path.join(VENV, "tmp"), exist_ok=True)
            if call.run(command):
                unseen = re.search(r"No matching distribution found for (\S+)", call.output[-1])
                if unseen and "(from versions: none)" in call.output[-2]:
                    # Is it the index or the network? Without retries only a very verbose pip tells.
                    call.run([*pip, "-vv", "--dry-run", "--no-deps", *wheels, unseen.group(1)])
                reason = f"{command[2]} failed: {explain(call.output)}"
                if os.path.exists(LOG):
                    reason += f"; all of its output is in {os.path.relpath(LOG, ROOT)}"
                raise SetupError(reason)
    finally:
        progress.clear()
        shutil.rmtree(os.path.join(VENV, "tmp"), ignore_errors=True)
    write_stamp()
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    progress.say(
        ".venv is ready: {} packages, Python {} ({}:{:02} min)".format(
            len(progress.collected), read_config().get("version", ""), minutes, seconds
        )
    )


def forget(*paths):
    """Remove files that may be there."""
    for path in paths:
        if os.path.exists(path):
            os.remove(path)


def forget_halves():
    """Take the records of half-installed packages away, so that pip installs them anew."""
    for folder in installed_packages():
        # pip writes this file when it has written all others; after an interruption it would take
        # a package without it for installed.
        if not os.path.exists(os.path.join(folder, "INSTALLER")):
            shutil.rmtree(folder)


def write_stamp():
    """Write down that .venv is up to date, all at once."""
    with open(STAMP + ".new", "w", encoding="ascii") as file:
        file.write(current_stamp(read_config()) + "\n")
    os.replace(STAMP + ".new", STAMP)


def main(arguments=()):
    """Bring .venv up to date and return the exit status."""
    if list(arguments) == ["--describe"]:
        print(json.dumps(describe()))
        return 0
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a folder's name may not be in its encoding
    try:
        if is_up_to_date():
            return 0
        remake = why_remake()
        python = choose_python() if remake or not read_config() else None
        check_disk(remake)
        install(python, remake)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"setting up .venv failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the next call goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
