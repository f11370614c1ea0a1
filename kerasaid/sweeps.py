"""Sweeps: many copies of a small model, trained side by side as one compiled program.

One training run proves little. Five seeds at six learning rates for five optimizers are 150 runs,
and a small network leaves most of a processor idle: its time goes into starting operations. Here
runs that differ in seed, learning rate or order of the batches are stacked, and each operation
works on all of them at once. Run k is the same run that `fit` would have done alone.
"""

import difflib
import inspect
import itertools
import json
import math
import numbers
import random
import warnings

import keras
import numpy as np
import pandas as pd
import psutil

from kerasaid import plots
from kerasaid._stacked import Copy, JaxStack, TensorFlowStack
from kerasaid.errors import InputError, require_at_least
from kerasaid.progress import Line

_STACKED_KEYS = ("seed", "order_seed", "learning_rate", "rows")
_OWN_KEYS = (*_STACKED_KEYS, "optimizer", "loss", "batch_size")


def grid(**values):
    """Return every combination of some settings, as a list of runs for `sweep`.

    Example:

    >>> grid(optimizer="sgd", learning_rate=[0.1, 1.0], seed=range(2))[1]
    {'optimizer': 'sgd', 'learning_rate': 0.1, 'seed': 1}

    Args:
        **values: for each setting one value, or several in a list, tuple, range or array. The
            last changes fastest.

    Raises:
        InputError: for a setting without values, or with one value twice.
    """
    several = {}
    for name, given in values.items():
        one = isinstance(given, str) or not np.iterable(given)
        several[name] = [given] if one else [v.item() if hasattr(v, "item") else v for v in given]
        if not several[name]:
            raise InputError(f"the grid is empty: {name} has no values.")
        for value, again in itertools.combinations(several[name], 2):
            if value == again:
                raise InputError(f"{name} holds {value!r} twice, which would be the same run.")
    return [dict(zip(several, chosen)) for chosen in itertools.product(*several.values())]


def batch_orders(seed, count, epochs):
    """Yield the order of the examples for each epoch, as `fit_in_memory` draws it.

    Example:

    >>> [order.tolist() for order in batch_orders(seed=0, count=3, epochs=2)]
    [[2, 1, 0], [2, 0, 1]]

    Args:
        seed: the run's `order_seed`, or its `seed` where it has none.
        count: number of examples.
        epochs: number of orders.
    """
    generator = np.random.RandomState(seed)  # of the kind that NumPy's global generator is
    for _ in range(epochs):
        yield generator.permutation(count)


def sweep(
    build,
    runs,
    x,
    y,
    *,
    batch_size=32,
    epochs=1,
    optimizers=None,
    losses=None,
    metrics=(),
    validation_data=None,
    rows=None,
    memory_mb=None,
):
    """Train a model once for each run, as many as possible side by side, and tabulate the results.

    Runs that share optimizer, loss, batch size and arguments of `build` become one compiled
    program; the others follow as programs of their own. Each run equals this, to rounding:

    ```python
    keras.utils.set_random_seed(seed)
    model = build()
    model.compile(optimizer(learning_rate), loss, metrics=metrics)
    model.optimizer.build(model.trainable_variables)
    for order in batch_orders(seed, len(x), epochs):
        model.fit(x[order], y[order], batch_size, shuffle=False, validation_data=validation_data)
    ```

    A run that diverges stays in the table, with nan or inf as its loss. Training can be
    interrupted: the epochs done so far are in the `result` of the `SweepInterrupted` raised.
    On PyTorch, which cannot stack Keras models, the runs follow one another, with a warning.

    Example:

    >>> def build():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> runs = grid(optimizer="adam", loss="mse", learning_rate=[0.01, 0.1], seed=range(3))
    >>> result = sweep(build, runs, np.ones((8, 4)), np.ones((8, 1)), batch_size=4, epochs=2)
    >>> len(result.final), len(result.history)
    (6, 12)

    Args:
        build: returns a built, uncompiled Keras model with one input and one output.
        runs: a list of dicts, as `grid` makes them. Each names an `optimizer` and a `loss`, by
            Keras' names or those in `optimizers` and `losses`. It may have a `learning_rate`
            (the optimizer's own otherwise), a `seed` (0 otherwise), an `order_seed` for the order
            of the batches (`seed` otherwise), a `batch_size` and `rows`. Any other key is an
            argument for `build`.
        x, y: arrays of one length, small enough for memory.
        batch_size: examples in a step, for runs that do not say; an epoch's last step takes what
            is left.
        epochs: passes over a run's rows.
        optimizers: names for functions that make an optimizer from a learning rate, for example
            `{"Adam, clipped": lambda rate: keras.optimizers.Adam(rate, clipnorm=1.0)}`. It may
            turn the rate into a schedule.
        losses: names for Keras losses or functions of `(y_true, y_pred)`.
        metrics: as in `compile`.
        validation_data: `(x, y)`, evaluated after each epoch.
        rows: names for arrays of row numbers; a run whose `rows` names one trains on these
            examples only.
        memory_mb: what may be used; half of what is free otherwise. Runs that would need more
            are trained in several groups.

    Returns:
        A `SweepResult`.

    Raises:
        InputError: before any training, for an unknown name (near ones are suggested), no runs,
            a run that comes twice, a rate that is not above 0, and for a model, data or optimizer
            that cannot be used.
    """
    x, y = np.asarray(x), np.asarray(y)
    require_at_least(1, batch_size=batch_size, epochs=epochs)
    _check_data("", x, y)
    if validation_data is not None:
        validation_data = tuple(np.asarray(part) for part in validation_data)
        _check_data("validation ", *validation_data)
    named = _Named(optimizers or {}, losses or {}, rows or {}, len(x))
    runs = [_complete(run, batch_size) for run in _check_runs(runs)]
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        programs = _programs(build, runs, named, metrics, x, y, validation_data)
        return _train(programs, runs, x, y, epochs, validation_data, memory_mb)
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002


class SweepInterrupted(KeyboardInterrupt):
    """A sweep was stopped by hand; `result` holds the epochs done so far."""

    def __init__(self, result):
        super().__init__(f"stopped after {len(result.history)} epochs of all runs together")
        self.result = result


class SweepResult:
    """The runs of a sweep.

    Attributes:
        history: a `pandas.DataFrame` with a row for each run and epoch: the number of the run,
            its settings, `epoch`, `step` (updates so far), and the metrics as `fit` names them.
            The setting `loss` is called `loss_function`, since `loss` is the metric.
        final: the last epoch of each run, and `diverged`: whether any loss was not finite.
    """

    def __init__(self, epochs, programs):
        history = pd.DataFrame(epochs).sort_values(["run", "epoch"], ignore_index=True)
        self.history, self._programs = history, programs
        last = history.groupby("run", sort=True).tail(1).set_index("run").sort_index()
        losses = [name for name in ("loss", "val_loss") if name in history]
        finite = np.isfinite(history[losses]).all(axis=1)
        self.final = last.assign(diverged=~finite.groupby(history["run"]).all()).reset_index()

    def model(self, run):
        """Return the model of a run, with the weights it had after its last epoch.

        Args:
            run: a number from the column `run`.

        Raises:
            InputError: for a number that is not there, or a run that was not finished.
        """
        for program in self._programs:
            if run in program.trained:
                model = program.build()
                variables = model.trainable_variables + model.non_trainable_variables
                for variable, value in zip(variables, program.trained[run]):
                    variable.assign(value)
                return model
        finished = sum(len(program.trained) for program in self._programs)
        raise InputError(f"run {run!r} is not among the {finished} runs that were finished.")

    def plot_history(self, metric="val_loss", by="optimizer", ylabel=None, axis=None):
        """Draw a metric over the epochs: each group's mean, and the range of its runs.

        Args:
            metric: a column of `history`.
            by: the setting that names the groups.
            ylabel: what the metric is, with its unit.
            axis: matplotlib axes to draw on; new ones otherwise.

        Returns:
            The axes.
        """
        axis = plots.bands(self.history, "epoch", metric, by, axis)
        axis.set(xlabel="epoch", ylabel=ylabel or metric)
        return axis

    def plot_final(
        self, metric="val_loss", against="learning_rate", by="optimizer", ylabel=None, axis=None
    ):
        """Draw a metric at the end over a setting: each group's mean, and the range of its runs.

        Args:
            metric: a column of `final`.
            against: the setting on the horizontal axis, which is logarithmic for a rate.
            by: the setting that names the groups.
            ylabel: what the metric is, with its unit.
            axis: matplotlib axes to draw on; new ones otherwise.

        Returns:
            The axes.
        """
        axis = plots.bands(self.final, against, metric, by, axis)
        axis.set(xlabel=against.replace("_", " "), ylabel=ylabel or metric)
        if against in ("learning_rate", "batch_size"):
            axis.set_xscale("log")
        return axis


class _Named:
    """What the names in a run stand for."""

    def __init__(self, optimizers, losses, rows, count):
        self.optimizers, self.losses, self._rows, self._count = optimizers, losses, rows, count

    def optimizer(self, name, rate):
        make = self.optimizers.get(name) or _find(name, "optimizer", _keras_optimizers())
        if not callable(make):
            raise InputError(
                f"optimizers[{name!r}] must be a function that makes an optimizer from a learning "
                f"rate, received {make!r}."
            )
        made = make() if rate is None else make(rate)
        if not isinstance(made, keras.optimizers.Optimizer):
            raise InputError(f"optimizers[{name!r}] must return an optimizer, received {made!r}.")
        config = made.get_config()
        for unsupported in ("use_ema", "gradient_accumulation_steps"):
            if config.get(unsupported):
                raise InputError(f"{name}: {unsupported} is not supported in a sweep; use fit.")
        if isinstance(made, keras.optimizers.LossScaleOptimizer):
            raise InputError(f"{name}: LossScaleOptimizer is not supported in a sweep; use fit.")
        return made

    def loss(self, name):
        if name in self.losses:
            return self.losses[name]
        try:
            return keras.losses.get(name)
        except ValueError:
            known = {k: v for k, v in vars(keras.losses).items() if callable(v)}
            return _find(name, "loss", {k: k for k in known if k not in ("get", "Loss")})

    def rows(self, name):
        if name is None:
            return np.arange(self._count)
        if name not in self._rows:
            raise InputError(f"there are no rows {name!r}; known are {', '.join(self._rows)}.")
        chosen = np.asarray(self._rows[name])
        if chosen.ndim != 1 or not len(chosen) or chosen.min() < 0 or chosen.max() >= self._count:
            raise InputError(f"rows[{name!r}] must be numbers from 0 to {self._count - 1}.")
        return chosen


def _keras_optimizers():
    unfit = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap")
    return {
        k: v for k, v in vars(keras.optimizers).items() if inspect.isclass(v) and k not in unfit
    }


def _find(name, kind, known):
    """Return the entry of a name, however it is capitalised; suggest near ones if there is none."""
    lower = {key.lower(): key for key in known}
    if isinstance(name, str) and name.lower() in lower:
        return known[lower[name.lower()]]
    near = difflib.get_close_matches(str(name).lower(), lower, n=3)
    offer = " or ".join(lower[key] for key in near) or ", ".join(sorted(known))
    raise InputError(
        f"there is no {kind} {name!r}; {'did you mean' if near else 'known are'} {offer}?"
    )


def _check_data(which, x, y):
    if len(x) != len(y) or len(x) == 0:
        raise InputError(
            f"{which}x and y must have one length above 0, received {len(x)}, {len(y)}."
        )


def _check_runs(runs):
    runs = list(runs)
    if not runs:
        raise InputError("there are no runs: the grid is empty.")
    for run in runs:
        if not isinstance(run, dict) or not {"optimizer", "loss"} <= run.keys():
            raise InputError(
                f"a run must be a dict with an optimizer and a loss, received {run!r}."
            )
        rate = run.get("learning_rate", 1)
        if not isinstance(rate, numbers.Real) or not 0 < rate < math.inf:
            raise InputError(f"learning_rate must be a number above 0, received {rate!r}.")
        require_at_least(0, seed=run.get("seed", 0), order_seed=run.get("order_seed", 0))
    known = set()
    for run in runs:
        text = repr(sorted(run.items()))
        if text in known:
            raise InputError(f"one run is there twice: {run!r}.")
        known.add(text)
    return runs


def _complete(run, batch_size):
    run = {"seed": 0, "batch_size": batch_size, **run}
    require_at_least(1, batch_size=run["batch_size"])
    return run


class _Program:
    """Runs that differ in seed, order and learning rate only: one model, trained as many."""

    def __init__(self, numbers, runs, make, named, metrics):
        self.numbers, self.runs, self.trained = numbers, runs, {}
        self.extra = {key: value for key, value in runs[0].items() if key not in _OWN_KEYS}
        self.batch_size, self._make = runs[0]["batch_size"], make
        self.optimizers = [named.optimizer(r["optimizer"], r.get("learning_rate")) for r in runs]
        self.rows = [named.rows(run.get("rows")) for run in runs]
        self._loss, self._metrics = named.loss(runs[0]["loss"]), list(metrics)
        keras.utils.set_random_seed(runs[0]["seed"])
        self.model = self.compiled(0)

    def build(self):
        """Return a new model of this program."""
        try:
            model = self._make(**self.extra)
        except TypeError as error:
            if "argument" not in str(error):
                raise
            raise InputError(f"build cannot be called with {self.extra}: {error}.") from error
        if not isinstance(model, keras.Model) or not model.built:
            raise InputError(f"build must return a built Keras model, received {model!r}.")
        return model

    def compiled(self, place):
        """Return a new model, compiled as the run at this place asks."""
        model = self.build()
        # A metric object counts; each model gets its own.
        metrics = [m if isinstance(m, str) else _again(m) for m in self._metrics]
        model.compile(self.optimizers[place], self._loss, metrics=metrics)
        return model

    def check(self, x, y):
        """Try two examples, so that what does not fit is known before anything is trained."""
        lowest, highest = y.min(), y.max()
        x, y = x[:2], y[:2]
        try:
            self.model(x, training=True)  # layers note what they have seen at their first call
            before = _attributes(self.model)
            y_pred = self.model(x, training=True)
            if _wants_labels(self._loss):
                _check_labels(lowest, highest, y_pred.shape[-1])
            self.model.compute_loss(x=x, y=y, y_pred=y_pred)
            self.model.compute_metrics(x, y, y_pred)
        except InputError:
            raise
        except Exception as error:
            reason = next(line for line in str(error).splitlines() if line.strip())
            raise InputError(
                f"model {self.model.name!r} and the data, {x.dtype} {x.shape[1:]} to {y.dtype} "
                f"{y.shape[1:]}, do not fit: {reason}"
            ) from error
        for place, value in _attributes(self.model).items():
            if before.get(place) != value:
                raise InputError(
                    f"layer {place[0]!r} changes its attribute {place[1]!r} in Python when it is "
                    "called; in a compiled program that would happen once. Use a weight."
                )

    def initial_values(self, places, copy):
        """Return weights, frozen values and slots of some runs, as `fit` would have found them."""
        known = {}
        for seed in {self.runs[place]["seed"] for place in places}:
            keras.utils.set_random_seed(seed)
            model = self.build()
            weights, frozen = (
                [keras.ops.convert_to_numpy(variable) for variable in variables]
                for variables in (model.trainable_variables, model.non_trainable_variables)
            )
            known[seed] = weights, frozen, copy.slots(weights)
        return zip(*(known[self.runs[place]["seed"]] for place in places))

    def groups(self, fitting):
        """Yield the places of runs that train side by side: as many rows, and not too many runs."""
        counts = np.array([len(rows) for rows in self.rows])
        for count in dict.fromkeys(counts.tolist()):
            places = np.flatnonzero(counts == count)
            yield from np.array_split(places, -(-len(places) // fitting))

    def orders(self, place, epochs):
        """Return the rows of a run in the order of each epoch, (epochs, rows)."""
        seed = self.runs[place].get("order_seed", self.runs[place]["seed"])
        rows = self.rows[place]
        return np.stack([rows[order] for order in batch_orders(seed, len(rows), epochs)])


def _again(metric):
    config = isinstance(metric, keras.metrics.Metric) and metric.get_config()
    return type(metric).from_config(config) if config else metric


def _attributes(model):
    """Return what the layers hold in plain Python values, which a compiled step cannot change."""
    found = {}
    for layer in model._flatten_layers():
        for name, value in vars(layer).items():
            if isinstance(value, (bool, int, float, str)):
                found[layer.name, name] = value
            elif isinstance(value, list):
                found[layer.name, name] = len(value)
    return found


def _programs(build, runs, named, metrics, x, y, validation_data):
    """Sort the runs into programs, and check each with one batch before any is trained."""
    groups = {}
    for number, run in enumerate(runs):
        config = named.optimizer(run["optimizer"], run.get("learning_rate")).get_config()
        shared = {key: value for key, value in run.items() if key not in _STACKED_KEYS}
        rest = {k: v for k, v in config.items() if k not in ("learning_rate", "name")}
        key = json.dumps([shared, rest], default=repr, sort_keys=True)
        groups.setdefault(key, []).append(number)
    programs = [
        _Program(numbers, [runs[number] for number in numbers], build, named, metrics)
        for numbers in groups.values()
    ]
    for program in programs:
        program.check(x, y)
        if validation_data is not None:
            program.check(*validation_data)
    return programs


def _wants_labels(loss):
    return "sparse" in getattr(loss, "__name__", type(loss).__name__).lower()


def _check_labels(lowest, highest, classes):
    if lowest < 0 or highest >= classes:
        raise InputError(
            f"the model has {classes} outputs, so labels must lie between 0 and {classes - 1}, "
            f"received {lowest} to {highest}."
        )


def _rates(optimizer, steps, known):
    """Return an optimizer's learning rate at each step."""
    rate = optimizer.get_config()["learning_rate"]
    if not isinstance(rate, dict):
        return np.full(steps, rate, "float32")
    key = json.dumps(rate, sort_keys=True)
    if key not in known:
        schedule = keras.optimizers.schedules.deserialize(rate)
        known[key] = np.array(keras.ops.vectorized_map(schedule, keras.ops.arange(steps)))
    return known[key].astype("float32")


def _train(programs, runs, x, y, epochs, validation_data, memory_mb):
    """Train all programs, one after another, and return the result."""
    train = _train_stacked
    if keras.backend.backend() == "torch":
        warnings.warn(
            "Keras models cannot be stacked on PyTorch: the runs are trained one after another.",
            stacklevel=3,
        )
        train = _train_alone
    budget = psutil.virtual_memory().available / 2 if memory_mb is None else memory_mb * 2**20
    found, line = [], Line(epochs * len(runs), "epochs")
    try:
        for program in programs:
            for epoch, steps, places, logs in train(program, x, y, epochs, validation_data, budget):
                for k, place in enumerate(places):
                    number = program.numbers[place]
                    values = {name: float(log[k]) for name, log in logs.items()}
                    about = {"run": number, **runs[number], "epoch": epoch, "step": steps}
                    about["loss_function"] = about.pop("loss")  # the metric has the name
                    found.append({**about, **values})
                line.update(len(found))
    except KeyboardInterrupt:
        if not found:
            raise
        raise SweepInterrupted(SweepResult(found, programs)) from None
    finally:
        line.close()
    return SweepResult(found, programs)


def _stack_of():
    return JaxStack if keras.backend.backend() == "jax" else TensorFlowStack


def _train_stacked(program, x, y, epochs, validation_data, budget):
    """Train a program's runs side by side; yield what each epoch gave."""
    stack_of = _stack_of()
    copy, size = Copy(program.model, x[:2], y[:2]), program.batch_size
    fitting = max(1, int(budget // stack_of.memory(copy, x[:size], y[:size])))
    for places in program.groups(fitting):
        orders = np.stack([program.orders(place, epochs) for place in places])
        steps, known = -(-orders.shape[2] // size), {}
        rates = np.stack([_rates(program.optimizers[p], epochs * steps, known) for p in places])
        stack = stack_of(copy, *program.initial_values(places, copy), size, epochs * steps)
        data = stack.put([x, y])
        held_out = validation_data and stack.put(validation_data)
        for epoch in range(epochs):
            now = rates[:, epoch * steps : (epoch + 1) * steps]
            logs = stack.epoch(*data, orders[:, epoch], now)
            if held_out:
                found = stack.evaluate(*held_out)
                logs.update({f"val_{name}": values for name, values in found.items()})
            yield epoch + 1, (epoch + 1) * steps, places, logs
        program.trained.update(zip((program.numbers[p] for p in places), stack.values()))


def _train_alone(program, x, y, epochs, validation_data, budget):
    """Train a program's runs one after another with `fit`; yield what each epoch gave."""
    for place, run in enumerate(program.runs):
        keras.utils.set_random_seed(run["seed"])
        model = program.compiled(place)
        model.optimizer.build(model.trainable_variables)  # fit would forget ScheduleFree's start
        for epoch, rows in enumerate(program.orders(place, epochs), start=1):
            history = model.fit(
                *(x[rows], y[rows], program.batch_size),
                shuffle=False,
                verbose=0,
                validation_data=validation_data,
            )
            steps = epoch * -(-len(rows) // program.batch_size)
            yield epoch, steps, [place], history.history
        variables = model.trainable_variables + model.non_trainable_variables
        program.trained[program.numbers[place]] = [keras.ops.convert_to_numpy(v) for v in variables]
