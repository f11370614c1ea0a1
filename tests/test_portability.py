import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_output
from test_environment import load_tool

from conftest import write_notebook

PORTABILITY = load_tool("portability")


@pytest.fixture
def report(tmp_path, root):
    """What pytest says of a notebook in which two cells give other things than are stored."""
    lines = ("print(1, 'as it was')", "print('first\\nsecond ≈ 3')", "'new'", "1 / 0")
    write_notebook(tmp_path, "00_tiny", *lines)
    path = tmp_path / "00_tiny.ipynb"
    node = nbformat.read(path, as_version=4)
    codes = [cell for cell in node.cells if cell.cell_type == "code"]
    stored = ("1 as it was\n", "first\nthird ≈ 4\n", None, "")
    for number, (cell, text) in enumerate(zip(codes[-4:], stored), start=1):
        cell.execution_count = number
        cell.outputs = [new_output("stream", name="stdout", text=text)] if text else []
    old = new_output("execute_result", {"text/plain": "'old'"}, execution_count=3)
    codes[-2].outputs = [old]
    nbformat.write(node, path)
    command = [
        "-m",
        "pytest",
        str(path),
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
    ]
    sanitise = ["--nbval-sanitize-with", str(root / "tests" / "nbval_sanitize.cfg")]
    found = tmp_path / "report.xml"
    subprocess.run([sys.executable, *command, *sanitise, f"--junitxml={found}"], cwd=tmp_path)
    return found


def test_each_broken_cell_is_named_with_what_moved(report):
    found = PORTABILITY.broken(report)
    assert [cell for cell, _ in found] == ["Cell 2", "Cell 3", "Cell 4"]
    assert found[0][1] == "third ≈ → second ≈"
    assert found[1][1] == "'old' → 'new'"
    assert found[2][1] == "ZeroDivisionError: division by zero"


def test_an_unknown_notebook_is_named():
    with pytest.raises(SystemExit, match="there is no notebook 99"):
        PORTABILITY.paths(["00", "99"])
    assert [path.name[:2] for path in PORTABILITY.paths(["01"])] == ["01", "01"]
