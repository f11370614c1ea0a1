"""The suite on copies of a real notebook, each broken in one way: it must fail every time."""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from conftest import write_notebook

SLUG = "00_start_here"
STRICT = [
    "notebooks",
    "--nbval",
    "--nbval-current-env",
    "--nbval-sanitize-with",
    "tests/nbval_sanitize.cfg",
    "--nbval-cell-timeout",
    "300",
]


@pytest.fixture
def project(tmp_path, root):
    """A copy of the project with one notebook and its solution."""
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc", "*.npz")
    for name in ("kerasaid", "tests", "data"):
        shutil.copytree(root / name, tmp_path / name, ignore=skipped)
    os.link(root / "data" / "mnist.npz", tmp_path / "data" / "mnist.npz")
    for name in ("conftest.py", "pyproject.toml", "README.md"):
        shutil.copy(root / name, tmp_path / name)
    for folder in ("notebooks", "notebooks/solutions"):
        (tmp_path / folder).mkdir()
        shutil.copy(root / folder / f"{SLUG}.ipynb", tmp_path / folder)
    return tmp_path


def suite(project, *arguments):
    """Run pytest in the copy, with the copy's package; return (exit code, what it printed)."""
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project)},
    )
    return answer.returncode, answer.stdout + answer.stderr


def strict(project):
    return suite(project, *STRICT)


def hygiene(project):
    return suite(project, "tests/test_hygiene.py", "-k", "every_notebook_keeps and not links")


def change(project, edit, slug=SLUG):
    path = project / "notebooks" / f"{slug}.ipynb"
    node = nbformat.read(path, as_version=4)
    edit(node)
    nbformat.write(node, path)


def output_of(node, start):
    for cell in node.cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            if text.startswith(start):
                return output
    raise AssertionError(f"no output starts with {start!r}")


def test_the_copy_passes_as_it_is(project):
    code, printed = strict(project)
    assert code == 0, printed
    code, printed = hygiene(project)
    assert code == 0, printed


def test_a_changed_exact_output_fails(project):
    def edit(node):
        output = output_of(node, "training images:")
        output.text = output.text.replace("60000", "60001")

    change(project, edit)
    code, printed = strict(project)
    assert code == 1 and "60001" in printed and "1 failed" in printed


def test_a_flipped_claim_fails(project):
    def edit(node):
        data = output_of(node, "✓ the network beats").data
        data["text/plain"] = data["text/plain"].replace("✓", "✗")

    change(project, edit)
    code, printed = strict(project)
    assert code == 1 and "✗ the networ" in printed and "1 failed" in printed


def test_another_machine_dependent_number_passes(project):
    """The other side of it: what may differ between machines fails nothing."""

    def edit(node):
        data = output_of(node, "the network ≈").data
        data["text/plain"] = "the network ≈ 1.23 %"

    change(project, edit)
    code, printed = strict(project)
    assert code == 0, printed


def test_stripped_outputs_fail(project):
    def edit(node):
        for cell in node.cells:
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)

    change(project, edit)
    code, printed = hygiene(project)
    assert code == 1 and "execution counts are" in printed


@pytest.mark.parametrize(
    ("room", "old", "new"),
    [
        ("results.py", "holds = bool(distance >= 0)", "holds = bool(distance < 0)"),
        ("datasets.py", '(arrays["x_test"], arrays', '(arrays["x_train"][:9999], arrays'),
    ],
)
def test_a_broken_function_fails(project, room, old, new):
    path = project / "kerasaid" / room
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    code, printed = strict(project)
    assert code == 1 and "failed" in printed


@pytest.mark.parametrize("tag", ["nbval-skip", "nbval-ignore-output", "raises-exception"])
def test_a_skip_tag_fails(project, tag):
    def edit(node):
        cell = next(cell for cell in node.cells if cell.id == "load")
        cell.metadata["tags"] = [tag]

    change(project, edit)
    code, printed = hygiene(project)
    assert code == 1 and f"the tag {tag} on cell load" in printed


@pytest.mark.parametrize(
    "reach",
    [
        "import urllib.request; urllib.request.urlopen('http://keras.io', timeout=5)",
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)",
    ],
)
def test_a_notebook_that_reaches_for_the_network_fails(project, reach):
    shutil.rmtree(project / "notebooks")
    write_notebook(project / "notebooks", "00_online", reach)
    code, printed = strict(project)
    assert code == 1 and "the network is closed during tests" in printed
