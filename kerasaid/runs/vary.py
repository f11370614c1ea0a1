"""What if a parameter were another: one notebook run with each combination of values."""

import hashlib
import itertools
import math
import re

from kerasaid import environment
from kerasaid.errors import InputError
from kerasaid.runs import execute, pages, record, series
from kerasaid.runs import report as reports

MOST_RUNS = 1_000
_LONGEST = 100  # letters of a folder's name; Windows allows 260 for a whole path


def read(notebook, texts):
    """Return the varied parameters: a dict from names to lists of values.

    Args:
        notebook: the notebook.
        texts: each `name=a,b,c`, as `--vary` takes them.

    Raises:
        InputError: for a text without `=`, an unknown or repeated name, or a value of another
            type or given twice.
    """
    varied = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise InputError(f"--vary expects name=a,b,c, received {text!r}.")
        parameter = notebook.parameter(name.strip())
        if parameter.name in varied:
            raise InputError(f"--vary names {parameter.name} twice: write all its values in one.")
        varied[parameter.name] = parameter.split(values)
    runs = math.prod(map(len, varied.values()))
    if runs > MOST_RUNS:
        raise InputError(f"--vary asks for {runs} runs; at most {MOST_RUNS} are possible.")
    return varied


def plans(notebook, varied, values, folder, profile=None):
    """Return a `kerasaid.runs.report.Plan` for each combination of the varied parameters.

    Args:
        notebook: the notebook.
        varied: what `read` returns.
        values: the other parameters; where both have one, the varied one wins.
        folder: where the runs' folders go.
        profile: the name of the profile in `values`, for the records.
    """
    found = []
    for combination in itertools.product(*varied.values()):
        chosen = dict(zip(varied, combination))
        name = folder_name(chosen)
        found.append(reports.Plan(notebook, name, folder / name, {**values, **chosen}, profile))
    return found


def folder_name(values):
    """Return a folder's name that speaks of some values and is safe on every system.

    Example:

    >>> folder_name({"batch_size": 32, "rate": 0.1})
    'batch_size-32__rate-0.1'
    """
    plain = "__".join(f"{name}-{value}" for name, value in values.items())
    safe = re.sub(r"[^\w.+-]+", "_", plain)[:_LONGEST].rstrip("._ ")
    if safe == plain and safe == safe.casefold():
        return safe
    # Something was left out, or only case tells it from another, which Windows does not see.
    exact = repr(sorted(values.items())).encode("utf-8", "surrogatepass")
    return f"{safe}-{hashlib.sha256(exact).hexdigest()[:8]}"


def report(plans, varied, folder, **how):
    """Carry out the runs and write the page that shows what changes.

    Args:
        plans: what `plans` returns.
        varied: what `read` returns.
        folder: where they and `index.html` go.
        **how: as `kerasaid.runs.report.report` takes it.

    Returns:
        (path of the page, list of records). Errors are those of `kerasaid.runs.report.report`.
    """

    def page(entries):
        text = what_if_page([entry for entry, _ in entries], varied)
        record.write_atomically(folder / "index.html", text)

    with execute.writing_into(folder) as folder:
        entries = reports.carry_out(plans, conclude=page, **how)
    return folder / "index.html", [entry for entry, _ in entries]


def what_if_page(records, varied):
    """Return the page over runs of one notebook: claims, metrics and plots by varied parameter.

    Args:
        records: the records of the runs.
        varied: what `read` returns.
    """
    runs = [
        {
            "name": folder_name({name: entry["parameters"][name] for name in varied}),
            "values": {name: entry["parameters"][name] for name in varied},
            "record": entry,
        }
        for entry in records
    ]
    fixed = {name: value for name, value in records[0]["parameters"].items() if name not in varied}
    claims = series.align(records, "claims")
    metrics = series.align(records, "metrics")
    # Those that stop holding first, then those that change; what is the same everywhere last.
    claims.sort(
        key=lambda row: (all(c and c["holds"] for c in row["found"]), not _changes(row["found"]))
    )
    metrics.sort(key=lambda row: not _changes(row["found"]))
    return pages.render(
        "what_if.html.j2",
        first=records[0],
        fixed=fixed,
        varied=varied,
        runs=runs,
        claims=claims,
        failing=[row for row in claims if any(c and not c["holds"] for c in row["found"])],
        metrics=metrics,
        plots=[plot for row in metrics if (plot := _plot(row, runs, varied))],
        short=series.brief,
        environment=records[0]["environment"] or environment.describe(),
    )


def _changes(found):
    return len({repr(each and each["value"]) for each in found}) > 1


def _plot(row, runs, varied):
    """Return {"svg", "alt", "name"} of a metric over a varied parameter, or None.

    The axis is the first parameter with several numbers, otherwise the first with several values;
    each combination of the others is a line of its own.
    """
    several = [name for name, values in varied.items() if len(values) > 1]
    numeric = [name for name in several if all(map(series.is_number, varied[name]))]
    points = [
        (run["values"], found)
        for run, found in zip(runs, row["found"])
        if found and series.is_number(found["value"])
    ]
    if not several or len(points) < 2 or not _changes([found for _, found in points]):
        return None
    axis_name = (numeric or several)[0]
    lines = {}
    for values, found in points:
        rest = ", ".join(f"{n} = {values[n]}" for n in several if n != axis_name)
        lines.setdefault(rest, []).append((values[axis_name], *series.interval(found)))
    unit = next(found["unit"] for _, found in points)
    label = f"{row['name']} ({unit})" if unit else row["name"]
    alt = f"{label} over {axis_name}: " + "; ".join(
        (f"with {rest}: " if rest else "")
        + ", ".join(f"{mean:.4g} at {x}" for x, mean, _, _ in found)
        for rest, found in lines.items()
    )
    return {"svg": series.draw(lines, varied[axis_name], axis_name, label), "alt": alt}
