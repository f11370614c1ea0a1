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
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")

# By a short name: the title, the tags in wheels' file names, and what environment markers say. The
# tags name the oldest system on which the lock has to install; raise them only knowingly.
PLATFORMS = {
    "linux": (
        "Linux x86-64",
        # glibc 2.27 is that of Ubuntu 18.04 (Debian 10 and RHEL 8 have 2.28); TensorFlow, numpy,
        # scipy and others want it. pip takes the tags literally: name every older glibc as well.
        [
            *(f"manylinux_2_{minor}_x86_64" for minor in range(27, 4, -1)),
            *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
        ],
        ("posix", "x86_64", "Linux", "linux"),
    ),
    # TensorFlow, scipy and scikit-learn want macOS 12. pip reads this as "macOS 12 or older", and
    # takes universal2 wheels too.
    "macos": ("macOS arm64", ["macosx_12_0_arm64"], ("posix", "arm64", "Darwin", "darwin")),
    "windows": ("Windows x86-64", ["win_amd64"], ("nt", "AMD64", "Windows", "win32")),
}


class Target(NamedTuple):
    """One platform with one version of CPython; ``markers`` are as ``packaging`` takes them."""

    title: str
    python: str
    tags: list[str]
    markers: dict[str, str]


TARGETS = {
    f"{key}-{python}": Target(
        f"{title}, Python {python}",
        python,
        tags,
        {
            **dict(zip(("os_name", "platform_machine", "platform_system", "sys_platform"), names)),
            **dict.fromkeys(("python_full_version", "implementation_version"), f"{python}.0"),
            "python_version": python,
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        },
    )
    for key, (title, tags, names) in PLATFORMS.items()
    for python in PYTHONS
}


def pins_for(lock: str, target: Target) -> dict[str, str]:
    """Return the versions that a lock pins on a target, by canonical name.

    The markers are evaluated here because pip evaluates them for the Python that runs it, also
    when it is told to look for another platform's wheels.
    """
    return {
        canonicalize_name(line.name): str(line.specifier).removeprefix("==")
        for line in map(Requirement, lock.splitlines())
        if not line.marker or line.marker.evaluate(target.markers)
    }


def read_roots(pyproject: str) -> list[str]:
    """Return what the project itself asks for: to run, to be tested, and to be installed."""
    tables = tomllib.loads(pyproject)
    extras = tables["project"]["optional-dependencies"]
    # tools/setup.py installs the project without build isolation.
    return tables["project"]["dependencies"] + extras["test"] + tables["build-system"]["requires"]


def unmet(
    roots: list[str], pins: dict[str, str], metadata: dict[str, dict], target: Target
) -> list[str]:
    """Return a line for each requirement that the pins do not meet on a target.

    ``metadata`` holds what each pinned wheel says of itself. Extras are followed: once something
    asks for ``foo[bar]``, what foo needs for its extra bar is asked for as well.
    """
    metadata = {"the project": {"requires_dist": roots}, **metadata}
    todo = [(name, "") for name in metadata]
    faults = []
    for name, extra in todo:  # which grows on the way
        python = metadata[name].get("requires_python") or ""
        if not SpecifierSet(python).contains(f"{target.python}.0"):
            faults.append(f"{name} {pins[name]} wants Python {python}")
        for line in metadata[name].get("requires_dist") or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not marker.evaluate({**target.markers, "extra": extra}):
                continue
            needed = canonicalize_name(requirement.name)
            if needed not in pins:
                faults.append(f"{name} needs {requirement}, which is not pinned")
            elif not requirement.specifier.contains(pins[needed], prereleases=True):
                faults.append(f"{name} needs {requirement}, but {pins[needed]} is pinned")
            for pair in ((needed, wanted) for wanted in requirement.extras):
                if needed in metadata and pair not in todo:
                    todo.append(pair)
    return list(dict.fromkeys(faults))


def ask_pip(pins: dict[str, str], target: Target) -> tuple[dict[str, dict], str]:
    """Let pip look for a wheel of every pin; return the wheels' metadata, or pip's errors."""
    with tempfile.TemporaryDirectory(prefix="check-lock-") as folder:
        report = Path(folder, "report.json")
        command = [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps"),
            *("--ignore-installed", "--only-binary=:all:", "--implementation", "cp"),
            *("--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--quiet"),
            *("--python-version", target.python, "--target", f"{folder}/target"),
            *(f"--platform={tag}" for tag in target.tags),
            *("--report", str(report)),
            *(f"{name}=={version}" for name, version in pins.items()),
        ]
        env = os.environ | {"TMPDIR": folder}  # nothing stays behind when pip is stopped
        result = subprocess.run(command, capture_output=True, encoding="utf-8", env=env)
        if result.returncode:
            return {}, result.stderr.strip() or "pip failed without a word"
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {canonicalize_name(i["metadata"]["name"]): i["metadata"] for i in installs}, ""


def check(lock: str, roots: list[str], target: Target) -> tuple[int, list[str]]:
    """Return the number of wheels that a target takes, and what is wrong there, line by line."""
    pins, faults = pins_for(lock, target), []
    wanted = dict(pins)
    while True:
        metadata, errors = ask_pip(wanted, target)
        if not errors:
            return len(metadata), faults + unmet(roots, pins, metadata, target)
        if "Retrying (" in errors:
            return 0, ["pip reached no package index"]
        # pip stops at the first package without a wheel: go on without it, to name them all.
        found = re.search(r"No matching distribution found for ([^\s=]+)==", errors)
        name = canonicalize_name(found[1]) if found else ""
        if name not in wanted:
            said = re.findall(r"^ERROR: (.*)", errors, re.MULTILINE) or errors.splitlines()
            return 0, [*faults, f"pip failed: {said[-1]}"]
        faults.append(f"{name} {wanted.pop(name)} has no wheel there")


def main(arguments: list[str] | None = None) -> int:
    """Check the targets asked for, one after the other, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default="", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    only = parser.parse_args(arguments).only
    targets = [target for key, target in TARGETS.items() if key.startswith(only)]
    if not targets:
        parser.error(f"no target {only}; there are {', '.join(TARGETS)}")

    sys.stdout.reconfigure(errors="replace")  # a terminal may have no ✓
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    roots = read_roots((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    failed = False
    for target in targets:
        wheels, faults = check(lock, roots, target)
        failed = failed or bool(faults)
        if faults:
            print(f"✗ {target.title}:", *faults, sep="\n    ", flush=True)
        else:
            print(f"✓ {target.title}: {wheels} wheels", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
