"""Check that requirements.txt installs from wheels alone, and whole, wherever kerasaid runs.

For each of nine targets (Linux x86-64, macOS arm64 and Windows x86-64, each with Python 3.11,
3.12 and 3.13) the script asks pip, in a dry run, for a wheel of every pinned package, and then
reads the metadata of those wheels: whatever they require has to be pinned too, at a version that
they accept. Nothing is installed. One line a target tells the result:

    ✓ Linux x86-64, Python 3.11: 139 wheels

or what is missing, in which case the exit status is 1.

    python tools/check_lock.py                      # all nine targets
    python tools/check_lock.py --only linux-3.11    # one of them; --only macos takes three

It needs a package index. Where the index offers no separate metadata files, pip downloads the
wheels themselves: about 1 GB a target, kept in pip's own cache.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Platform:
    """An operating system, as wheels' file names (tags) and as environment markers name it."""

    key: str
    title: str
    tags: tuple[str, ...]
    markers: dict[str, str] = field(hash=False)


@dataclass(frozen=True)
class Target:
    """One platform with one version of CPython."""

    platform: Platform
    python: str

    @property
    def key(self) -> str:
        """The target's short name, as in ``--only linux-3.11``."""
        return f"{self.platform.key}-{self.python}"

    @property
    def title(self) -> str:
        """The target's name for people."""
        return f"{self.platform.title}, Python {self.python}"

    @property
    def environment(self) -> dict[str, str]:
        """The values of all environment markers there, as ``packaging`` takes them."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
        } | self.platform.markers


# The tags name the oldest system on which the lock has to install: a lock that needs a newer one
# leaves people behind, so raise these numbers only knowingly.
PLATFORMS = (
    Platform(
        "linux",
        "Linux x86-64",
        # glibc 2.27 is that of Ubuntu 18.04 (Debian 10 and RHEL 8 have 2.28); TensorFlow, numpy,
        # scipy and others want it. pip takes these tags literally, so every older glibc has to
        # be named as well.
        (
            *(f"manylinux_2_{minor}_x86_64" for minor in range(27, 4, -1)),
            "manylinux2014_x86_64",
            "manylinux2010_x86_64",
            "manylinux1_x86_64",
            "linux_x86_64",
        ),
        {
            "os_name": "posix",
            "platform_machine": "x86_64",
            "platform_system": "Linux",
            "sys_platform": "linux",
        },
    ),
    Platform(
        "macos",
        "macOS arm64",
        # TensorFlow, scipy and scikit-learn want macOS 12. pip reads this as "macOS 12 or
        # older", and takes universal2 wheels too.
        ("macosx_12_0_arm64",),
        {
            "os_name": "posix",
            "platform_machine": "arm64",
            "platform_system": "Darwin",
            "sys_platform": "darwin",
        },
    ),
    Platform(
        "windows",
        "Windows x86-64",
        ("win_amd64",),
        {
            "os_name": "nt",
            "platform_machine": "AMD64",
            "platform_system": "Windows",
            "sys_platform": "win32",
        },
    ),
)
TARGETS = tuple(Target(platform, python) for platform in PLATFORMS for python in PYTHONS)


def read_lock(text: str) -> list[Requirement]:
    """Return the requirements in the text of a lock, one a line, without its comments."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def pins_for(lock: list[Requirement], target: Target) -> tuple[dict[str, Version], list[str]]:
    """Return what the lock pins on a target, by canonical name, and the lines that are no pins.

    The markers are evaluated here because pip evaluates them for the Python that runs it, also
    when it is told to look for another platform's wheels.
    """
    pins, faults = {}, []
    for requirement in lock:
        if requirement.marker and not requirement.marker.evaluate(target.environment):
            continue
        name = canonicalize_name(requirement.name)
        exact = [s.version for s in requirement.specifier if s.operator == "=="]
        if len(requirement.specifier) != 1 or not exact or exact[0].endswith(".*"):
            faults.append(f"{requirement} is no exact pin")
        elif name in pins:
            faults.append(f"{name} is pinned twice")
        else:
            pins[name] = Version(exact[0])
    return pins, faults


def read_roots(pyproject: str) -> list[Requirement]:
    """Return what the project itself asks for: to run, to be tested, and to be installed."""
    tables = tomllib.loads(pyproject)
    project = tables["project"]
    lines = [
        *project["dependencies"],
        *project["optional-dependencies"]["test"],
        # tools/setup.py installs the project without build isolation.
        *tables["build-system"]["requires"],
    ]
    return [Requirement(line) for line in lines]


def missing_requirements(
    roots: list[Requirement],
    pins: dict[str, Version],
    metadata: dict[str, dict],
    target: Target,
) -> list[str]:
    """Return a line for each requirement that the pins do not meet on the target.

    ``metadata`` holds, by canonical name, what each pinned wheel says of itself: the lists
    ``requires_dist`` and, where it has one, ``requires_python``. Extras are followed: once
    something asks for ``foo[bar]``, what foo needs for its extra bar is asked for as well.
    """
    python = target.environment["python_full_version"]
    faults = []
    for name in sorted(pins.keys() & metadata.keys()):
        wanted = metadata[name].get("requires_python") or ""
        if not SpecifierSet(wanted).contains(python, prereleases=True):
            faults.append(f"{name} {pins[name]} wants Python {wanted}")

    # Every pin is looked at, also one that nothing asks for; the extra "" is the package itself.
    queue = [
        ("the project", root)
        for root in roots
        if not root.marker or root.marker.evaluate(target.environment | {"extra": ""})
    ]
    done = set()

    def follow(name: str, extra: str) -> None:
        """Put what a package needs (for one of its extras) into the queue, once."""
        if (name, extra) in done or name not in metadata:
            return
        done.add((name, extra))
        asker = f"{name}[{extra}]" if extra else name
        for line in metadata[name].get("requires_dist") or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not marker.evaluate(target.environment | {"extra": extra}):
                continue
            if extra and (not marker or marker.evaluate(target.environment | {"extra": ""})):
                continue  # it is needed without the extra, too
            queue.append((asker, requirement))

    for name in pins:
        follow(name, "")
    while queue:
        asker, requirement = queue.pop(0)
        name = canonicalize_name(requirement.name)
        if name not in pins:
            faults.append(f"{asker} needs {requirement}, which is not pinned")
        elif not requirement.specifier.contains(pins[name], prereleases=True):
            faults.append(f"{asker} needs {requirement}, but {pins[name]} is pinned")
        for extra in sorted(requirement.extras):
            follow(name, canonicalize_name(extra))
    return list(dict.fromkeys(faults))


def ask_pip(pins: dict[str, Version], target: Target) -> tuple[dict[str, dict], str]:
    """Let pip look for a wheel of every pin; return the wheels' metadata, or pip's errors."""
    with tempfile.TemporaryDirectory(prefix="check-lock-") as folder:
        lines = Path(folder, "pins.txt")
        lines.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        report = Path(folder, "report.json")
        command = [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps"),
            *("--ignore-installed", "--only-binary=:all:", "--implementation", "cp"),
            *("--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--quiet"),
            *("--python-version", target.python, "--target", str(Path(folder, "target"))),
            *(f"--platform={tag}" for tag in target.platform.tags),
            *("--report", str(report), "--requirement", str(lines)),
        ]
        env = os.environ | {"TMPDIR": folder}  # nothing stays behind when pip is stopped
        result = subprocess.run(
            command, check=False, capture_output=True, encoding="utf-8", env=env
        )
        if result.returncode:
            return {}, result.stderr.strip() or "pip failed without a word"
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {canonicalize_name(i["metadata"]["name"]): i["metadata"] for i in installs}, ""


def find_wheels(pins: dict[str, Version], target: Target) -> tuple[dict[str, dict], list[str]]:
    """Return the metadata of the pins' wheels and a line for each pin that has none."""
    pins, faults = dict(pins), []
    while pins:
        metadata, errors = ask_pip(pins, target)
        if not errors:
            return metadata, faults
        # pip stops at the first package without a wheel: go on without it, to name them all.
        found = re.search(r"No matching distribution found for ([^\s=]+)==", errors)
        name = canonicalize_name(found[1]) if found else ""
        if "Retrying (" in errors:
            return {}, [*faults, "pip reached no package index"]
        if name not in pins:
            said = re.findall(r"^ERROR: (.*)", errors, re.MULTILINE) or errors.splitlines()
            return {}, [*faults, f"pip failed: {said[-1]}"]
        faults.append(f"{name} {pins.pop(name)} has no wheel there")
    return {}, faults


def check(target: Target, lock: list[Requirement], roots: list[Requirement]) -> tuple[int, list]:
    """Check one target; return the number of wheels it takes and what is wrong, line by line."""
    pins, faults = pins_for(lock, target)
    metadata, missing = find_wheels(pins, target)
    faults += missing
    if metadata:
        faults += missing_requirements(roots, pins, metadata, target)
    return len(metadata), faults


def main(arguments: list[str] | None = None) -> int:
    """Check the targets asked for, one after the other, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--only",
        metavar="TARGET",
        action="append",
        help="check just this target, such as linux-3.11, windows or 3.12 (may be repeated)",
    )
    wanted = parser.parse_args(arguments).only
    targets = [
        target
        for target in TARGETS
        if not wanted or {target.key, target.platform.key, target.python} & set(wanted)
    ]
    known = {key for t in TARGETS for key in (t.key, t.platform.key, t.python)}
    for key in wanted or ():
        if key not in known:
            parser.error(f"no target {key}; there are {', '.join(t.key for t in TARGETS)}")

    sys.stdout.reconfigure(errors="replace")  # a terminal may have no ✓
    lock = read_lock((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    roots = read_roots((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    failed = False
    for target in targets:
        wheels, faults = check(target, lock, roots)
        if faults:
            failed = True
            print(f"✗ {target.title}:", *faults, sep="\n    ", flush=True)
        else:
            print(f"✓ {target.title}: {wheels} wheels", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
