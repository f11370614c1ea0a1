"""Run the strict tests of the notebooks as other machines would, and list what would break.

    python tools/portability.py [--only VARIANT ...] [NN ...]

Another processor or another number of threads rounds differently, and a training run carries that
on. What is printed here as broken must become a `≈` or a claim with an honest bound.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ANSI = re.compile(r"(\x1b|#x1B)\[[0-9;]*m")


def threads(count):
    """Return what limits TensorFlow, JAX and PyTorch to some threads."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return dict.fromkeys(names, str(count))


VARIANTS = {
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "oneDNN with AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "one thread": threads(1),
    "two threads": threads(2),
    "JAX": {"KERAS_BACKEND": "jax"},
    "PyTorch": {"KERAS_BACKEND": "torch"},
}
NEEDS = {"JAX": "jax", "PyTorch": "torch"}


def paths(numbers):
    """Return the notebooks with these numbers, or all, and their solutions."""
    folder = ROOT / "notebooks"
    found = [*sorted(folder.glob("[0-9]*.ipynb")), *sorted(folder.glob("solutions/[0-9]*.ipynb"))]
    chosen = [path for path in found if not numbers or path.name[:2] in numbers]
    missing = set(numbers) - {path.name[:2] for path in chosen}
    if missing:
        sys.exit(f"portability: there is no notebook {', '.join(sorted(missing))}.")
    return chosen


def broken(report):
    """Return (cell, what moved) for each failure in a JUnit report.

    Example of what moved: `✓ it learns (≈ 3) → ✗ it learns (≈ 1)`.
    """
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        for problem in (*case.iter("failure"), *case.iter("error")):
            text = ANSI.sub("", problem.text or problem.get("message") or "")
            place = re.search(r"Cell \d+", case.get("name", ""))
            found.append((place[0] if place else case.get("name"), moved(text)))
    return found


def moved(text):
    """Return the first line that differs in nbval's account of a failure, or its last line."""
    stored, new = (re.search(rf"^ *[{sign}] (.*)$", text, re.MULTILINE) for sign in ("+", "-"))
    if stored or new:
        old, now = (found[1].strip() if found else "nothing" for found in (stored, new))
        return f"{old} → {now}"
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["failed"])[-1]


def run(path, variables):
    """Return (cell, what moved) for each cell of a notebook that fails with these variables."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(sys.executable, "-m", "pytest", str(path), "--nbval", "--nbval-current-env"),
            *("--nbval-cell-timeout", "900", f"--junitxml={report}"),
            *("--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")),
        ]
        environment = os.environ | variables
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if not report.exists():
            sys.exit(f"portability: {path.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return broken(report)


def main():
    """Run the variants; return 1 where a cell would break."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", metavar="NN", nargs="*", help="default: all")
    parser.add_argument("--only", metavar="VARIANT", action="append", choices=VARIANTS)
    options = parser.parse_args()
    chosen, total = paths(options.notebooks), 0
    for variant in options.only or VARIANTS:
        if variant in NEEDS and not importlib.util.find_spec(NEEDS[variant]):
            print(f"{variant}: not installed", flush=True)
            continue
        found = [(path, *each) for path in chosen for each in run(path, VARIANTS[variant])]
        print(f"{variant}: {len(found)} cells would break" if found else f"{variant}: all pass")
        for path, cell, what in found:
            print(f"  {path.relative_to(ROOT / 'notebooks')}, {cell}: {what}")
        sys.stdout.flush()
        total += len(found)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
