"""What a person who waits sees: a line for each run that is under way, and a log on demand.

All of it goes to stderr: live lines where that is a terminal, the log anywhere.
"""

import re
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Nobody:
    """Watches a run in silence."""

    def begin(self, node):
        """Hear that the kernel has started, and which notebook it runs."""

    def cell(self, index):
        """Hear that a cell begins."""

    def cell_done(self, index):
        """Hear that a cell has ended."""

    def output(self, output):
        """Hear what a cell puts out, as it appears."""

    def close(self):
        """Hear that the run is over."""


class Screen:
    """The lines of all runs that are under way.

    Args:
        verbose: log every cell with its heading, its seconds and its text.
        live: show the lines; by default where stderr is a terminal.
    """

    def __init__(self, verbose=False, live=None):
        self.console = Console(stderr=True, markup=False, highlight=False)
        self.verbose = verbose
        live = self.console.is_terminal if live is None else live
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            _Note(),
            console=self.console,
            transient=True,
            disable=not live,
            # What is printed beside the lines goes where it would have gone.
            redirect_stdout=sys.stdout.isatty(),
        )

    def __enter__(self):
        self._progress.start()
        return self

    def __exit__(self, *problem):
        self._progress.stop()

    def line(self, label, expected=None, seconds=None):
        """Return what watches one run.

        Args:
            label: what the run is called.
            expected: seconds by cell id of an earlier run, or None.
            seconds: the time of a whole run, for when `expected` is not known.
        """
        return _Line(self, label, expected or {}, seconds)


class _Line(Nobody):
    def __init__(self, screen, label, expected, seconds):
        self._screen, self.label = screen, label
        self._expected, self._seconds = expected, seconds
        self._start, self._titles, self._places, self._done = time.monotonic(), {}, {}, []
        self._current, self._begun, self._partial = None, None, ""
        self._task = screen._progress.add_task(label, total=None, line=self)

    def begin(self, node):
        self._start, heading = time.monotonic(), ""
        for index, cell in enumerate(node.cells):
            if cell.cell_type == "markdown":
                found = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
                heading = found[-1].strip() if found else heading
            elif cell.cell_type == "code":
                self._titles[index] = (heading, cell.source.strip().partition("\n")[0])
                self._places[index] = cell.id
        self._screen._progress.update(self._task, total=len(self._titles))

    def cell(self, index):
        if index not in self._titles:  # prose
            return
        self._current, self._begun = index, time.monotonic()
        heading, first_line = self._titles[index]
        self._log(f"[{self._number(index)}/{len(self._titles)}] {heading} · {first_line}")

    def cell_done(self, index):
        if index not in self._titles:
            return
        self._flush()
        self._log(f"    {time.monotonic() - self._begun:.1f} s")
        self._done.append(index)
        self._current = None
        self._screen._progress.update(self._task, advance=1)

    def output(self, output):
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if output.output_type == "error":
            text = f"{output.ename}: {output.evalue}\n"
        elif output.output_type != "stream":
            text += "\n"
        *lines, self._partial = (self._partial + ANSI.sub("", text)).split("\n")
        for line in lines:
            self._log(f"    {line}")

    def close(self):
        self._flush()
        self._screen._progress.remove_task(self._task)

    @property
    def note(self):
        """What the line says after its bar."""
        current = self._current  # another thread moves it on
        if not self._titles:
            return "starting"
        if current is None:
            return ""
        elapsed = time.monotonic() - self._start
        left = self._left(current, elapsed)
        parts = [  # a narrow screen cuts off what stands last
            f"cell {self._number(current)} of {len(self._titles)}",
            f"{elapsed:.0f} s" + (f", about {left:.0f} s left" if left else ""),
            self._titles[current][0],
        ]
        return " · ".join(filter(None, parts))

    def _left(self, current, elapsed):
        if not self._expected:
            return max(0.0, (self._seconds or 0.0) - elapsed)
        done = [self._places[index] for index in self._done]
        running = self._places[current], time.monotonic() - self._begun
        return seconds_left(self._expected, done, running, elapsed)

    def _number(self, index):
        return 1 + list(self._titles).index(index)

    def _flush(self):
        if self._partial:
            self._log(f"    {self._partial}")
            self._partial = ""

    def _log(self, line):
        if self._screen.verbose:
            self._screen.console.out(f"{self.label} {line}", highlight=False)


def seconds_left(expected, done, running, elapsed):
    """Return how long the cells that are left will take, at the pace of those before them.

    Args:
        expected: seconds by cell id of an earlier run.
        done: ids of the cells that have ended.
        running: (id, seconds so far) of the cell under way.
        elapsed: seconds since the first cell began.
    """
    cell, so_far = running
    known = sum(expected.get(each, 0.0) for each in done)
    # One second on both sides keeps the first cells, which take next to nothing, from deciding.
    pace = (elapsed - so_far + 1) / (known + 1)
    rest = sum(expected.values()) - known - expected.get(cell, 0.0)
    return max(0.0, pace * expected.get(cell, 0.0) - so_far) + pace * max(0.0, rest)


class _Note(ProgressColumn):
    """Written anew whenever the lines are, so that the seconds run."""

    def render(self, task):
        return Text(task.fields["line"].note, no_wrap=True, overflow="ellipsis")
