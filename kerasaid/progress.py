"""A progress line that is seen live and never stored.

It is shown only where a person may be watching: under JupyterLab or another notebook front end.
When it is done it empties itself, so that a saved notebook holds nothing of it. Runs and tests
set KERASAID_PROGRESS=off.
"""

import os
import time

import keras


def progress(items, label=""):
    """Yield the items of a sequence while a line shows how far it is and what is left.

    Example:

    >>> for seed in progress(range(3), "seeds"):
    ...     pass

    Args:
        items: a sequence; its length must be known.
        label: what the items are.
    """
    line = Line(len(items), label)
    try:
        for done, item in enumerate(items):
            line.update(done)
            yield item
    finally:
        line.close()


class Progress(keras.callbacks.Callback):
    """A callback that shows epochs, time left and the newest loss, for `fit(verbose=0)`.

    Example:

    >>> model.fit(x, y, verbose=0, callbacks=[Progress()])  # doctest: +SKIP
    """

    def on_train_begin(self, logs=None):  # noqa: D102, as in Keras
        self._line = Line(self.params.get("epochs") or 1, "epochs")
        self._line.update(0)

    def on_epoch_end(self, epoch, logs=None):  # noqa: D102
        shown = ", ".join(f"{name} {value:.3f}" for name, value in (logs or {}).items())
        self._line.update(epoch + 1, shown)

    def on_train_end(self, logs=None):  # noqa: D102
        self._line.close()


class Line:
    """The line itself, for loops that are not over a sequence.

    Args:
        total: how many there are.
        label: what they are.
    """

    def __init__(self, total, label):
        self.total, self.label, self.handle = total, label, None
        self.start = time.monotonic()

    def update(self, done, note=""):
        """Show how many are done, and a note after it."""
        if os.environ.get("KERASAID_PROGRESS") == "off":
            return
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:
            return
        if get_ipython() is None or not hasattr(get_ipython(), "kernel"):
            return
        seconds = time.monotonic() - self.start
        left = f"{seconds * (self.total - done) / done:.0f} s left" if done else ""
        filled = round(20 * done / self.total) if self.total else 20
        bar = "█" * filled + "░" * (20 - filled)
        text = "  ".join(filter(None, [f"{bar} {done}/{self.total} {self.label}", left, note]))
        if self.handle is None:
            self.handle = display({"text/plain": text}, raw=True, display_id=True)
        else:
            self.handle.update({"text/plain": text}, raw=True)

    def close(self):
        """Empty the line."""
        if self.handle is not None:
            self.handle.update({}, raw=True)  # an empty bundle: nothing to see, nothing to store
            self.handle = None
