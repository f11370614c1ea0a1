"""One run of one notebook: papermill executes a copy, and a record says how it went."""

import datetime
import hashlib
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from filelock import FileLock, Timeout

from kerasaid import environment
from kerasaid.errors import InputError
from kerasaid.runs import figures, notebooks, pages, record
from kerasaid.runs.screen import ANSI, Nobody

LOCK = ".lock"


class Interrupted(Exception):
    """The run was stopped by Ctrl-C or a termination signal; its record says so."""


@dataclass
class Control:
    """What a run and those around it tell each other.

    Args:
        watch: told what happens, as `kerasaid.runs.screen.Nobody` lists it.
        stop: an event (`is_set`); once it is set, the run ends its kernel.
        threads: how many threads the kernel may compute with; None for all there are.
        cwd: the kernel's current folder; None for that of this process.
    """

    watch: object = field(default_factory=Nobody)
    stop: object = None
    threads: int | None = None
    cwd: str | None = None
    kernel: psutil.Process | None = None
    cell: str | None = None  # the id of the last one that was begun
    environment: dict = field(default_factory=dict)

    @property
    def options(self):
        """What else the kernel is started with."""
        return {"cwd": self.cwd} if self.cwd else {}


def run(notebook, parameters, folder, profile=None, in_report=False, control=None):
    """Execute a copy of a notebook and write its record, notebook, page and figures into a folder.

    Args:
        notebook: a `kerasaid.runs.notebooks.Notebook`.
        parameters: values by name, as `Notebook.parse` returns them.
        folder: where the files go; made when it is not there.
        profile: the name of the profile that the parameters began with, for the record.
        in_report: link the page to the index page in the folder above.
        control: a `Control`; without one, Ctrl-C and SIGTERM stop the run.

    Returns:
        The record, a dict; its status is "complete" or "failed".

    Raises:
        InputError: when the folder cannot be used, another run writes into it, or the notebook
            refuses its parameters. The folder is then as it was before.
        Interrupted: after the record has been written with the status "interrupted".
        OSError: when the disk is full; the record then says "interrupted".
    """
    control = control or Control()
    if control.stop is None:
        with stop_requests() as control.stop:
            return run(notebook, parameters, folder, profile, in_report, control)
    with writing_into(folder) as folder:
        return _run(notebook, parameters, folder, profile, in_report, control)


def _run(notebook, parameters, folder, profile, in_report, control):
    before = _bytes(folder / record.NAME)
    entry = new_record(notebook, parameters, profile)
    working = Path(tempfile.mkdtemp(dir=folder, prefix=".running-"))
    (working / "drawn").mkdir()
    control.environment = _kernel_environment(working / "drawn", control.threads)
    try:
        record.write(folder, entry)
        node, error = _execute(notebook, parameters, working, entry, control)
        if error is not None and error[1] == "InputError" and parameters:
            raise InputError(error[2])
        entry["metrics"], entry["claims"], found = record.results_of(node)
        entry["environment"].update(found or {})
        if control.threads:
            entry["environment"]["threads"] = control.threads
        if error is not None:
            place, name, message = error
            entry["error"] = f"{place}: {name}: {message}"
        interrupted = error is not None and error[1] == "Interrupted"
        entry["status"] = (
            "interrupted" if interrupted else "complete" if error is None else "failed"
        )
        entry["cells"] = _seconds_by_cell(node)
        entry["figures"] = figures.save(node, working / "drawn", working)
        # The record last: where it says complete, all the rest is there.
        replace_figures(folder, working)
        record.write_atomically(folder / f"{notebook.slug}.ipynb", nbformat.writes(node) + "\n")
        page = pages.notebook_page(node, entry, in_report)
        record.write_atomically(folder / f"{notebook.slug}.html", page)
        record.write(folder, entry)
        if interrupted:
            raise Interrupted(f"{notebook.slug}: interrupted in {error[0]}")
    except InputError:
        if before is None:
            (folder / record.NAME).unlink(missing_ok=True)
        else:
            record.write_atomically(folder / record.NAME, before)
        raise
    finally:
        shutil.rmtree(working, ignore_errors=True)
        control.watch.close()
    return entry


def new_record(notebook, parameters, profile=None):
    """Return the record of a run that begins now; should it be killed, it says interrupted."""
    return {
        "version": record.VERSION,
        "notebook": notebook.slug,
        "title": notebook.title,
        "parameters": parameters,
        "profile": profile,
        "source_sha256": source_hash(notebook),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": None,
        "peak_memory_mb": None,
        "environment": environment.describe(),
        "status": "interrupted",
        "error": None,
        "metrics": [],
        "claims": [],
        "cells": [],
        "figures": [],
    }


def _bytes(path):
    """Return what a file holds, also where it is damaged; None where there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _kernel_environment(drawn, threads):
    """Return the environment variables of a recorded run's kernel."""
    found = {"KERASAID_PROGRESS": "off", "KERASAID_FIGURES": str(drawn)}
    if threads:
        # Libraries read their own: TensorFlow's pools, its Eigen and oneDNN, NumPy's, and SciPy's.
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        names += ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        found.update(dict.fromkeys(names, str(threads)))
    return found


def replace_figures(folder, working):
    """Put the new figures, in a folder within the run's, where those of an earlier run are."""
    new, place = Path(working) / figures.FOLDER, Path(folder) / figures.FOLDER
    if place.exists():
        place.rename(Path(working) / "earlier")
    if new.exists():
        new.rename(place)


def _seconds_by_cell(node):
    found = []
    for cell in _own_code(node):
        seconds = cell.metadata.get("papermill", {}).get("duration")
        if seconds is not None:
            found.append({"id": cell.get("id"), "seconds": round(seconds, 3)})
    return found


def source_hash(notebook):
    """Return a hash of the notebook's source cells, which its outputs do not change."""
    sources = "\0".join(f"{cell.cell_type}\0{cell.source}" for cell in notebook.node.cells)
    return hashlib.sha256(sources.encode("utf-8")).hexdigest()


@contextmanager
def writing_into(folder):
    """Within it, no other run and no other report writes into a folder; gives its whole path.

    The operating system holds the lock, so a process that is killed leaves none behind.

    Raises:
        InputError: when the folder cannot be used, or somebody else writes into it. It is then as
            it was before, and also after an InputError from within.
    """
    folder = Path(folder).absolute()
    made = _make_folder(folder)
    lock = FileLock(folder / LOCK)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"another run writes into {folder}; wait for it, or name another folder with --out."
            ) from None
        try:
            for left in folder.glob(".running-*"):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            yield folder
        finally:
            if os.name == "posix":  # elsewhere the lock removes its file itself
                (folder / LOCK).unlink(missing_ok=True)
            lock.release()
    except InputError:
        if made:
            _remove_empty(folder, made)
        raise


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
        raise InputError(
            f"{folder} cannot be written: {error.strerror}; name another folder with --out."
        ) from None
    return made


def _remove_empty(folder, top):
    """Remove a folder and those above it up to `top`, as far as they are empty."""
    for path in [folder, *folder.parents]:
        with suppress(OSError):
            path.rmdir()
        if path == top:
            return


def _execute(notebook, parameters, working, entry, control):
    """Run papermill in a thread; return the executed notebook and (place, name, message).

    In a thread, because papermill's client takes Ctrl-C for itself in the main one; here the
    caller's thread measures memory, hears that it shall stop, and ends the kernel.
    """
    target = working / "notebook.ipynb"
    outcome, done = {}, threading.Event()

    def work():
        try:
            from kerasaid.runs import engine  # papermill is slow to import

            outcome["node"] = engine.execute(notebook.path, target, parameters, control)
        except BaseException as problem:
            outcome["problem"] = problem
        finally:
            done.set()

    start, peak = time.monotonic(), 0.0
    threading.Thread(target=work, daemon=True).start()
    while not done.wait(0.1):
        if control.kernel is None:
            continue
        family = _family(control.kernel)
        peak = max(peak, _memory_of(family))
        if control.stop.is_set():
            _end(family)
    interrupted = control.stop.is_set()
    entry["seconds"] = round(time.monotonic() - start, 2)
    entry["peak_memory_mb"] = round(peak)
    node = outcome.get("node") or _read_partial(target, notebook.path)
    if interrupted and "node" not in outcome:
        return node, (_cell(node, cell_id=control.cell), "Interrupted", "stopped by the user")
    problem = outcome.get("problem")
    if problem is None:
        return node, None
    if hasattr(problem, "ename"):  # a cell raised
        place = _cell(node, problem.exec_count)
        first_line = ANSI.sub("", problem.evalue).strip().split("\n")[0]
        return node, (place, problem.ename, first_line)
    message = str(problem).strip().split("\n")[0]
    if type(problem).__name__ == "DeadKernelError":
        message = "the kernel died, which is what happens when memory runs out or it is killed"
    return node, (_cell(node, cell_id=control.cell), type(problem).__name__, message)


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


def _cell(node, execution_count=None, cell_id=None):
    """Return "code cell 3 of 20" for the one with an execution count or an id."""
    if execution_count is None and cell_id is None:
        return "the start"
    cells = _own_code(node)
    for number, cell in enumerate(cells, start=1):
        if cell.get("id") == cell_id or (
            cell_id is None and cell.execution_count == execution_count
        ):
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
    """Return the resident memory of this process' descendants, in MB."""
    return _memory_of(_family(psutil.Process())[1:])


def _family(process):
    """Return a process and its descendants, those that are still there."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _memory_of(processes):
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total / 1e6


def _end(processes):
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


@contextmanager
def stop_requests():
    """Within it, Ctrl-C and SIGTERM set the event that it gives; in the main thread only.

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
