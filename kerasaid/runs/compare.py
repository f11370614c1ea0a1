"""Runs of one notebook side by side: what was set, what came out, what it took."""

import json
import string
import textwrap
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from kerasaid.errors import InputError
from kerasaid.runs import notebooks, pages, record, series

_LEGEND = (
    "± is the standard deviation over seeds. [ ] is the 95 % interval for the mean of paired "
    "differences, given where both runs have a value for each of the same seeds. * marks what "
    "differs: an interval that leaves out zero, an exact value, the mark of a claim, a setting. "
    "Of twenty such intervals about one leaves out zero by chance."
)


@dataclass(frozen=True)
class Run:
    """A recorded run: its folder, its record, and the defaults of its notebook's parameters."""

    folder: Path
    record: dict
    defaults: dict = field(default_factory=dict)

    def parameter(self, name):
        """Return a parameter's value as text; `?` where nothing says it."""
        given = self.record["parameters"]
        return repr(given[name]) if name in given else self.defaults.get(name, "?")


@dataclass(frozen=True)
class Row:
    """One line of a comparison: a name, a text for each run, and how the others differ."""

    name: str
    values: list
    differences: list = field(default_factory=list)  # of each run after the first, to the first
    moved: bool = False


def load(path):
    """Return the run of a folder or of its `record.json`.

    Raises:
        InputError: saying in a sentence what is not there or cannot be read.
    """
    path = Path(path).expanduser()
    folder = path.parent if path.name == record.NAME else path
    file = folder / record.NAME
    if not folder.is_dir():
        raise InputError(
            f"{path.absolute()}: there is no such run folder or {record.NAME}; "
            "`kerasaid run` and `kerasaid report` make them."
        )
    if not file.is_file():
        raise InputError(f"{folder} holds no {record.NAME}; expected the folder of a run.")
    found = record.read(folder)
    if found is None:
        raise InputError(f"{file} {_fault(file)}.")
    version = found.get("version", 1)
    if not isinstance(version, int) or version > record.VERSION:
        raise InputError(
            f"{file} is of version {version!r}; this kerasaid reads up to {record.VERSION}."
        )
    return Run(folder, found, _defaults(folder, found))


def _fault(file):
    """Say why a record cannot be used."""
    try:
        lacking = sorted(record.KEYS - json.loads(file.read_text(encoding="utf-8")).keys())
    except (OSError, ValueError, RecursionError, AttributeError):
        return "is damaged"
    return f"is of an older version, without {', '.join(lacking)}; run the notebook again"


def _defaults(folder, found):
    """Return the parameters' defaults as they were, from the executed notebook beside the record.

    What cannot be read stays unknown: a comparison needs the record only.
    """
    notebook = notebooks.Notebook(folder / f"{found['notebook']}.ipynb")
    try:
        return {name: p.default for name, p in notebook.parameters.items()}
    except InputError:
        return {}


def compare(runs):
    """Return what differs between runs of one notebook, the first of them the base.

    Args:
        runs: at least two, as `load` returns them.

    Returns:
        A dict from a section's title to its rows: parameters, metrics, claims, cost, environment.
        Environment and parameters hold only what is not the same everywhere.

    Raises:
        InputError: for one run, or runs of different notebooks.
    """
    if len(runs) < 2:
        raise InputError(f"a comparison needs at least two runs, received {len(runs)}.")
    slugs = dict.fromkeys(run.record["notebook"] for run in runs)
    if len(slugs) > 1:
        raise InputError(f"runs of one notebook can be compared, received {' and '.join(slugs)}.")
    records = [run.record for run in runs]
    return {
        "Parameters": _parameters(runs),
        "Metrics": [_metric_row(row, runs) for row in series.align(records, "metrics")],
        "Claims": [_claim_row(row) for row in series.align(records, "claims")],
        "Cost": _cost(runs),
        "Environment": [
            Row(key, ["–" if value is None else str(value) for value in values], moved=True)
            for key, values in pages.differing([each["environment"] for each in records]).items()
        ],
    }


def as_lines(runs, sections):
    """Return a comparison as lines for a terminal."""
    names = letters(len(runs))
    lines = [f"{runs[0].record['notebook'][:2]} · {runs[0].record['title']}"]
    for name, run in zip(names, runs):
        started, status = run.record["started"][:16].replace("T", " "), run.record["status"]
        lines.append(f"{name}  {run.folder}  ({started}, {status})")
    for title, rows in sections.items():
        lines.append("")
        if not rows:
            lines.append(f"{title}: the same")
            continue
        others = names[1:] if any(row.differences for row in rows) else []
        head = [title, *names, *(f"{other} - {names[0]}" for other in others)]
        shown = [row for row in rows if row.moved or len(set(row.values)) > 1]
        body = [
            [("* " if row.moved else "  ") + row.name, *row.values, *row.differences]
            for row in shown
        ]
        lines += table([["  " + head[0], *head[1:]], *body])
        if len(shown) < len(rows):
            lines.append(f"  {len(rows) - len(shown)} more: the same")
    return [*lines, "", *textwrap.wrap(_LEGEND, 90)]


def page(runs, sections):
    """Return a comparison as a page that needs nothing from outside."""
    return pages.render(
        "compare.html.j2",
        runs=list(zip(letters(len(runs)), runs)),
        sections=sections,
        legend=_LEGEND.replace("*", "A tint"),
    )


def letters(count):
    """Return short names for runs: A, B, … Z, then numbers."""
    alphabet = string.ascii_uppercase
    return list(alphabet[:count]) if count <= len(alphabet) else [str(n + 1) for n in range(count)]


def table(rows):
    """Return rows of text as aligned lines, the first column to the left, the others to the right.

    Args:
        rows: lists of text; a short one is filled with empty cells.
    """
    columns = list(zip_longest(*rows, fillvalue=""))
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        ).rstrip()
        for row in zip(*columns)
    ]


def _parameters(runs):
    names = dict.fromkeys(name for run in runs for name in run.defaults)
    names.update(dict.fromkeys(name for run in runs for name in run.record["parameters"]))
    rows = []
    for name in names:
        values = [run.parameter(name) for run in runs]
        if len(set(values)) > 1:
            rows.append(Row(name, values, moved=True))
    return rows


def _metric_row(row, runs):
    base, *others = row["found"]
    found = [_difference(base, other, runs[0], run) for other, run in zip(others, runs[1:])]
    differences, moved = zip(*found)
    return Row(row["name"], [value(each) for each in row["found"]], list(differences), any(moved))


def _difference(base, other, base_run, other_run):
    """Return (difference of two metrics as text, whether they differ beyond doubt)."""
    if base is None or other is None:
        return "", True
    a, b = base["value"], other["value"]
    if not (series.is_number(a) and series.is_number(b)):
        return ("the same", False) if a == b else ("differs", True)
    exact = isinstance(a, int) and isinstance(b, int)
    if _paired(base, other, base_run, other_run):
        from kerasaid.statistics import mean_interval  # SciPy is slow to import

        each = [y - x for x, y in zip(base["seeds"], other["seeds"])]
        if not any(each):
            return "the same", False
        mean, low, high = mean_interval(each)
        return f"{mean:+.3g} [{low:+.3g}, {high:+.3g}]", low > 0 or high < 0
    if a == b:
        return "the same", False
    return f"{b - a:+,}" if exact else f"{b - a:+.4g}", exact


def _paired(base, other, base_run, other_run):
    """Whether two metrics have a value for each of the same seeds."""
    seeds = [entry["seeds"] or [] for entry in (base, other)]
    whole = all(series.is_number(seed) for each in seeds for seed in each)
    same = all(base_run.parameter(n) == other_run.parameter(n) for n in ("seed", "seeds"))
    return whole and same and len(seeds[0]) == len(seeds[1]) >= 2


def _claim_row(row):
    marks = ["" if e is None else "✓ " if e["holds"] else "✗ " for e in row["found"]]
    values = [mark + value(entry) for mark, entry in zip(marks, row["found"])]
    return Row(row["name"], values, moved=len(set(marks)) > 1)


def value(entry):
    """Return the value of a metric or claim as it is shown; a dash for none."""
    return "–" if entry is None else series.brief(entry)


def _cost(runs):
    """Return the rows of seconds and memory, and of the cells whose times differ most."""
    rows = []
    for name, key, unit in (("time", "seconds", "s"), ("peak memory", "peak_memory_mb", "MB")):
        rows.append(_cost_row(name, [run.record[key] for run in runs], unit))
    cells = [{c["id"]: c["seconds"] for c in run.record.get("cells") or []} for run in runs]
    shared = [name for name in cells[0] if all(name in each for each in cells)]
    spread = {name: max(e[name] for e in cells) - min(e[name] for e in cells) for name in shared}
    most = sorted(spread, key=spread.get, reverse=True)[:3]
    rows += [_cost_row(f"cell {n}", [e[n] for e in cells], "s") for n in most if spread[n] >= 1]
    return rows


def _cost_row(name, values, unit):
    texts = ["–" if value is None else f"{value:,.1f} {unit}" for value in values]
    if unit == "MB":
        texts = ["–" if value is None else f"{value:,} {unit}" for value in values]
    base = values[0]
    known = [bool(base) and value is not None for value in values[1:]]
    return Row(name, texts, [f"× {v / base:.2f}" if k else "" for k, v in zip(known, values[1:])])
