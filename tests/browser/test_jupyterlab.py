"""JupyterLab in a real browser: open by clicking, run all, read, solve an exercise by typing.

Skipped where the browser or its tools are missing; `python tests/browser/set_up.py` installs them.
To keep pictures of what was seen, name a folder in KERASAID_SCREENSHOTS.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import set_up  # noqa: E402

from kerasaid.runs import notebooks  # noqa: E402

pytestmark = pytest.mark.skipif(bool(set_up.missing()), reason=set_up.missing())
NAMES = ("00_start_here.ipynb", "01_mnist_dense.ipynb")
# JupyterLab closes what is opened, and indents behind a colon by itself.
EXERCISE = {
    "notebook": "00_start_here.ipynb",
    "stub": "def share_correct",
    "check": "three of four are right",
    "answer": "def share_correct(answers, labels):\nreturn np.mean(answers == labels)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the notebooks, so that what is saved harms nothing."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(notebooks.FOLDER / name, folder)
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    """What the browser saw, while it worked as a learner does."""
    home = folder.parent / "jupyter"
    places = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "RUNTIME")}
    places |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "s"), "JUPYTERLAB_WORKSPACES_DIR": str(home)}
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", "--ServerApp.port_retries=0"]
    log = (folder.parent / "lab.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"],
        env={**os.environ, **places},
        stdout=log,
        stderr=log,
    )
    try:
        given = {
            "modules": str(set_up.FOLDER / "node_modules"),
            "browser": set_up.browser(),
            "url": _address(home / "runtime", server),
            "notebooks": NAMES,
            "exercise": EXERCISE,
            "screenshots": os.environ.get("KERASAID_SCREENSHOTS"),
        }
        answer = subprocess.run(
            ["node", str(HERE / "lab.js"), json.dumps(given)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=600,
        )
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _address(runtime, server):
    """Wait until the server has written where it listens."""
    for _ in range(120):
        for file in runtime.glob("jpserver-*.json"):
            found = json.loads(file.read_text())
            return f"{found['url']}lab?token={found['token']}"
        assert server.poll() is None, "jupyter lab ended by itself; see lab.log"
        time.sleep(0.5)
    raise AssertionError("jupyter lab did not start within a minute")


def test_all_cells_run_and_only_open_exercises_raise(seen, folder):
    for name in NAMES:
        for cell in nbformat.read(folder / name, as_version=4).cells:
            if cell.cell_type == "code":
                errors = [out for out in cell.outputs if out.output_type == "error"]
                allowed = "raises-exception" in cell.metadata.get("tags", [])
                assert cell.execution_count and (allowed or not errors), cell.source


def test_every_figure_is_visible(seen):
    for each in seen["seen"]:
        stored = json.dumps(notebooks.find(each["name"][:2]).node).count('"image/png": "')
        assert each["pictures"] == stored > 0, each["name"]


def test_the_contents_hold_every_heading(seen):
    for each in seen["seen"]:
        node = notebooks.find(each["name"][:2]).node
        text = "\n".join(cell.source for cell in node.cells if cell.cell_type == "markdown")
        wanted = re.findall(r"^#{1,3} (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
        assert [" ".join(heading.split()) for heading in each["headings"]] == [
            " ".join(h.replace("`", "").split()) for h in wanted
        ]


def test_an_exercise_turns_from_an_error_to_a_pass(seen):
    assert "CheckFailed: ✗ three of four are right" in seen["before"] and "✓" not in seen["before"]
    assert "✓" in seen["after"] and "Error" not in seen["after"]


def test_nothing_leaves_this_machine_and_the_dark_theme_is_dark(seen):
    assert (seen["outside"], seen["failed"], seen["dark"]) == ([], [], True)
