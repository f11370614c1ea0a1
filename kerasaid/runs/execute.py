"""One run of one notebook: papermill executes a copy, and a record says how it went."""

import datetime
import hashlib
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil

from kerasaid import environment
from kerasaid.errors import InputError
from kerasaid.runs import notebooks, pages, record

CLIENT = {
    "kernel_name": "python3",
    "coalesce_streams": True,
    # ipykernel warns about unencrypted TCP at every start; here it is the loopback address.
    "extra_arguments": ["--IPKernelApp.log_level=50"],
}
CELL_TIMEOUT = 1_800  # seconds; a cell that takes longer hangs
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Interrupted(Exception):
    """The run was stopped by Ctrl-C or a termination signal; its record says so."""


def run(notebook, parameters, folder, show_progress=None, in_report=False):
    """Execute a copy of a notebook and write its record, notebook and page into a folder.

    Args:
        notebook: a `kerasaid.runs.notebooks.Notebook`.
        parameters: values by name, as `Notebook.parse` returns them.
        folder: where the three files go; made when it is not there.
        show_progress: show a line with the cells done; by default where stderr is a terminal.
        in_report: link the page to the index page in the folder above.

    Returns:
        The record, a dict; its status is "complete" or "failed".

    Raises:
        InputError: when the folder cannot be used, or the notebook refuses its parameters. The
            folder is then as it was before.
        Interrupted: after the record has been written with the status "interrupted".
    """
    if show_progress is None:
        show_progress = sys.stderr.isatty()
    folder = Path(folder).absolute()
    made = _make_folder(folder)
    before = record.read(folder)
    entry = {
        "notebook": notebook.slug,
        "title": notebook.title,
        "parameters": parameters,
        "source_sha256": source_hash(notebook),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": None,
        "peak_memory_mb": None,
        "environment": environment.describe(),
        "status": "interrupted",  # what it will say if this process is killed from here on
        "error": None,
        "metrics": [],
        "claims": [],
    }
    working = Path(tempfile.mkdtemp(dir=folder, prefix=".running-"))
    try:
        record.write(folder, entry)
        node, error = _execute(notebook, parameters, working, entry, show_progress)
        if error is not None and error[1] == "InputError" and parameters:
            raise InputError(error[2])
        entry["metrics"], entry["claims"], found = record.results_of(node)
        entry["environment"].update(found or {})
        if error is not None:
            place, name, message = error
            entry["error"] = f"{place}: {name}: {message}"
        interrupted = error is not None and error[1] == "Interrupted"
        entry["status"] = (
            "interrupted" if interrupted else "complete" if error is None else "failed"
        )
        # The record last: where it says complete, notebook and page are there.
        record.write_atomically(folder / f"{notebook.slug}.ipynb", nbformat.writes(node) + "\n")
        page = pages.notebook_page(node, entry, in_report)
        record.write_atomically(folder / f"{notebook.slug}.html", page)
        record.write(folder, entry)
        if interrupted:
            raise Interrupted(f"{notebook.slug}: interrupted in {error[0]}")
    except InputError:
        shutil.rmtree(working, ignore_errors=True)
        _restore(folder, before, made)
        raise
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return entry


def source_hash(notebook):
    """Return a hash of the notebook's source cells, which its outputs do not change."""
    sources = "\0".join(f"{cell.cell_type}\0{cell.source}" for cell in notebook.node.cells)
    return hashlib.sha256(sources.encode("utf-8")).hexdigest()


def _make_folder(folder):
    """Make a folder for results; return the topmost folder that was made, or None."""
    sources = notebooks.FOLDER
    made, parent = None, folder
    try:
        if folder.resolve() == sources or sources in folder.resolve().parents:
            raise InputError(f"--out {folder} lies among the sources; name one outside {sources}.")
        while not parent.exists():
            made, parent = parent, parent.parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if made:
            _remove_empty(folder, made)
        raise InputError(f"--out {folder} cannot be written: {error.strerror}.") from None
    return made


def _remove_empty(folder, top):
    """Remove a folder and those above it up to `top`, as far as they are empty."""
    for path in [folder, *folder.parents]:
        with suppress(OSError):
            path.rmdir()
        if path == top:
            return


def _restore(folder, before, made):
    if before is not None:
        record.write(folder, before)
    else:
        (folder / record.NAME).unlink(missing_ok=True)
    if made:
        _remove_empty(folder, made)


def _execute(notebook, parameters, working, entry, show_progress):
    """Run papermill in a thread; return the executed notebook and (place, name, message).

    In a thread, because papermill's client takes Ctrl-C for itself in the main one; here the
    main thread measures memory, hears Ctrl-C, and ends the kernel.
    """
    target = working / "notebook.ipynb"
    outcome, done = {}, threading.Event()

    def work():
        try:
            outcome["node"] = _papermill(notebook.path, target, parameters, show_progress)
        except BaseException as problem:
            outcome["problem"] = problem
        finally:
            done.set()

    start, peak = time.monotonic(), 0.0
    others = set(psutil.Process().children(recursive=True))
    with _stop_requests() as stopped, without_progress():
        threading.Thread(target=work, daemon=True).start()
        while not done.wait(0.1):
            peak = max(peak, memory_of_children())
            if stopped.is_set():  # also a kernel that started only now
                _end(set(psutil.Process().children(recursive=True)) - others)
    interrupted = stopped.is_set()
    entry["seconds"] = round(time.monotonic() - start, 2)
    entry["peak_memory_mb"] = round(peak)
    node = outcome.get("node") or _read_partial(target, notebook.path)
    if interrupted:
        return node, (_place(node), "Interrupted", "stopped by the user")
    problem = outcome.get("problem")
    if problem is None:
        return node, None
    if hasattr(problem, "ename"):  # a cell raised
        place = _cell(node, problem.exec_count)
        first_line = _ANSI.sub("", problem.evalue).strip().split("\n")[0]
        return node, (place, problem.ename, first_line)
    message = str(problem).strip().split("\n")[0]
    if type(problem).__name__ == "DeadKernelError":
        message = "the kernel died, which is what happens when memory runs out or it is killed"
    return node, (_place(node), type(problem).__name__, message)


def _papermill(source, target, parameters, show_progress):
    import warnings

    import papermill
    from papermill.engines import NBClientEngine, papermill_engines

    class KeepGoing(NBClientEngine):
        """Turns the error of a cell tagged `raises-exception` into text once all has run.

        Such a cell is the check of an exercise that is not solved yet. papermill executes what
        follows it, but afterwards takes its error for a failure of the notebook.
        """

        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **options):
            super().execute_managed_notebook(nb_man, kernel_name, **options)
            for cell in nb_man.nb.cells:
                if "raises-exception" in cell.metadata.get("tags", []):
                    cell.outputs = [_as_text(output) for output in cell.outputs]

    papermill_engines.register("kerasaid", KeepGoing)
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it says, the record says
    bar = {"desc": source.stem, "leave": False, "file": sys.stderr} if show_progress else False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries around the notebook, not of its cells
        return papermill.execute_notebook(
            notebooks.as_template(source),
            notebooks.as_template(target),
            parameters=parameters,
            engine_name="kerasaid",
            progress_bar=bar,
            execution_timeout=CELL_TIMEOUT,
            **CLIENT,
        )


def _as_text(output):
    if output.output_type != "error":
        return output
    return nbformat.v4.new_output("stream", name="stdout", text=f"{output.evalue}\n")


def _read_partial(target, source):
    """Return what papermill saved so far, or the source without outputs where it saved nothing."""
    try:
        return nbformat.read(target, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError):
        node = nbformat.read(source, as_version=4)
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    return node


def _place(node):
    """Return the last code cell that was begun, in words.

    Its status is no help: papermill calls a cell in which the kernel died completed.
    """
    begun = [
        cell
        for cell in _own_code(node)
        if cell.metadata.get("papermill", {}).get("status", "pending") != "pending"
    ]
    return _cell(node, cell=begun[-1]) if begun else "the start"


def _cell(node, execution_count=None, cell=None):
    """Return "code cell 3 of 20" for a cell, or for the one with an execution count."""
    cells = _own_code(node)
    for number, candidate in enumerate(cells, start=1):
        if candidate is cell or (cell is None and candidate.execution_count == execution_count):
            return f"code cell {number} of {len(cells)}"
    return "the given parameters"


def _own_code(node):
    """Return the code cells of a notebook, less the one that papermill puts in."""
    return [
        cell
        for cell in node.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]


@contextmanager
def without_progress():
    """Within it, kernels that start show no progress lines."""
    before = os.environ.get("KERASAID_PROGRESS")
    os.environ["KERASAID_PROGRESS"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["KERASAID_PROGRESS"]
        else:
            os.environ["KERASAID_PROGRESS"] = before


def memory_of_children():
    """Return the resident memory of this process' descendants, in MB: the kernel's."""
    total = 0
    try:
        for child in psutil.Process().children(recursive=True):
            try:
                total += child.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        return 0.0
    return total / 1e6


def _end(processes):
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


@contextmanager
def _stop_requests():
    """Within it, Ctrl-C and SIGTERM set the event that it gives.

    An exception in the middle of a wait would leave the other thread running unseen: Python 3.11
    takes a thread for ended when its `join` is interrupted (python/cpython#90882).
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {
        number: signal.signal(number, lambda *received: stopped.set())
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup and a shell's & ask
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
