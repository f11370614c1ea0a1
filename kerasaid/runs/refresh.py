"""Execute the notebooks again and store them in one normal form.

    python -m kerasaid.runs.refresh [NN ...]

Stored are outputs, execution counts 1..n, stable cell ids, and the measured time and memory;
nothing that changes by itself from one run to the next: no timestamps, no widget state, no
stderr. The tables of times in the README and in each notebook follow from what is stored.
"""

import hashlib
import re
import sys
import threading
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from kerasaid.environment import ROOT
from kerasaid.errors import InputError
from kerasaid.runs import engine, execute, notebooks, record

_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_CELL_METADATA = ("tags", "jupyter")


def refresh(path, measure=True):
    """Execute a notebook in its own folder and write it back in its normal form.

    Args:
        path: the notebook.
        measure: also store how long it took and its peak memory.

    Raises:
        ValueError: when a cell writes to stderr, which must not be stored.
        nbclient.exceptions.CellExecutionError: when a cell raises.
    """
    path = Path(path)
    node = nbformat.read(path, as_version=4)
    measured = dict(node.metadata.get("kerasaid", {}))
    client = NotebookClient(
        node,
        timeout=engine.CELL_TIMEOUT,
        **engine.CLIENT,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.monotonic()
    with execute.without_progress(), _PeakMemory() as peak:
        client.execute()
    seconds = time.monotonic() - start
    if measure:
        new = {"seconds": round(seconds), "peak_memory_mb": round(peak.megabytes / 10) * 10}
        if _differs(measured, new):
            measured = new
    write(normalise(node, measured), path)


def normalise(node, measured=None):
    """Return the notebook as it is stored; the same notebook gives the same text."""
    count = 0
    for number, cell in enumerate(node.cells):
        cell.metadata = {k: cell.metadata[k] for k in _CELL_METADATA if k in cell.metadata}
        if not re.fullmatch(r"[a-z][a-z0-9-]{2,40}", cell.get("id", "")) or _is_random(cell.id):
            cell.id = _stable_id(cell, number)
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.execution_count = count
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                raise ValueError(f"cell {number} writes to stderr: {output.text.strip()[:200]}")
            if output.output_type == "display_data" and not output.data:
                continue  # what an emptied progress line leaves
            output.get("metadata", {}).get("kerasaid", {}).pop("environment", None)
            if "execution_count" in output:
                output.execution_count = count
            kept.append(output)
        cell.outputs = kept
    _number_repeated_ids(node.cells)
    node.metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    if measured:
        node.metadata["kerasaid"] = measured
    node.nbformat, node.nbformat_minor = 4, 5
    return node


def write(node, path):
    """Write a notebook in its stored form."""
    nbformat.validate(node)
    record.write_atomically(path, nbformat.writes(node, indent=1) + "\n")


def readme_table():
    """Return the README's table of notebooks, from what the notebooks hold."""
    rows = ["| notebook | question | time | memory |", "|---|---|---:|---:|"]
    for notebook in _measured():
        question = re.search(r"^\*\*(.+?)\*\*", notebook.node.cells[0].source, re.MULTILINE)[1]
        rows.append(
            f"| [{notebook.number} {notebook.title}](notebooks/{notebook.slug}.ipynb) "
            f"| {question} | {notebook.seconds} s | {notebook.peak_memory_mb} MB |"
        )
    return "\n".join(rows)


def update_times():
    """Write the measured times into the README's table and each notebook's first cell."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    table = f"<!-- notebooks -->\n{readme_table()}\n<!-- end -->"
    new = re.sub(r"<!-- notebooks -->.*?<!-- end -->", lambda _: table, text, flags=re.DOTALL)
    if new != text:
        record.write_atomically(readme, new)
    for notebook in _measured():
        first = notebook.node.cells[0]
        line = f"*Time:* {notebook.seconds} s on two cores."
        source = re.sub(r"\*Time:\* \d+ s on two cores\.", line, first.source)
        if source != first.source:
            first.source = source
            write(notebook.node, notebook.path)


def _measured():
    """Return the notebooks that have been executed here; one that is being written has not."""
    return [notebook for notebook in notebooks.all_notebooks() if notebook.seconds]


def _differs(old, new):
    """Whether a measurement moved by more than the noise of a busy machine."""
    return any(key not in old or abs(new[key] - old[key]) > 0.25 * max(old[key], 4) for key in new)


def _is_random(cell_id):
    """Whether an id looks like those that editors draw: eight hexadecimal digits, or a UUID."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){0,4}(-?[0-9a-f]*)", cell_id) is not None


def _stable_id(cell, number):
    """Return an id made once from what the cell holds, and kept from then on."""
    digest = hashlib.sha256(f"{number}\0{cell.source}".encode()).hexdigest()
    return f"cell-{digest[:8]}"


def _number_repeated_ids(cells):
    seen = set()
    for number, cell in enumerate(cells):
        if cell.id in seen:
            cell.id = _stable_id(cell, number)
        seen.add(cell.id)


class _PeakMemory:
    """Measures the highest memory of this process' children while it is open."""

    def __enter__(self):
        self.megabytes, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)
        self._thread.start()
        return self

    def _measure(self):
        while not self._done.wait(0.1):
            self.megabytes = max(self.megabytes, execute.memory_of_children())

    def __exit__(self, *problem):
        self._done.set()
        self._thread.join()


def main(names):
    """Refresh the named notebooks, or all, with their solutions."""
    chosen = [notebooks.find(name) for name in names] or notebooks.all_notebooks()
    for notebook in chosen:
        solution = notebooks.FOLDER / "solutions" / notebook.path.name
        for path in filter(Path.exists, (notebook.path, solution)):
            print(f"{path.relative_to(ROOT)} ...", end=" ", flush=True)
            start = time.monotonic()
            refresh(path, measure=path == notebook.path)
            print(f"{time.monotonic() - start:.0f} s")
    update_times()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"refresh: {error}")
