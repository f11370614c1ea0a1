"""Figures that carry their own description.

Each function draws on axes and returns them, so that a notebook can add to the picture. `show`
then displays the figure with a description, which a screen reader speaks, a report prints and a
test compares.
"""

import io
import os
import textwrap
import uuid

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, MaxNLocator

from kerasaid import results
from kerasaid.errors import InputError

# Okabe and Ito (2008), "Color universal design": told apart with any common colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def use_style():
    """Set size, palette and fonts for every figure that follows; called by `kerasaid.setup`."""
    mpl.rcParams.update(
        {
            "axes.prop_cycle": mpl.cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": 110,
            "figure.facecolor": "white",  # readable on a dark page too
            "font.size": 10,
            "grid.color": "#E3E3E3",
            "image.cmap": "gray_r",
            "legend.frameon": False,
            "lines.linewidth": 1.8,
        }
    )


def show(axes, alt):
    """Display the figure of some axes with its description, and close it.

    The description is stored as the picture's alt text and as its plain-text form, so a strict
    test compares it: write numbers that depend on the machine after `≈`.

    In a recorded run, where KERASAID_FIGURES names a folder, the figure is also written there as
    SVG, and the name of the file is put into the output's metadata.

    Args:
        axes: matplotlib axes, or an array of them.
        alt: one or two sentences: what is drawn, and what it shows.

    Raises:
        ValueError: for an empty description.
    """
    if not alt.strip():
        raise ValueError("A figure needs a description, received an empty alt.")
    figure = np.ravel(axes)[0].figure
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", metadata={"Software": None})
    record = {"figure": alt}
    if os.environ.get("KERASAID_FIGURES"):
        record["svg"] = f"{uuid.uuid4().hex}.svg"
        path = os.path.join(os.environ["KERASAID_FIGURES"], record["svg"])
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    results.show(alt, record, png=picture.getvalue())


def images(pictures, titles=None, columns=10, size=1.0):
    """Draw small grey pictures in a grid.

    Args:
        pictures: array of shape (pictures, height, width).
        titles: one text for each, or None.
        columns: pictures in a row.
        size: inches each picture takes.

    Returns:
        A 1-D array of axes, one for each picture.
    """
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = size * (1.0 if titles is None else 1.35)
    _, grid = plt.subplots(
        rows, columns, figsize=(columns * size, rows * height), squeeze=False, layout="constrained"
    )
    for axis in grid.flat:
        axis.axis("off")
    if titles is None:
        titles = [""] * len(pictures)
    for axis, picture, title in zip(grid.flat, pictures, titles):
        axis.imshow(picture)
        axis.set_title(title, fontsize=8, loc="center")
    return grid.ravel()[: len(pictures)]


def learning_curves(history, metrics=("loss", "accuracy"), units=("nats", "share")):
    """Draw training and validation curves over epochs, one panel for each metric.

    Args:
        history: a dict as in `keras.callbacks.History.history`.
        metrics: the keys to draw; `val_` is put before each for the validation curve.
        units: the unit of each metric, for its axis.

    Returns:
        A 1-D array of axes, one for each metric.
    """
    _, panels = plt.subplots(
        1, len(metrics), figsize=(4.2 * len(metrics), 3.2), squeeze=False, layout="constrained"
    )
    for axis, name, unit in zip(panels[0], metrics, units):
        for key, label, marker in ((name, "training", "o"), (f"val_{name}", "validation", "s")):
            if key in history:
                epochs = np.arange(1, len(history[key]) + 1)
                axis.plot(epochs, history[key], marker=marker, markersize=4, label=label)
                ticks = MaxNLocator(10, integer=True) if len(epochs) > 10 else FixedLocator(epochs)
                axis.xaxis.set_major_locator(ticks)
        axis.set(xlabel="epoch", ylabel=f"{name} ({unit})")
        axis.legend()
    return panels[0]


def seed_points(groups, ylabel, reference=None):
    """Draw one point for each seed, and each group's mean with its 95 % interval.

    Args:
        groups: a dict from a group's name to its values, one for each seed.
        ylabel: what the values are, with their unit.
        reference: a value to draw a dashed line at, for example 0 for differences.

    Returns:
        The axes.
    """
    from kerasaid.statistics import mean_interval

    _, axis = plt.subplots(figsize=(max(4.4, 1.6 + 1.4 * len(groups)), 3.4), layout="constrained")
    for place, values in enumerate(groups.values()):
        values = np.asarray(values, dtype=float)
        colour = PALETTE[place % len(PALETTE)]
        spread = np.linspace(-0.12, 0.12, len(values)) - 0.12
        axis.plot(place + spread, values, "o", color=colour, alpha=0.55, markersize=5)
        if len(values) > 1:
            mean, low, high = mean_interval(values)
            bars = [[mean - low], [high - mean]]
            axis.errorbar(place + 0.2, mean, bars, fmt="D", color=colour, capsize=4, markersize=5)
    if reference is not None:
        axis.axhline(reference, color="#555555", linestyle="--", linewidth=1)
    axis.set_xticks(range(len(groups)), [textwrap.fill(name, 14) for name in groups])
    axis.set_xlim(-0.5, len(groups) - 0.5)
    axis.set_ylabel(ylabel)
    axis.grid(axis="x", visible=False)
    return axis


def confusion_matrix(counts, names):
    """Draw how often each true class was given each predicted class.

    Correct answers are left pale, so that the errors, which are rare, can be seen.

    Args:
        counts: array of shape (classes, classes), true classes in rows, as
            `sklearn.metrics.confusion_matrix` returns it.
        names: the classes' names, in order.

    Returns:
        The axes.
    """
    counts = np.asarray(counts)
    errors = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    side = min(9.0, 1.6 + 0.42 * len(counts))
    _, axis = plt.subplots(figsize=(side, side), layout="constrained")
    picture = axis.imshow(errors, cmap="Blues")
    axis.grid(visible=False)
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="predicted class", ylabel="true class")
    if len(counts) > 20:  # the numbers would overlap
        axis.figure.colorbar(picture, label="errors", shrink=0.8)
    else:
        dark = errors.max() * 0.6
        for (row, column), count in np.ndenumerate(counts):
            right = row == column
            colour = "#777777" if right else "white" if count > dark else "black"
            axis.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    return axis


def bands(table, x, y, by, axis=None):
    """Draw one column of a table over another: each group's mean, and the range of its rows.

    Where a value is missing, as the loss of a run that diverged, the mean is not drawn.

    Args:
        table: a `pandas.DataFrame`.
        x, y: names of numeric columns.
        by: the column that names the groups; lists and None are named by their text.
        axis: matplotlib axes to draw on; new ones otherwise.

    Returns:
        The axes.

    Raises:
        InputError: for a column that is not there, or one that should hold numbers and does not.
    """
    for column in (x, y, by):
        if column not in table:
            raise InputError(
                f"there is no column {column!r}; there are {', '.join(map(str, table.columns))}."
            )
    for column in (x, y):
        if table[column].dtype.kind not in "iuf":
            raise InputError(
                f"column {column!r} must hold numbers, received {table[column].iloc[0]!r}."
            )
    if axis is None:
        _, axis = plt.subplots(layout="constrained")
    names = table[by].map(str) if table[by].dtype == object else table[by]
    for number, (name, rows) in enumerate(table.groupby(names, sort=False)):
        found = rows.groupby(x)[y].agg(["mean", "min", "max"])
        found[rows.groupby(x)[y].agg(lambda values: values.isna().any())] = np.nan
        colour, marker = PALETTE[number % len(PALETTE)], "osD^vP*X"[number % 8]
        axis.plot(found.index, found["mean"], marker=marker, markersize=4, color=colour, label=name)
        axis.fill_between(found.index, found["min"], found["max"], color=colour, alpha=0.18, lw=0)
    axis.legend()
    return axis
