"""All recorded runs of one notebook, oldest first, and how its metrics went."""

import os
from pathlib import Path

from kerasaid.errors import InputError
from kerasaid.runs import compare, pages, record, series

_BARS = "▁▂▃▄▅▆▇█"


def find(notebook, folder):
    """Return the recorded runs of a notebook in a folder and those below it, oldest first.

    Args:
        notebook: a `kerasaid.runs.notebooks.Notebook`.
        folder: where to look.

    Returns:
        (runs, lines): the runs, and a line for each record that cannot be read.

    Raises:
        InputError: when the folder is not there, or holds no run of the notebook.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; `kerasaid run` makes runs.")
    runs, lines = [], []
    for place, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if record.NAME not in files:
            continue
        try:
            run = compare.load(place)
        except InputError as error:
            lines.append(str(error))
            continue
        if run.record["notebook"] == notebook.slug:
            runs.append(run)
    if not runs:
        raise InputError(f"{folder} holds no run of {notebook.slug}; `kerasaid run` makes one.")
    return sorted(runs, key=lambda run: run.record["started"]), lines


def as_lines(runs):
    """Return the runs, and each metric with a small picture, as lines for a terminal."""
    lines = [f"{runs[0].record['notebook'][:2]} · {runs[0].record['title']}", ""]
    rows = [["run", "started (UTC)", "status", "seconds", "claims held", "parameters"]]
    for number, run in enumerate(runs, start=1):
        entry = run.record
        held = f"{sum(c['holds'] for c in entry['claims'])} of {len(entry['claims'])}"
        seconds = "–" if entry["seconds"] is None else f"{entry['seconds']:.1f}"
        started = entry["started"][:16].replace("T", " ")
        rows.append([str(number), started, entry["status"], seconds, held, _given(run)])
    lines += compare.table(rows)
    metrics = series.align([run.record for run in runs], "metrics")
    if metrics:
        rows = [["metric", "", "first", "last"]]
        for row in metrics:
            found = [entry for entry in row["found"] if entry]
            rows.append(
                [row["name"], sparkline(row["found"]), *map(compare.value, (found[0], found[-1]))]
            )
        lines += ["", *compare.table(rows)]
    return lines


def sparkline(found):
    """Return a bar for each run's value of a metric; a dot where a run has none.

    Args:
        found: the metric of each run, or None.
    """
    values = [entry["value"] if entry else None for entry in found]
    numbers = [value for value in values if series.is_number(value)]
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    step = (high - low) / (len(_BARS) - 1) or 1
    return "".join(
        (_BARS[round((value - low) / step)] if high > low else _BARS[3])
        if series.is_number(value)
        else "·"
        for value in values
    )


def page(runs):
    """Return the history as a page that needs nothing from outside."""
    rows = series.align([run.record for run in runs], "metrics")
    return pages.render(
        "history.html.j2",
        runs=[(run, _given(run)) for run in runs],
        plots=[plot for row in rows if (plot := _plot(row, len(runs)))],
        rest=[
            (row["name"], compare.value(next(filter(None, reversed(row["found"])))))
            for row in rows
            if not _drawable(row)
        ],
    )


def _plot(row, count):
    """Return {"svg", "alt"} of a metric over the runs, or None where nothing can be drawn."""
    if not _drawable(row):
        return None
    points = [
        (number, *series.interval(entry))
        for number, entry in enumerate(row["found"], start=1)
        if entry and series.is_number(entry["value"])
    ]
    unit = next(entry["unit"] for entry in row["found"] if entry)
    label = f"{row['name']} ({unit})" if unit else row["name"]
    values = ", ".join(f"{mean:.4g} in run {number}" for number, mean, _, _ in points)
    # As text, runs are spaced evenly and not joined: between them nothing was measured.
    points = [(str(number), *rest) for number, *rest in points]
    ticks = [str(number) for number in range(1, count + 1)]
    svg = series.draw({"": points}, ticks, "run, the oldest first", label)
    return {"svg": svg, "alt": f"{label}: {values}"}


def _drawable(row):
    """Whether a metric is a number that is not the same in all runs."""
    values = [entry["value"] for entry in row["found"] if entry]
    return len(set(values)) > 1 and any(map(series.is_number, values))


def _given(run):
    """Return the parameters that differ from the defaults, as text."""
    given = " ".join(f"{name}={value}" for name, value in run.record["parameters"].items())
    profile = run.record.get("profile")
    return f"({profile}) {given}" if profile else given
