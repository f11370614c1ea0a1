import copy
import re
from pathlib import Path

import hygiene
import nbformat
import pytest

from kerasaid.runs import notebooks, refresh

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
PATHS = [path for path in PATHS if ".ipynb_checkpoints" not in path.parts]


def read(path):
    return hygiene.Page(path, nbformat.read(path, as_version=4))


@pytest.mark.parametrize("rule", hygiene.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT / "notebooks")))
def test_every_notebook_keeps_every_rule(path, rule):
    assert list(rule(read(path))) == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT / "notebooks")))
def test_every_notebook_is_stored_in_its_normal_form(path):
    """As `make refresh` leaves it: counts, ids, metadata, no timestamps, no widget state."""
    node = nbformat.read(path, as_version=4)
    measured = node.metadata.get("kerasaid")
    normal = nbformat.writes(refresh.normalise(copy.deepcopy(node), measured), indent=1) + "\n"
    assert path.read_text(encoding="utf-8") == normal
    assert not any(refresh._is_random(cell.id) for cell in node.cells)


def test_there_are_notebooks_and_each_is_listed():
    listed = {notebook.path for notebook in notebooks.all_notebooks()}
    assert listed == {path for path in PATHS if path.parent.name == "notebooks"}
    assert len(listed) >= 2


def test_the_times_shown_are_the_times_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- notebooks -->\n{refresh.readme_table()}\n<!-- end -->" in readme
    for notebook in notebooks.all_notebooks():
        assert f"*Time:* {notebook.seconds} s on two cores." in notebook.node.cells[0].source


def cell_of(page, cell_id):
    return next(cell for cell in page.node.cells if cell.id == cell_id)


def output_of(page, start):
    return next(o for _, o in page.outputs if hygiene.text_of(o).startswith(start))


def replace(cell_id, old, new):
    def change(page):
        cell = cell_of(page, cell_id)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return change


def tag(cell_id, *names):
    return lambda page: cell_of(page, cell_id).metadata.update(tags=list(names))


def add_output(cell_id, *outputs):
    return lambda page: cell_of(page, cell_id).outputs.extend(outputs)


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def data(**kinds):
    kinds = {name.replace("_", "/", 1): value for name, value in kinds.items()}
    return nbformat.v4.new_output("display_data", kinds)


def strip_outputs(page):
    for cell in page.code:
        cell.outputs, cell.execution_count = [], None


def fragile(page):
    claim = output_of(page, "✓").metadata["kerasaid"]["claim"]
    claim.update(margin=0.5, margin_unit="sd")


def undescribed(page):
    output_of(page, "The first ten training").metadata = {}


def traceback(page):
    next(o for _, o in page.outputs if o.output_type == "error").traceback = ["a", "b"]


BROKEN = {
    "headings": [
        replace("section-signs", "## The signs", "# The signs"),
        replace("section-signs", "## The signs", "#### The signs"),
        replace("title", "# Start here", "Start here"),
    ],
    "opening": [
        replace("title", "**Does everything", "Does everything"),
        replace("title", "*Know first:*", ""),
        replace("title", "*Next:*", ""),
    ],
    "links": [
        replace(
            "about-model",
            "This kind of network",
            "![x](https://example.org/x.png) This kind of network",
        ),
        replace("title", "01_mnist_dense.ipynb", "99_missing.ipynb"),
        replace("about-model", "This kind of network", '<img src="x.png"> A network'),
    ],
    "parameters": [
        replace("parameters", "epochs: int = 3", "epochs = 3"),
        replace("parameters", "  # how often the network sees every training image", ""),
        replace("parameters", "epochs: int", "# profile long: passes=20\nepochs: int"),
        replace("parameters", "epochs: int", "# profile long epochs=20\nepochs: int"),
        tag("parameters"),
        tag("load", "parameters"),
    ],
    "start": [
        replace("imports", "import kerasaid\n", "import keras\nimport kerasaid\n"),
        tag("imports"),
    ],
    "nothing_skipped": [
        tag("load", "nbval-skip"),
        tag("load", "nbval-ignore-output"),
        tag("load", "raises-exception"),
        tag("section-signs", "nbval-skip"),
        replace("load", "print", "# NBVAL_IGNORE_OUTPUT\nprint"),
        replace("load", "print", "!ls\nprint"),
    ],
    "executed": [
        strip_outputs,
        lambda page: cell_of(page, "load").update(execution_count=None),
        lambda page: cell_of(page, "load").update(execution_count=99),
    ],
    "compared": [strip_outputs, lambda page: output_of(page, "✓").data.update({"text/plain": ""})],
    "claims_hold": [add_output("claim", stream("✗ no")), fragile],
    "only_text_and_pictures": [
        add_output("load", stream("x", "stderr")),
        add_output("load", data(text_html="<b>x</b>")),
        add_output("load", data(application_javascript="x")),
        add_output("load", nbformat.v4.new_output("error", ename="ValueError", traceback=["x"])),
        traceback,
        lambda page: page.node.metadata.update(widgets={}),
    ],
    "described": [
        undescribed,
        lambda page: output_of(page, "The first ten training").data.update({"text/plain": "x"}),
    ],
    "numbers_marked": [
        add_output("load", stream("0.97")),
        add_output("load", stream("1875/1875 - 3s 2ms/step")),
        add_output("load", stream("✓ c (0.5, at least 0.1)")),
    ],
    "none_typed": [
        replace("about-model", "This kind of network", "It reaches 97.9 %. This kind of network"),
        replace("about-model", "This kind of network", "It reaches ≈ 98. This kind of network"),
        replace("about-model", "This kind of network", "An accuracy of 98. This kind of network"),
        replace("about-model", "This kind of network", "It takes 0.058. This kind of network"),
    ],
    "named": [replace("model", ', name="hidden"', ""), replace("model", ', name="pixels"', "")],
    "quiet_training": [
        replace("fit", "verbose=0", "verbose=2"),
        replace("fit", "verbose=0, ", ""),
    ],
    "small_cells": [
        lambda page: cell_of(page, "load").update(source="x = 1\n" * 21),
        lambda page: [cell_of(page, c).update(source="x = 1\n" * 13) for c in ("load", "look")],
    ],
    "exercises": [
        replace("check-1", "0.75", "0.5"),
        tag("check-1", "check-1"),
        tag("check-1", "check-2", "raises-exception"),
        tag("exercise-1"),
        replace("section-exercise", "<details>", ""),
    ],
    "closing": [replace("section-remember", "## What to remember", "## Bye")],
}


def test_every_rule_is_tried_on_broken_notebooks():
    assert list(BROKEN) == [rule.__name__ for rule in hygiene.RULES]


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        pytest.param(rule, change, id=f"{rule.__name__}-{number}")
        for rule in hygiene.RULES
        for number, change in enumerate(BROKEN[rule.__name__])
    ],
)
def test_every_rule_finds_what_breaks_it(rule, change):
    page = read(ROOT / "notebooks" / "00_start_here.ipynb")
    change(page)
    fresh = hygiene.Page(page.path, page.node)  # nothing cached
    assert list(rule(fresh)) != []


def test_prose_numbers_that_are_no_results_are_allowed():
    page = read(ROOT / "notebooks" / "00_start_here.ipynb")
    cell = cell_of(page, "about-model")
    cell.source = "With probability 0.2, 28 × 28 pixels, 95 % intervals, `0.123`, $0.123$."
    assert list(hygiene.none_typed(page)) == []


def test_the_sources_have_no_traces_of_a_machine():
    """No absolute path of somebody's home, and no index address."""
    for path in [*PATHS, ROOT / "README.md", ROOT / "requirements.txt"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"/(home|root|Users|tmp|work)/|--(extra-)?index-url|--find-links", text
        )
