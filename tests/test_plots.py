import base64

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("agg")

from matplotlib import pyplot as plt

from kerasaid import plots
from kerasaid.errors import InputError
from kerasaid.statistics import mean_interval


@pytest.fixture(autouse=True)
def closed():
    plots.use_style()
    yield
    plt.close("all")


def luminance(colour):
    """Relative luminance of sRGB, as WCAG 2 defines it."""
    channels = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_the_first_colours_can_be_told_apart_without_hue():
    first = [luminance(colour) for colour in plots.PALETTE[:2]]
    assert abs(first[0] - first[1]) > 0.05
    assert len(set(plots.PALETTE)) == len(plots.PALETTE)
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == list(plots.PALETTE)


@pytest.fixture
def displayed(monkeypatch):
    """What a notebook would be given: (data, metadata) of each output."""
    found = []
    plt.figure()  # matplotlib looks for IPython once, with its first figure
    plt.close("all")
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr(
        "IPython.display.display", lambda data, raw, metadata: found.append((data, metadata))
    )
    return found


def test_a_shown_figure_carries_its_description_and_is_closed(displayed):
    _, axis = plt.subplots()
    plots.show(axis, alt="A line that rises from 0 to ≈ 1.5.")
    ((data, metadata),) = displayed
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert (
        data["text/plain"] == metadata["image/png"]["alt"] == "A line that rises from 0 to ≈ 1.5."
    )
    assert plt.get_fignums() == []


def test_the_same_figure_gives_the_same_bytes(displayed):
    for _ in range(2):
        _, axis = plt.subplots()
        axis.plot([1, 2])
        plots.show(axis, alt="The same line twice.")
    assert displayed[0] == displayed[1]


def test_in_a_recorded_run_the_figure_is_also_written_as_svg(displayed, tmp_path, monkeypatch):
    plots.show(plt.subplots()[1], alt="Axes without a line.")
    monkeypatch.setenv("KERASAID_FIGURES", str(tmp_path))
    plots.show(plt.subplots()[1], alt="Axes without a line.")
    (path,) = tmp_path.iterdir()
    (before, plain), (after, recorded) = displayed
    assert before == after  # what is stored does not grow
    assert recorded["kerasaid"] == {**plain["kerasaid"], "svg": path.name}
    assert "<svg" in path.read_text("utf-8")


@pytest.mark.parametrize("alt", ["", "  "])
def test_a_figure_without_a_description_is_refused(alt):
    with pytest.raises(ValueError, match="needs a description"):
        plots.show(plt.subplots()[1], alt=alt)


@pytest.mark.parametrize(("count", "shape"), [(3, (1, 3)), (10, (1, 10)), (12, (2, 10))])
def test_images_are_drawn_in_a_grid(count, shape):
    pictures = np.arange(count * 6).reshape(count, 2, 3)
    axes = plots.images(pictures, titles=np.arange(count))
    assert len(axes) == count
    assert axes[0].get_gridspec().get_geometry() == shape
    assert [axis.get_title() for axis in axes] == [str(k) for k in range(count)]
    assert np.array_equal(axes[-1].images[0].get_array(), pictures[-1])
    drawn = [axis for axis in axes[0].figure.axes if axis.images]
    assert len(drawn) == count


def test_learning_curves_have_both_curves_and_units():
    history = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2], "accuracy": [0.5, 0.6]}
    loss, accuracy = plots.learning_curves(history)
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert loss.lines[1].get_ydata().tolist() == [2.1, 1.2]
    assert loss.lines[0].get_xdata().tolist() == [1, 2]
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss (nats)")
    assert len(accuracy.lines) == 1


def test_seed_points_show_every_seed_and_the_interval():
    values = [1.0, 2.0, 4.0]
    axis = plots.seed_points({"a": values, "b": [3.0, 3.5, 3.0]}, ylabel="x (s)", reference=0)
    assert axis.lines[0].get_ydata().tolist() == values
    bars = axis.containers[0].lines[2][0].get_segments()[0]
    mean, low, high = mean_interval(values)
    assert np.allclose(bars[:, 1], (low, high)) and low < mean < high
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
    assert axis.get_ylabel() == "x (s)"


def test_one_seed_has_no_interval():
    axis = plots.seed_points({"a": [1.0]}, ylabel="x")
    assert len(axis.containers) == 0


def test_the_confusion_matrix_pales_what_is_right():
    axis = plots.confusion_matrix([[90, 3], [5, 80]], ["cat", "dog"])
    assert axis.images[0].get_array().tolist() == [[0, 3], [5, 0]]
    texts = {text.get_text(): text.get_color() for text in axis.texts}
    assert set(texts) == {"90", "3", "5", "80"}
    assert texts["90"] == texts["80"] == "#777777" and texts["5"] == "white"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")


def test_a_large_confusion_matrix_has_no_numbers():
    assert len(plots.confusion_matrix(np.eye(30, dtype=int), range(30)).texts) == 0


def test_bands_show_the_mean_and_the_range_of_each_group():
    table = pd.DataFrame(
        {"rate": [1, 1, 2, 2, 1, 2], "loss": [4.0, 2.0, 1.0, 2.0, 7.0, 5.0], "name": [*"aaaabb"]}
    )
    axis = plots.bands(table, "rate", "loss", "name")
    assert [line.get_label() for line in axis.lines] == ["a", "b"]
    assert axis.lines[0].get_ydata().tolist() == [3.0, 1.5]
    edges = axis.collections[0].get_paths()[0].vertices
    assert {tuple(edge) for edge in edges} == {(1, 2), (1, 4), (2, 1), (2, 2)}
    assert axis.get_legend() is not None


def test_bands_are_drawn_on_the_axes_given():
    _, axis = plt.subplots()
    table = pd.DataFrame({"x": [1, 2], "y": [3.0, 4.0], "by": ["a", "a"]})
    assert plots.bands(table, "x", "y", "by", axis) is axis


def test_bands_leave_out_the_mean_where_a_run_diverged():
    table = pd.DataFrame({"x": [1, 1, 2, 2], "y": [1.0, 3.0, np.nan, 3.0], "by": ["a"] * 4})
    assert np.isnan(plots.bands(table, "x", "y", "by").lines[0].get_ydata()[1])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("rate", "y", "by"), "there is no column 'rate'; there are x, y, by, sizes"),
        (("x", "y", "units"), "there is no column 'units'"),
        (("by", "y", "by"), "column 'by' must hold numbers, received 'a'"),
        (("x", "sizes", "by"), r"column 'sizes' must hold numbers, received \[1, 2\]"),
    ],
)
def test_bands_of_columns_that_cannot_be_drawn(columns, said):
    with pytest.raises(InputError, match=said):
        plots.bands(lists(), *columns)


def test_bands_may_be_grouped_by_lists_and_none():
    axis = plots.bands(lists(), "x", "y", "sizes")
    assert [line.get_label() for line in axis.lines] == ["[1, 2]", "None"]


def lists():
    columns = {"x": [1, 2, 1, 2], "y": [3.0, 4.0, 5.0, 6.0], "by": [*"aabb"]}
    return pd.DataFrame({**columns, "sizes": [[1, 2], [1, 2], None, None]})
