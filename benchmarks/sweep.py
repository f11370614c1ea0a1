"""Thirty-two runs as one program, against a loop over `fit` and a plain PyTorch loop.

4 learning rates and 8 seeds, 784-128-10, Adam, batches of 128, 10,000 digits, 3 epochs. Each
repeat builds, compiles, trains and validates. Then how time and memory grow with the number of
copies, in processes of their own.
"""

import importlib.util
import multiprocessing
import statistics
import threading
import time
from pathlib import Path

import kerasaid
from benchmarks import compare

RATES, SEEDS, EPOCHS, BATCH_SIZE = (0.0003, 0.001, 0.003, 0.01), range(8), 3, 128
COPIES = (1, 8, 32, 128)


def data():
    (x, y), (x_test, y_test) = kerasaid.datasets.load_mnist()
    x, x_test = (part.reshape(len(part), -1).astype("float32") / 255 for part in (x, x_test))
    return x[:10_000], y[:10_000], (x_test[:1000], y_test[:1000])


def build():
    import keras

    layers = [keras.Input((784,)), keras.layers.Dense(128, activation="relu")]
    return keras.Sequential([*layers, keras.layers.Dense(10)])


def trained_together(runs, x, y, validation, epochs=EPOCHS):
    from kerasaid.sweeps import sweep

    return sweep(
        *(build, runs, x, y),
        losses=losses(),
        metrics=["accuracy"],
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=validation,
    )


def losses():
    import keras

    return {"cross-entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}


def grid(**values):
    from kerasaid import sweeps

    return sweeps.grid(optimizer="Adam", loss="cross-entropy", **values)


def run():
    import keras
    import numpy as np

    x, y, validation = data()
    runs = grid(learning_rate=RATES, seed=SEEDS)
    accuracies, seconds = {}, {"ours": [], "fit": [], "torch": []}

    def timed(who, train):
        start = time.perf_counter()
        found = np.asarray(train())
        seconds[who].append(time.perf_counter() - start)
        accuracies[who] = f"{100 * found.mean():.2f} ± {100 * found.std(ddof=1):.2f}"
        return seconds[who][-1]

    def fit():
        for run in runs:
            keras.utils.set_random_seed(run["seed"])
            model = build()
            model.compile(
                keras.optimizers.Adam(run["learning_rate"]),
                losses()["cross-entropy"],
                metrics=["accuracy"],
            )
            history = model.fit(
                *(x, y, BATCH_SIZE, EPOCHS), verbose=0, validation_data=validation
            ).history
            yield history["val_accuracy"][-1]

    def peer():
        if has_torch:
            timed("torch", lambda: list(by_torch(runs, x, y, validation)))
        return timed("fit", lambda: list(fit()))

    has_torch = importlib.util.find_spec("torch") is not None
    return compare(
        "sweep",
        lambda: timed(
            "ours", lambda: trained_together(runs, x, y, validation).final["val_accuracy"]
        ),
        peer,
        unit="s",
        setting={
            "runs": f"{len(RATES)} rates x {len(SEEDS)} seeds, compilation included",
            "peer": "a loop over fit in the same process",
            "torch_loop_s": lambda: has_torch and round(statistics.median(seconds["torch"]), 2),
            "torch_loop_over_ours": lambda: (
                has_torch
                and round(
                    statistics.median(seconds["torch"]) / statistics.median(seconds["ours"]), 2
                )
            ),
            "accuracy_percent": lambda: accuracies,
            "growth": growth,
        },
    )


def by_torch(runs, x, y, validation):
    """Train the same network in plain PyTorch, run after run, and yield its accuracies."""
    import torch

    x, y, x_valid, y_valid = map(torch.from_numpy, (x, y.astype("int64"), *validation))
    for run in runs:
        torch.manual_seed(run["seed"])
        layers = torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
        model = torch.nn.Sequential(*layers)
        optimizer = torch.optim.Adam(model.parameters(), run["learning_rate"])
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(BATCH_SIZE):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                right = (model(x_valid).argmax(1) == y_valid).double().mean()
        yield float(right)


def growth():
    """Return seconds and megabytes for each copy, for several numbers of copies."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:  # a new process has a peak of its own
        found = [pool.apply(one_size, (copies,)) for copies in COPIES]
    draw(found)
    return found


def one_size(copies):
    import psutil

    given = data()
    trained_together(grid(seed=range(2)), *(part[:200] for part in given[:2]), None, epochs=1)
    process = psutil.Process()
    before = process.memory_info().rss
    peak = Peak(process)
    start = time.perf_counter()
    trained_together(grid(learning_rate=0.001, seed=range(copies)), *given, epochs=1)
    seconds = time.perf_counter() - start
    return {
        "copies": copies,
        "s_each": round(seconds / copies, 3),
        "mb_each": round((peak.stop() - before) / copies / 2**20, 1),
    }


class Peak:
    """The largest resident memory of a process while it runs."""

    def __init__(self, process):
        self._process, self._stop, self._peak = process, threading.Event(), 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._stop.wait(0.02):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def stop(self):
        """Return the peak in bytes."""
        self._stop.set()
        self._thread.join()
        return self._peak


def draw(found):
    """Write the growth as a picture into reports/."""
    import matplotlib.pyplot as plt

    from kerasaid import plots

    plots.use_style()
    _, panels = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    copies = [each["copies"] for each in found]
    for axis, key, label in zip(panels, ("s_each", "mb_each"), ("seconds", "megabytes")):
        axis.plot(copies, [each[key] for each in found], "o-")
        axis.set(xscale="log", xlabel="copies", ylabel=f"{label} for each copy", ylim=(0, None))
        axis.set_xticks(copies, copies)
        axis.minorticks_off()
    path = Path(__file__).parents[1] / "reports" / "sweep_growth.png"
    path.parent.mkdir(exist_ok=True)
    panels[0].figure.savefig(path)
    plt.close(panels[0].figure)
