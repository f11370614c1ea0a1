"""What several runs of one notebook measured: a row for each metric or claim, and its picture."""

import base64
import io
import re
import textwrap

from kerasaid.results import as_text

_NAMES = {"metrics": "name", "claims": "statement"}


def align(records, kind):
    """Return one row for each metric or claim: what each run found.

    A name that a notebook uses several times makes several rows: the n-th belongs to the n-th.

    Args:
        records: the records of runs of one notebook.
        kind: `"metrics"` or `"claims"`.

    Returns:
        A list of {"name", "found"}: found has an entry for each record, None where it lacks one.
    """
    rows = {}
    for number, entry in enumerate(records):
        seen = {}
        for found in entry[kind]:
            title = found[_NAMES[kind]]
            seen[title] = seen.get(title, 0) + 1
            row = rows.setdefault((title, seen[title]), [None] * len(records))
            row[number] = found
    return [{"name": title, "found": found} for (title, _), found in rows.items()]


def is_number(value):
    """Whether a value can be drawn; not so booleans, texts, and nan as JSON holds it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def brief(found):
    """Return a value with its spread over seeds, without saying how many seeds."""
    text = as_text(found["value"], found["seeds"], found["unit"])
    return re.sub(r" over \d+ seeds$", "", text)


def interval(found):
    """Return mean, low and high of a metric: the 95 % interval over seeds, where there are any."""
    from kerasaid.statistics import mean_interval  # SciPy is slow to import

    seeds = [seed for seed in found["seeds"] or () if is_number(seed)]
    if len(seeds) < 2 or len(seeds) < len(found["seeds"]):
        return (found["value"],) * 3
    return tuple(mean_interval(seeds))


def draw(lines, ticks, xlabel, ylabel):
    """Return a small picture of one metric.

    Args:
        lines: a dict from a label, which may be empty, to points (x, mean, low, high).
        ticks: the values on the axis; they are spaced as numbers if all of them are numbers.
        xlabel, ylabel: the labels of the axes.

    Returns:
        An SVG in base64.
    """
    from matplotlib.figure import Figure

    from kerasaid import plots

    plots.use_style()
    figure = Figure(figsize=(4.6, 3.0), layout="constrained")
    axis = figure.subplots()
    numbers = all(map(is_number, ticks))
    places = {repr(tick): tick if numbers else number for number, tick in enumerate(ticks)}
    for number, (label, points) in enumerate(lines.items()):
        x = [places[repr(tick)] for tick, *_ in points]
        mean = [point[1] for point in points]
        bars = [[p[1] - p[2] for p in points], [p[3] - p[1] for p in points]]
        marker, colour = "osD^vP*X"[number % 8], plots.PALETTE[number % len(plots.PALETTE)]
        style = f"{marker}-" if numbers else marker
        axis.errorbar(
            x, mean, bars, fmt=style, color=colour, markersize=5, capsize=3, label=label or None
        )
    if numbers and min(ticks) > 0 and max(ticks) / min(ticks) >= 8:
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.set_xticks(list(places.values()), [textwrap.shorten(str(t), 16) or "''" for t in ticks])
    axis.set(xlabel=xlabel, ylabel=textwrap.fill(ylabel, 34))
    if len(lines) > 1:
        axis.legend(fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    return base64.b64encode(picture.getvalue()).decode("ascii")
