"""What holds for every test: notebooks run without network, and without a progress line.

Where cells differ from what is stored, nbval's run leaves a page that shows them side by side.
"""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent

# Kernels inherit these. `sitecustomize.py` in that folder closes the network for every Python.
_CLOSED = str(ROOT / "tests" / "no_network")
os.environ["KERASAID_PROGRESS"] = "off"
if _CLOSED not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [_CLOSED, os.environ.get("PYTHONPATH")])
    )


DIFFERENCES = ROOT / "reports" / "differences.html"
_SAY = pytest.StashKey()
_failed = {}  # from the id of a cell's test to the first line of what went wrong


def pytest_runtest_logreport(report):
    if report.failed:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(report.longrepr or report.when))
        said = re.search(r"^Cell \d+: (.+)$", text, re.MULTILINE)  # by nbval
        _failed[report.nodeid] = said[1] if said else text.strip().split("\n")[0]


def pytest_sessionfinish(session):
    cells = [item for item in session.items if hasattr(item, "cell")]  # those of nbval
    if not cells:
        return
    try:
        DIFFERENCES.unlink(missing_ok=True)  # of an earlier run
        if any(item.nodeid in _failed for item in cells):
            from kerasaid.runs import differences, record

            DIFFERENCES.parent.mkdir(exist_ok=True)
            record.write_atomically(DIFFERENCES, differences.page([_cell(item) for item in cells]))
            session.config.stash[_SAY] = f"stored and new outputs, side by side: {DIFFERENCES}"
    except Exception as error:  # it must not hide what the tests say
        session.config.stash[_SAY] = f"no page of what moved: {error}"


def pytest_terminal_summary(terminalreporter, config):
    if _SAY in config.stash:
        terminalreporter.write_line(config.stash[_SAY])


def _cell(item):
    from kerasaid.runs import differences

    before = item.parent.nb.cells[: item.parent.nb.cells.index(item.cell)]
    headings = re.findall(r"^#+ (.+)$", "\n".join(_prose(before)), re.MULTILINE)
    return differences.Cell(
        notebook=item.nodeid.partition("::")[0],
        number=item.cell_num,
        source=item.cell.source,
        stored=item.cell.outputs,
        new=item.test_outputs or [],
        failed=item.nodeid in _failed,
        reason=_failed.get(item.nodeid, ""),
        heading=headings[-1].strip() if headings else "",
        sanitise=dict(item.parent.sanitize_patterns),
    )


def _prose(cells):
    return [cell.source for cell in cells if cell.cell_type == "markdown"]
