"""Runs on an existing Dask cluster, whose files come back to the caller's folder.

The workers have this project installed, at the same commit; the scheduler need not. Needs the
extra `dask`: `pip install -e ".[dask]"`.
"""

import hashlib
import io
import os
import shutil
import tempfile
import time
import uuid
import warnings
import zipfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from kerasaid import environment
from kerasaid.environment import ROOT
from kerasaid.errors import InputError
from kerasaid.runs import execute, notebooks, record

_CONNECT = 10  # seconds to wait for the scheduler


class Cluster:
    """A Dask cluster that is there already; a context manager.

    Args:
        address: of its scheduler, as `tcp://host:8786`.

    Raises:
        InputError: on entering, when `distributed` is not installed, no scheduler answers, there
            is no worker, or a worker lacks the project or has it at another commit.
    """

    def __init__(self, address):
        self.address = address
        self.slots = 1

    def __enter__(self):
        try:
            import distributed
        except ImportError:
            raise InputError(
                '--dask needs the package distributed; run: pip install -e ".[dask]"'
            ) from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # on versions, of which those that count are checked
                self._client = distributed.Client(
                    self.address, timeout=_CONNECT, set_as_default=False, name="kerasaid"
                )
        except (OSError, TimeoutError, ValueError) as error:
            line = str(error).split("\n")[0]
            raise InputError(f"--dask {self.address}: no scheduler answers ({line}).") from None
        try:
            self._check_workers()
        except BaseException:
            self._client.close()
            raise
        self._stop = distributed.Event(f"kerasaid-stop-{uuid.uuid4().hex}", self._client)
        return self

    def __exit__(self, *problem):
        self._client.close()

    def _check_workers(self):
        answers = self._client.run(_remotely("describe_project"), on_error="return")
        if not answers:
            raise InputError(f"--dask {self.address}: the cluster has no worker.")
        here = describe_project()
        for worker, there in answers.items():
            if isinstance(there, ImportError):
                problem = f"cannot import kerasaid ({there}); install the project there"
            elif isinstance(there, BaseException):
                problem = f"cannot answer ({type(there).__name__}: {there})"
            elif there != here:
                key = next(key for key in here if there.get(key) != here[key])
                problem = f"has another {key}: {there.get(key)}, here it is {here[key]}"
            else:
                continue
            raise InputError(f"--dask {self.address}: the worker {worker} {problem}.")
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        self.slots = sum(worker["nthreads"] for worker in workers)

    def run(self, notebook, parameters, folder, profile, in_report, control):
        """Run one notebook on a worker; arguments and errors are those of `execute.run`."""
        with execute.writing_into(folder) as folder:
            before = record.read(folder)
            record.write(folder, execute.new_record(notebook, parameters, profile))
            control.watch.begin(notebook.node)
            future = self._client.submit(
                _remotely("run_here"),
                *(notebook.slug, parameters, profile, in_report, os.getcwd(), self._stop.name),
                pure=False,
            )
            try:
                entry, files = self._wait(future, control.stop)
            except InputError:  # the notebook refuses its parameters
                if before is None:
                    (folder / record.NAME).unlink()
                else:
                    record.write(folder, before)
                raise
            except Exception as error:  # its worker was lost, again and again
                entry = execute.new_record(notebook, parameters, profile)
                line = str(error).strip().split("\n")[0]
                entry.update(status="failed", error=f"the cluster: {type(error).__name__}: {line}")
                record.write(folder, entry)
                return entry
            finally:
                control.watch.close()
            _unpack(files, folder)
            record.write(folder, entry)  # last: where it says complete, all the rest is there
        if entry["status"] == "interrupted":
            raise execute.Interrupted(f"{notebook.slug}: {entry['error']}")
        return entry

    def _wait(self, future, stop):
        while True:
            if stop.is_set():
                self._stop.set()  # every run on the cluster ends its kernel
            try:
                return future.result(timeout=0.5)
            except TimeoutError:
                continue


def describe_project():
    """Return what must be equal on both sides: versions, commit and a hash of the sources."""
    found = {"commit": environment.describe()["commit"]}
    found.update({name: version(name) for name in ("keras", "numpy", "tensorflow")})
    digest = hashlib.sha256()
    for folder, pattern in ((ROOT / "kerasaid", "*.py"), (notebooks.FOLDER, "*.ipynb")):
        for path in sorted(folder.rglob(pattern)):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return {**found, "source": digest.hexdigest()[:12]}


def run_here(slug, parameters, profile, in_report, cwd, stop):
    """Run a notebook for a caller elsewhere, in a temporary folder of this machine.

    Args:
        slug: the notebook's.
        parameters, profile, in_report: as `execute.run` takes them.
        cwd: the caller's current folder, which the kernel gets where it is there too.
        stop: the name of the `distributed.Event` that ends the run.

    Returns:
        (record, the files of the run folder as the bytes of a ZIP archive).
    """
    import distributed

    worker = distributed.get_worker()
    share = max(1, environment.usable_threads() // worker.state.nthreads)
    place = Path(tempfile.mkdtemp(prefix="kerasaid-"))
    control = execute.Control(
        # The client is named, because papermill's thread is none that Dask knows.
        stop=_Polled(distributed.Event(stop, distributed.get_client())),
        threads=share if worker.state.nthreads > 1 else None,
        cwd=cwd if os.path.isdir(cwd) else None,
    )
    try:
        notebook = notebooks.find(slug)
        with suppress(execute.Interrupted):  # as the record says
            execute.run(notebook, parameters, place / "run", profile, in_report, control)
        return record.read(place / "run"), _pack(place / "run")
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _Polled:
    """An event of the cluster, asked for at most once a second."""

    def __init__(self, event):
        self._event, self._asked, self._set = event, 0.0, False

    def is_set(self):
        if not self._set and time.monotonic() - self._asked > 1:
            self._asked, self._set = time.monotonic(), self._event.is_set()
        return self._set


def _remotely(name):
    """Return a function that calls one of this module's on a worker.

    It is made here, so it is sent as code and not by its name: the scheduler, which takes apart
    what passes through it, need not have the project.
    """

    def call(*arguments):
        import importlib

        return getattr(importlib.import_module("kerasaid.runs.cluster"), name)(*arguments)

    return call


def _pack(folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != record.NAME:
                archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()


def _unpack(files, folder):
    with tempfile.TemporaryDirectory(dir=folder, prefix=".running-") as working:
        zipfile.ZipFile(io.BytesIO(files)).extractall(working)
        execute.replace_figures(folder, Path(working))
        for path in Path(working).iterdir():
            if path.is_file():
                path.replace(folder / path.name)
