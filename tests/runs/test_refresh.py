import copy

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kerasaid.runs import refresh


def messy():
    """A notebook as an editor leaves it."""
    node = new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("1"), new_code_cell("2")])
    node.metadata.update(widgets={"x": 1}, toc={}, papermill={"start_time": "now"})
    node.cells[0].id = "title"
    node.cells[1].update(id="0a1b2c3d", execution_count=17)
    node.cells[1].metadata.update(tags=["parameters"], execution={"iopub.status.busy": "now"})
    node.cells[1].outputs = [new_output("execute_result", {"text/plain": "1"}, execution_count=17)]
    node.cells[2].update(id="f" * 8 + "-aaaa-4bbb-8ccc-" + "d" * 12, execution_count=None)
    node.cells[2].outputs = [new_output("display_data", {})]
    return node


def test_the_normal_form_keeps_nothing_that_changes_by_itself():
    found = refresh.normalise(messy(), {"seconds": 3})
    assert [c.get("execution_count") for c in found.cells] == [None, 1, 2]
    assert found.cells[1].outputs[0].execution_count == 1
    assert found.cells[1].metadata == {"tags": ["parameters"]}
    assert found.cells[2].outputs == []
    assert set(found.metadata) == {"kernelspec", "language_info", "kerasaid"}
    assert found.cells[0].id == "title"
    assert all(cell.id.startswith("cell-") for cell in found.cells[1:])
    nbformat.validate(found)


def test_the_machine_is_not_stored():
    node = messy()
    shown = new_output("display_data", {"text/plain": "Python"})
    shown.metadata = {"kerasaid": {"environment": {"commit": "abc"}}}
    node.cells[1].outputs = [shown]
    assert "commit" not in str(refresh.normalise(node))


def test_the_normal_form_is_stable():
    once = refresh.normalise(messy())
    assert refresh.normalise(copy.deepcopy(once)) == once
    assert refresh.normalise(messy()) == once


def test_ids_that_repeat_are_made_different():
    node = messy()
    node.cells[1].id = node.cells[2].id = "same"
    found = refresh.normalise(node)
    assert len({cell.id for cell in found.cells}) == 3


def test_stderr_is_refused():
    node = messy()
    node.cells[1].outputs = [new_output("stream", name="stderr", text="a warning")]
    with pytest.raises(ValueError, match="cell 1 writes to stderr: a warning"):
        refresh.normalise(node)


def test_refresh_executes_and_measures(collection):
    path = collection / "00_tiny.ipynb"
    refresh.refresh(path)
    first = path.read_text("utf-8")
    node = nbformat.read(path, as_version=4)
    assert node.cells[2].outputs[1].data["text/plain"].startswith("✓ it is large")
    assert node.cells[3].outputs[0].ename == "CheckFailed"
    assert node.metadata["kerasaid"]["peak_memory_mb"] > 0
    refresh.refresh(path, measure=False)
    assert path.read_text("utf-8") == first


def test_a_time_is_rewritten_only_when_it_moved_by_more_than_noise():
    assert refresh._differs({}, {"seconds": 4})
    assert not refresh._differs({"seconds": 40}, {"seconds": 49})
    assert refresh._differs({"seconds": 40}, {"seconds": 51})
    assert not refresh._differs({"seconds": 4}, {"seconds": 5})


def test_a_notebook_that_was_never_executed_is_not_in_the_table(collection):
    assert "00_tiny" not in refresh.readme_table()
    refresh.refresh(collection / "00_tiny.ipynb")
    table = refresh.readme_table()
    assert "00_tiny" in table and "02_slow" not in table and "None" not in table
