import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kerasaid.runs import notebooks

TINY = """
from kerasaid.errors import InputError
from kerasaid.exercises import check
from kerasaid.results import claim, metric, show

if epochs < 1:
    raise InputError(f"epochs must be at least 1, received {epochs}.")
metric("accuracy", [0.5, 0.7], unit="%")
claim("it is large", 0.6 * epochs, at_least=0.6)
"""


def write_notebook(folder, slug, *cells, parameters="epochs: int = 2  # passes"):
    """Write a small notebook; a cell is code, or (tag, code)."""
    made = [new_markdown_cell(f"# The {slug}\n\n**Is it quick?**\n\n$a_1 = \\frac{{1}}{{2}}$")]
    for cell in [("parameters", parameters), *cells]:
        cell_tags, source = cell if isinstance(cell, tuple) else (None, cell)
        made.append(new_code_cell(textwrap.dedent(source).strip()))
        if cell_tags:
            made[-1].metadata["tags"] = cell_tags.split()
    node = new_notebook(cells=made)
    node.metadata["kernelspec"] = {"name": "python3", "display_name": "x", "language": "python"}
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(node, folder / f"{slug}.ipynb")


@pytest.fixture
def collection(tmp_path, monkeypatch):
    """A folder of small notebooks that do not need Keras, in place of the real ones."""
    folder = tmp_path / "notebooks"
    write_notebook(
        folder,
        "00_tiny",
        TINY,
        ("check-1 raises-exception", 'check("solved", lambda: False, "think")'),
        'print("after the exercise")',
        parameters='epochs: int = 2  # passes\nrate: float = 0.5  # step\ndata: str = ""  # file\n'
        "fast: bool = True  # or slow\nsizes: list = [1, 2]  # layers",
    )
    write_notebook(folder, "01_broken", 'print("before")', "1 / 0", 'print("never")')
    begin = 'import time; print("begun", flush=True); time.sleep(1.2)'  # so long that it is saved
    write_notebook(folder, "02_slow", begin, "time.sleep(60)")
    write_notebook(folder, "03_dying", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(notebooks, "FOLDER", folder)
    return folder


@pytest.fixture
def command(collection):
    """Start the command line on the small notebooks, in a process of its own."""

    def start(*arguments, **options):
        code = (
            # A background job of a shell ignores Ctrl-C, and would hand that on.
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "import sys, pathlib; from kerasaid.runs import notebooks;"
            f"notebooks.FOLDER = pathlib.Path({str(collection)!r});"
            "from kerasaid.runs.__main__ import main; sys.exit(main(sys.argv[1:]))"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **options,
        )

    return start


@pytest.fixture
def root():
    return Path(__file__).resolve().parent.parent
