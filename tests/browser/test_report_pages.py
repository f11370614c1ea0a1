"""Pages in a real browser: no request, nothing runs, nothing on the console, no barrier.

Skipped where the browser or its tools are missing; `python tests/browser/set_up.py` installs them.
To keep pictures of what was seen, name a folder in KERASAID_SCREENSHOTS.
"""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "runs")]

import set_up  # noqa: E402
from test_compare import better, write_run  # noqa: E402
from test_pages import add_hostile_cells  # noqa: E402
from test_vary import record_of  # noqa: E402

from kerasaid import environment  # noqa: E402
from kerasaid.runs import compare, differences, history, notebooks, pages, record, vary  # noqa: E402

pytestmark = pytest.mark.skipif(bool(set_up.missing()), reason=set_up.missing())


def look(folder, names, policy=True):
    """Open pages and return what the browser saw, a dict for each page, scheme and width."""
    given = {
        "modules": str(set_up.FOLDER / "node_modules"),
        "browser": set_up.browser(),
        "pages": [str(folder / name) for name in names],
        "policy": policy,
        "screenshots": os.environ.get("KERASAID_SCREENSHOTS"),
    }
    answer = subprocess.run(
        ["node", str(HERE / "look.js"), json.dumps(given)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def stored():
    """(record, node) of a real notebook, from what is stored: it is not executed."""
    notebook = notebooks.find("01")
    node = copy.deepcopy(notebook.node)
    metrics, claims, found = record.results_of(node)
    entry = {
        "version": record.VERSION,
        "notebook": notebook.slug,
        "title": notebook.title,
        "parameters": {"epochs": 10},
        "profile": None,
        "source_sha256": "",
        "started": "2026-01-31T12:00:00+00:00",
        "seconds": 45.0,
        "peak_memory_mb": 1660,
        "environment": {**environment.describe(), **(found or {})},
        "status": "complete",
        "error": None,
        "metrics": metrics,
        "claims": claims,
        "cells": [],
        "figures": [],
    }
    return entry, node


@pytest.fixture(scope="module")
def seen(stored, tmp_path_factory):
    """What the browser saw of every kind of page."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [compare.load(write_run(folder / "a"))]
    runs.append(compare.load(write_run(folder / "b", better)))
    entry, node = stored
    cells = [
        differences.Cell("01", number, cell.source, cell.outputs, [], True, "differs")
        for number, cell in enumerate(node.cells[:40])
        if cell.cell_type == "code"
    ]
    sizes = {"batch_size": [32, 128], "units": [16, 64]}
    several = [
        record_of({"batch_size": size, "units": units}, size / 160 + units / 640, size > 32, [0, 1])
        for size in sizes["batch_size"]
        for units in sizes["units"]
    ]
    made = {
        "index.html": pages.index_page([stored]),
        "notebook.html": pages.notebook_page(node, entry, in_report=True),
        "compare.html": compare.page(runs, compare.compare(runs)),
        "history.html": history.page(runs),
        "differences.html": differences.page(cells),
        "what_if.html": vary.what_if_page(several, sizes),
    }
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")
    return look(folder, made)


def test_pages_ask_for_nothing_and_the_console_is_silent(seen):
    assert [(each["requests"], each["said"]) for each in seen] == [([], [])] * 18


def test_every_picture_is_drawn(seen):
    assert sum(each["pictures"] for each in seen) > 30
    assert all(each["broken"] == 0 for each in seen)


def test_no_page_is_wider_than_the_window(seen):
    assert [each["file"] for each in seen if each["overflow"] > 0] == []


def test_axe_finds_no_barrier(seen):
    barriers = [
        (Path(each["file"]).name, each["scheme"], each["width"], found)
        for each in seen
        for found in each["violations"]
        if found["impact"] in ("serious", "critical")
    ]
    assert barriers == []


@pytest.mark.parametrize("policy", [True, False], ids=["as it is", "without its policy"])
def test_a_hostile_notebook_runs_nothing_and_asks_for_nothing(stored, tmp_path, policy):
    entry, node = copy.deepcopy(stored)
    node.cells = node.cells[:6]
    add_hostile_cells(node)
    (tmp_path / "hostile.html").write_text(pages.notebook_page(node, entry), "utf-8")
    for each in look(tmp_path, ["hostile.html"], policy):
        assert (each["requests"], each["said"], each["ran"], each["scripts"]) == ([], [], None, 0)
        assert each["file"].endswith("hostile.html")
