import keras
import numpy as np
import pytest

from kerasaid.progress import Progress, progress


class Handle:
    def __init__(self, shown):
        self.shown = shown

    def update(self, data, raw):
        self.shown.append(data)


@pytest.fixture
def shown(monkeypatch):
    """The bundles that a front end would be sent, in order."""
    found = []

    class Shell:
        kernel = object()

    def display(data, raw, display_id):
        found.append(data)
        return Handle(found)

    monkeypatch.setenv("KERASAID_PROGRESS", "on")
    monkeypatch.setattr("IPython.get_ipython", Shell)
    monkeypatch.setattr("IPython.display.display", display)
    return found


def test_it_counts_and_ends_with_nothing_to_store(shown):
    assert list(progress("abcd", "letters")) == list("abcd")
    texts = [data.get("text/plain") for data in shown]
    assert [text.split()[1] for text in texts[:-1]] == ["0/4", "1/4", "2/4", "3/4"]
    assert shown[-1] == {}


def test_it_ends_with_nothing_to_store_when_the_loop_breaks_or_raises(shown):
    for _ in progress([1, 2, 3]):
        break
    assert shown[-1] == {}
    with pytest.raises(ZeroDivisionError):
        for item in progress([0, 1]):
            1 / item
    assert shown[-1] == {}


def test_the_callback_follows_fit(shown):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3, verbose=0, callbacks=[Progress()])
    texts = [data.get("text/plain", "") for data in shown]
    assert "3/3 epochs" in texts[-2] and "loss " in texts[-2]
    assert shown[-1] == {}


def test_it_is_off_during_tests_and_runs(shown, monkeypatch):
    monkeypatch.setenv("KERASAID_PROGRESS", "off")
    assert list(progress(range(3))) == [0, 1, 2]
    assert shown == []


def test_outside_a_notebook_it_is_silent(monkeypatch, capsys):
    monkeypatch.setenv("KERASAID_PROGRESS", "on")
    assert list(progress(range(3))) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
