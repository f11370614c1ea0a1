import base64
import io
import os
import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_output
from PIL import Image

from conftest import write_notebook
from kerasaid.runs import differences

RULE = {r"(≈) *([0-9.]+|“[^”]*”)": r"\1"}


def png(shade):
    picture = io.BytesIO()
    Image.fromarray(np.full((40, 60), shade, "uint8")).save(picture, "PNG")
    return base64.b64encode(picture.getvalue()).decode("ascii")


def drawn(alt, shade):
    return new_output(
        "display_data",
        {"text/plain": alt, "image/png": png(shade)},
        metadata={"image/png": {"alt": alt}},
    )


SHOW = """
    import base64
    from kerasaid.results import show
    show({!r}, {{"figure": 1}}, png=base64.b64decode({!r}))
"""


@pytest.fixture
def project(tmp_path, root):
    """A project of one notebook that was executed once; now some of its cells give other things."""
    folder = tmp_path / "notebooks"
    write_notebook(
        folder,
        "00_tiny",
        'print("loss ≈ 0.75 nats\\nthe new word\\nlast")',
        SHOW.format("A pale dot, on the left.", png(220)),
        SHOW.format("The same words.", png(90)),
        'print("<b>the same</b>")',
        "1 / 0",
    )
    path = folder / "00_tiny.ipynb"
    node = nbformat.read(path, as_version=4)
    codes = [cell for cell in node.cells if cell.cell_type == "code"]
    text = "loss ≈ 0.5 nats\nthe old word\nlast\n"
    codes[1].outputs = [new_output("stream", name="stdout", text=text)]
    codes[2].outputs = [drawn("A dark dot, on the left.", 30)]
    codes[3].outputs = [drawn("The same words.", 200)]
    codes[4].outputs = [new_output("stream", name="stdout", text="<b>the same</b>\n")]
    for number, cell in enumerate(codes, start=1):
        cell.execution_count = number
    nbformat.write(node, path)
    (tmp_path / "tests").mkdir()
    shutil.copy(root / "tests" / "nbval_sanitize.cfg", tmp_path / "tests")
    shutil.copy(root / "conftest.py", tmp_path)
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def strict(project):
    """Run the strict tests as the Makefile does."""
    arguments = "notebooks --nbval --nbval-current-env --nbval-sanitize-with"
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments.split(), "tests/nbval_sanitize.cfg"],
        cwd=project,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    )


def test_failing_strict_tests_leave_a_page_that_shows_what_moved(project):
    answer = strict(project)
    place = project / "reports" / "differences.html"
    assert answer.returncode == 1, answer.stdout
    assert f"stored and new outputs, side by side: {place}" in answer.stdout
    text = place.read_text("utf-8")
    assert "notebooks/00_tiny.ipynb</a>: 3 of 6 cells" in text
    assert ">Cell outputs differ</p>" in text and "ZeroDivisionError" in text
    assert "the <del>old</del> word" in text and "the <ins>new</ins> word" in text
    assert '≈<span class="left-out"> 0.5</span> nats' in text
    assert '≈<span class="left-out"> 0.75</span> nats' in text
    assert "A <del>dark</del> dot" in text and 'alt="new: A pale dot, on the left."' in text
    for shade in (30, 220, 200, 90):  # both pictures, also where only the pixels moved
        assert png(shade) in text
    assert "the same&lt;/b" not in text  # a cell that passed
    assert "<script" not in text

    path = project / "notebooks" / "00_tiny.ipynb"
    node = nbformat.read(path, as_version=4)
    node.cells = node.cells[:2]
    nbformat.write(node, path)
    answer = strict(project)
    assert answer.returncode == 0, answer.stdout
    assert not place.exists() and "side by side" not in answer.stdout


def plain(line):
    return None if line is None else re.sub(r"<[^>]+>", "", line)


def test_lines_stand_beside_those_they_belong_to():
    rows = differences.side_by_side("a\nb\nc\n", "a\nc\nd e\n")
    assert [(plain(left), plain(right), moved) for left, right, moved in rows] == [
        ("a", "a", False),
        ("b", None, True),
        ("c", "c", False),
        (None, "d e", True),
    ]


def test_what_the_tests_leave_out_is_grey_and_no_difference():
    ((left, right, moved),) = differences.side_by_side("x ≈ 1.5 s", "x ≈ 22.5 s", RULE)
    assert not moved
    assert left == 'x ≈<span class="left-out"> 1.5</span> s'
    assert right == 'x ≈<span class="left-out"> 22.5</span> s'


def test_a_text_over_several_lines_can_be_left_out():
    rows = differences.side_by_side("≈ “a\nb” ok", "≈ “c\nd” no", RULE)
    assert [moved for _, _, moved in rows] == [False, True]
    assert rows[1][0] == '<span class="left-out">b”</span> <del>ok</del>'


def test_what_a_notebook_prints_is_escaped():
    ((left, right, _),) = differences.side_by_side("<img src=x>", "<b onclick=1> ≈ “<i>”", RULE)
    for line in (left, right):
        assert not re.search(r"<(?!/?(del|ins|span)\b)", line) and "&lt;" in line
    ((same, _, _),) = differences.side_by_side("<img>", "<img>")
    assert same == "&lt;img&gt;"


def test_a_number_of_pictures_that_changed_is_seen():
    cell = differences.Cell("n", 3, "", [drawn("one", 1), drawn("two", 2)], [drawn("one", 1)], True)
    text = differences.page([cell])
    assert text.count("<img") == 3 and "stored, the same" in text and "new: no picture" in text
