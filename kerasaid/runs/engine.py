"""How papermill executes a notebook here: watched, stoppable, with an environment of its own."""

import logging
import os
import time
import warnings
from contextlib import contextmanager

import nbformat
import papermill
import psutil
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from kerasaid.runs import notebooks

CLIENT = {
    "kernel_name": "python3",
    "coalesce_streams": True,
    # ipykernel warns about unencrypted TCP at every start; here it is the loopback address.
    "extra_arguments": ["--IPKernelApp.log_level=50"],
}
SAVE_EVERY = 1.0  # seconds
CELL_TIMEOUT = 1_800  # seconds; a cell that takes longer hangs


class Stopped(Exception):
    """The run was asked to stop before its next cell."""


def execute(source, target, parameters, control):
    """Execute a copy of a notebook; return the executed notebook.

    Args:
        source: the path of the notebook.
        target: the path of the copy, saved every second and at the end.
        parameters: values by name.
        control: a `kerasaid.runs.execute.Control`.

    Raises:
        papermill.PapermillExecutionError: when a cell raises.
        Stopped: when it was asked to stop.
        nbclient.exceptions.DeadKernelError: when the kernel died, by itself or by `control`.
    """
    papermill_engines.register("kerasaid", _Engine)
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it says, the record says
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries around the notebook, not of its cells
        return papermill.execute_notebook(
            notebooks.as_template(source),
            notebooks.as_template(target),
            parameters=parameters,
            engine_name="kerasaid",
            progress_bar=False,
            control=control,
        )


class _Engine(Engine):
    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, control, **options):
        """Execute the cells, then turn the error of a cell tagged `raises-exception` into text.

        Such a cell is the check of an exercise that is not solved yet. papermill executes what
        follows it, but afterwards takes its error for a failure of the notebook.
        """
        client = _Client(
            nb_man,
            log=logging.getLogger("papermill"),
            timeout=CELL_TIMEOUT,
            startup_timeout=120,  # a busy machine starts several at once
            **CLIENT,
        )
        client.control = control
        with _saved_rarely(nb_man):
            client.execute(env={**os.environ, **control.environment}, **control.options)
        for cell in nb_man.nb.cells:
            if "raises-exception" in cell.metadata.get("tags", []):
                cell.outputs = [_as_text(output) for output in cell.get("outputs", [])]


class _Client(PapermillNotebookClient):
    """Tells the run's control about its kernel, each cell and each output."""

    control = None

    def start_new_kernel(self, **options):
        self._require_go()
        super().start_new_kernel(**options)
        self.control.kernel = psutil.Process(self.km.provisioner.pid)
        self.control.watch.begin(self.nb)

    def execute_cell(self, cell, cell_index, **options):
        self._require_go()
        if cell.cell_type == "code":
            self.control.cell = cell.get("id")
        self.control.watch.cell(cell_index)
        try:
            return super().execute_cell(cell, cell_index, **options)
        finally:
            self.control.watch.cell_done(cell_index)

    def _require_go(self):
        if self.control.stop.is_set():
            raise Stopped

    def process_message(self, *arguments, **options):
        output = super().process_message(*arguments, **options)
        if output is not None:
            self.control.watch.output(output)
        return output


@contextmanager
def _saved_rarely(nb_man):
    """Save at most every second: papermill does before and after each cell, and cells wait."""
    save, last = nb_man.save, time.monotonic()

    def save_if_due(**options):
        nonlocal last
        if time.monotonic() - last >= SAVE_EVERY:
            save(**options)
            last = time.monotonic()

    nb_man.save = save_if_due
    try:
        yield
    finally:
        nb_man.save = save  # papermill saves once more, whatever happened


def _as_text(output):
    if output.output_type != "error":
        return output
    return nbformat.v4.new_output("stream", name="stdout", text=f"{output.evalue}\n")
