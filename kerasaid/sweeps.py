"""Sweeps: many copies of a small model, trained side by side as one compiled program.

One training run proves little. Five seeds at six learning rates for five optimizers are 150 runs,
and a small network leaves most of a processor idle: its time goes into starting operations. Here
runs that differ in seed, learning rate or order of the batches are stacked, and each operation
works on all of them at once. Run k is the same run that `fit` would have done alone.
"""

import difflib
import functools
import inspect
import itertools
import json
import math
import numbers
import random
import re

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
        given = given.tolist() if isinstance(given, np.ndarray) and not one else given
        several[name] = [given] if one else [v.item() if hasattr(v, "item") else v for v in given]
        if not several[name]:
            raise InputError(f"the grid is empty: {name} has no values.")
        for value, again in itertools.combinations(several[name], 2):
            if value == again and isinstance(value, bool) == isinstance(again, bool):
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

    The exceptions: Keras' own ScheduleFreeAdamW, which in 3.15.1 strays from its equations where
    variables are changed in place, under `fit` on TensorFlow and PyTorch, but not here; and
    biases whose gradient is nothing but rounding: just before a BatchNormalization, and that of
    the keys in attention. RMSprop and others that divide a sparse gradient are refused with an
    untied Embedding on TensorFlow.

    A run that diverges stays in the table, with nan or inf as its loss. Training can be
    interrupted: the epochs done so far are in the `result` of the `SweepInterrupted` raised.
    On PyTorch, which cannot stack Keras models, the runs follow one another; the progress line
    says so.

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
        rows: names for arrays of row numbers, or for masks; a run whose `rows` names one trains
            on these examples only.
        memory_mb: what may be used; half of what is free otherwise. Runs that would need more
            are trained in several groups.

    Returns:
        A `SweepResult`.

    Raises:
        InputError: before any training, for an unknown name (near ones are suggested), no runs,
            a run that comes twice, a rate that is not above 0, and for a model, data or optimizer
            that cannot be used.
    """
    require_at_least(1, batch_size=batch_size, epochs=epochs)
    if memory_mb is not None:
        require_at_least(1, memory_mb=memory_mb)
    x, y = _checked_data("x and y", (x, y))
    if validation_data is not None:
        validation_data = _checked_data("validation_data", validation_data)
    named = _Named(optimizers or {}, losses or {}, rows or {}, len(x))
    runs = _checked_runs(runs, batch_size)
    _require_different(runs, named)
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

    def plot_history(self, metric="loss", by="optimizer", ylabel=None, axis=None):
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
        self, metric="loss", against="learning_rate", by="optimizer", ylabel=None, axis=None
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
        self.made = functools.cache(self.optimizer)  # to be looked at, not to train with

    def optimizer_name(self, name):
        """Return an optimizer's name as it is written where it is known."""
        return _find(name, "optimizer", {k: k for k in {**_keras_optimizers(), **self.optimizers}})

    def optimizer(self, name, rate):
        """Return a new optimizer."""
        name = self.optimizer_name(name)
        make = {**_keras_optimizers(), **self.optimizers}[name]
        if not callable(make):
            raise InputError(
                f"optimizers[{name!r}] must be a function that makes an optimizer from a learning "
                f"rate, received {make!r}."
            )
        try:
            inspect.signature(make).bind(*([] if rate is None else [rate]))
        except TypeError as error:
            raise InputError(
                f"optimizers[{name!r}] cannot be called with "
                f"{'no learning rate' if rate is None else 'a learning rate'}: {error}."
            ) from error
        made = make() if rate is None else make(rate)
        if not isinstance(made, keras.optimizers.Optimizer):
            raise InputError(f"optimizers[{name!r}] must return an optimizer, received {made!r}.")
        rate = getattr(made, "_learning_rate", None)
        if callable(rate) and not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            raise InputError(
                f"{name}: a function as learning rate is not supported in a sweep; use a schedule."
            )
        config = made.get_config()
        for unsupported in ("use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
            if config.get(unsupported):
                raise InputError(f"{name}: {unsupported} is not supported in a sweep; use fit.")
        return made

    def loss(self, name):
        try:
            return keras.losses.get(self.losses.get(name, name))
        except ValueError:
            unfit = ("get", "serialize", "deserialize", "Loss")
            known = [k for k, v in vars(keras.losses).items() if callable(v) and k not in unfit]
            return keras.losses.get(_find(name, "loss", {**{k: k for k in known}, **self.losses}))

    def rows(self, name):
        everything = np.arange(self._count)
        if name is None:
            return everything
        if name not in self._rows:
            known = ", ".join(map(str, self._rows)) or "none"
            raise InputError(f"there are no rows {name!r}; known are: {known}.")
        try:
            chosen = everything[np.asarray(self._rows[name])]  # numbers or a mask
        except IndexError:
            chosen = everything[:0]
        if chosen.ndim != 1 or not len(chosen) or np.min(self._rows[name]) < 0:
            raise InputError(
                f"rows[{name!r}] must be row numbers from 0 to {self._count - 1}, or a mask of "
                f"{self._count} values, received {self._rows[name]!r}."
            )
        return chosen


def _keras_optimizers():
    unfit = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap")
    return {
        k: v for k, v in vars(keras.optimizers).items() if inspect.isclass(v) and k not in unfit
    }


def _find(name, kind, known):
    """Return the entry of a name, however it is capitalised; suggest near ones if there is none."""
    if name in known:
        return known[name]
    lower = {key.lower(): key for key in known}
    if isinstance(name, str) and name.lower() in lower:
        return known[lower[name.lower()]]
    near = difflib.get_close_matches(str(name).lower(), lower, n=3)
    offer = " or ".join(lower[key] for key in near) or ", ".join(sorted(known))
    question = f"did you mean {offer}?" if near else f"known are {offer}."
    raise InputError(f"there is no {kind} {name!r}; {question}")


def _checked_data(which, data):
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InputError(f"{which} must be a pair (x, y), received {type(data).__name__}.")
    try:
        x, y = (np.asarray(part) for part in data)
    except ValueError:  # rows of different lengths
        x = y = np.array("")
    if any(part.ndim == 0 or part.dtype.kind not in "biuf" for part in (x, y)):
        raise InputError(f"{which}: a sweep needs one array of numbers for x and one for y.")
    if len(x) != len(y) or len(x) == 0:
        raise InputError(f"{which} must have one length above 0, received {len(x)} and {len(y)}.")
    return x, y


def _checked_runs(runs, batch_size):
    """Return the runs with plain values in all their settings; each must be there once."""
    runs, checked = list(runs), []
    if not runs:
        raise InputError("there are no runs: the grid is empty.")
    for run in runs:
        if not isinstance(run, dict) or not {"optimizer", "loss"} <= run.keys():
            raise InputError(
                f"a run must be a dict with an optimizer and a loss, received {run!r}."
            )
        run = {key: _plain(key, value) for key, value in run.items()}
        taken = {"run", "epoch", "step", "loss_function", "diverged"} & run.keys()
        if taken:
            raise InputError(
                f"{min(taken)!r} is a column of the result: give this argument of build another "
                "name."
            )
        run = {"seed": 0, "batch_size": batch_size, **run}
        if "learning_rate" in run:
            rate = run["learning_rate"]
            if not isinstance(rate, numbers.Real) or not 0 < rate < math.inf:
                raise InputError(f"learning_rate must be a number above 0, received {rate!r}.")
            run["learning_rate"] = float(rate)
        require_at_least(0, seed=run["seed"], order_seed=run.get("order_seed", 0))
        require_at_least(1, batch_size=run["batch_size"])
        largest = max(run["seed"], run.get("order_seed", 0))
        if largest >= 2**32:
            raise InputError(f"seeds must be below 2**32, received {largest}.")
        checked.append(run)
    return checked


def _require_different(runs, named):
    """Raise InputError where two runs would be the same, however they are written."""
    known = set()
    for run in runs:
        order_seed = run.get("order_seed", run["seed"])
        same = {
            **run,
            "optimizer": named.optimizer_name(run["optimizer"]),
            "order_seed": order_seed,
        }
        text = repr(sorted(same.items()))
        if text in known:
            raise InputError(f"one run is there twice: {run!r}.")
        known.add(text)


def _plain(key, value):
    value = value.item() if isinstance(value, np.generic) else value
    named = {"optimizer": "optimizers", "loss": "losses"}
    if key in named and not isinstance(value, str):
        raise InputError(
            f"{key} must be a name, received {value!r}: take one that Keras knows, or give it "
            f"one in {named[key]}=."
        )
    parts = value if isinstance(value, (list, tuple)) else [value]
    if not all(part is None or isinstance(part, (str, numbers.Number)) for part in parts):
        raise InputError(
            f"{key} must be a number, a text, None or a list of them, received {value!r}: give "
            "it a name, and look the name up in build."
        )
    return value


class _Program:
    """Runs that differ in seed, order and learning rate only: one model, trained as many."""

    def __init__(self, numbers, runs, make, named, metrics):
        self.numbers, self.runs, self.trained = numbers, runs, {}
        self.extra = {key: value for key, value in runs[0].items() if key not in _OWN_KEYS}
        self.batch_size, self._make = runs[0]["batch_size"], make
        self._optimizers = [(run["optimizer"], run.get("learning_rate")) for run in runs]
        self._named = named
        self.rows = [named.rows(run.get("rows")) for run in runs]
        self._loss, self._metrics = named.loss(runs[0]["loss"]), metrics
        keras.utils.set_random_seed(runs[0]["seed"])
        self.model = self.compiled(0)
        self._initial = {runs[0]["seed"]: _values(self.model)}

    def build(self):
        """Return a new model of this program."""
        try:
            inspect.signature(self._make).bind(**self.extra)
        except TypeError as error:
            raise InputError(f"build cannot be called with {self.extra}: {error}.") from error
        model = self._make(**self.extra)
        if not isinstance(model, keras.Model) or not model.built:
            raise InputError(f"build must return a built Keras model, received {model!r}.")
        ends = getattr(model, "inputs", None) or [0], getattr(model, "outputs", None) or [0]
        if any(len(end) > 1 for end in ends):  # a subclassed model does not say
            raise InputError(f"model {model.name!r} must have one input and one output.")
        if type(model).train_step is not keras.Model.train_step:
            raise InputError(
                f"model {model.name!r} has a train_step of its own, which a sweep would not call: "
                "train it with fit."
            )
        return model

    def compiled(self, place):
        """Return a new model, compiled as the run at this place asks."""
        model = self.build()
        optimizer = self._named.optimizer(*self._optimizers[place])
        model.compile(optimizer, self._loss, metrics=self._metrics)
        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            raise InputError("mixed precision is not supported in a sweep; use fit.")
        return model

    def check(self, x, y):
        """Try two examples, so that what does not fit is known before anything is trained."""
        labels, x, y = y, x[:2], y[:2]
        try:
            self.model(x, training=True)  # layers note what they have seen at their first call
            before = _attributes(self.model)
            y_pred = self.model(x, training=True)
            _check_labels(self._loss, labels, y_pred)
            self.model.compute_loss(x=x, y=y, y_pred=y_pred)
            results = self.model.compute_metrics(x, y, y_pred)
        except InputError:
            raise
        except Exception as error:
            reason = _first_line(error)
            raise InputError(
                f"model {self.model.name!r} and the data, {x.dtype} {x.shape[1:]} to {y.dtype} "
                f"{y.shape[1:]}, do not fit: {reason}"
            ) from error
        for name, value in results.items():
            if np.ndim(value):
                raise InputError(
                    f"metric {name!r} has {np.size(value)} values; a sweep needs one number."
                )
        for place, value in _attributes(self.model).items():
            if before.get(place) != value:
                raise InputError(
                    f"layer {place[0]!r} changes its attribute {place[1]!r} in Python when it is "
                    "called; in a compiled program that would happen once. Use a weight."
                )

    def initial_values(self, places, copy):
        """Return weights, frozen values and slots of some runs, as `fit` would have found them."""
        known = {}
        for seed in dict.fromkeys(self.runs[place]["seed"] for place in places):
            keras.utils.set_random_seed(seed)
            known[seed] = self._initial.get(seed) or _values(self.build())
        slots = copy.slots([weights for weights, _ in known.values()])
        known = {seed: (*values, own) for (seed, values), own in zip(known.items(), slots)}
        return zip(*(known[self.runs[place]["seed"]] for place in places))

    def rates(self, places, steps):
        """Return the learning rates of some runs at each step."""
        rates = {key: _rates(self._named.made(*key), steps) for key in set(self._optimizers)}
        return np.stack([rates[self._optimizers[place]] for place in places])

    def groups(self, fitting):
        """Yield the places of runs that train side by side: as many rows, and not too many runs."""
        counts = np.array([len(rows) for rows in self.rows])
        for count in dict.fromkeys(counts.tolist()):
            places = np.flatnonzero(counts == count)
            yield from np.array_split(places, -(-len(places) // fitting))

    def orders(self, place, epochs):
        """Yield the rows of a run in the order of each epoch."""
        seed = self.runs[place].get("order_seed", self.runs[place]["seed"])
        rows = self.rows[place]
        return (rows[order] for order in batch_orders(seed, len(rows), epochs))


def _values(model):
    """Return a model's weights, and what is frozen, as two lists of arrays."""
    kinds = model.trainable_variables, model.non_trainable_variables
    return [[variable.numpy() for variable in variables] for variables in kinds]


def _rates(optimizer, steps):
    rate = optimizer._learning_rate  # `learning_rate` would be a schedule's first value
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rates = keras.ops.vectorized_map(rate, keras.ops.arange(steps))
        return keras.ops.convert_to_numpy(rates).astype("float32")
    return np.full(steps, rate.numpy(), "float32")


def _first_line(error):
    """Return the line of Keras' message that says what is wrong."""
    lines = [re.sub(r"\x1b\[\d+m", "", line).strip() for line in str(error).splitlines()]
    told = (line for line in lines if line and not line.startswith("Exception encountered"))
    return next(told, type(error).__name__)


def _attributes(model):
    """Return what the layers hold in plain Python values, which a compiled step cannot change."""
    found = {}
    for layer in model._flatten_layers():
        for name, value in vars(layer).items():
            if name == "_tracked":  # Keras' own
                continue
            if isinstance(value, (bool, int, float, str)):
                found[layer.name, name] = value
            elif isinstance(value, list):
                found[layer.name, name] = len(value)
    return found


def _programs(build, runs, named, metrics, x, y, validation_data):
    """Sort the runs into programs, and check each with one batch before any is trained."""
    groups = {}
    for number, run in enumerate(runs):
        optimizer = named.made(run["optimizer"], run.get("learning_rate"))
        config = optimizer.get_config()  # two names may stand for one kind, with two schedules
        rest = {k: v for k, v in config.items() if k not in ("learning_rate", "name")}
        apart = {k: v for k, v in run.items() if k not in (*_STACKED_KEYS, "optimizer")}
        key = [type(optimizer).__qualname__, rest, _scalars(optimizer), apart]
        groups.setdefault(json.dumps(key, default=repr, sort_keys=True), []).append(number)
    programs = [
        _Program(numbers, [runs[number] for number in numbers], build, named, metrics)
        for numbers in groups.values()
    ]
    for program in programs:
        program.check(x, y)
        if validation_data is not None:
            program.check(*validation_data)
        if keras.backend.backend() != "torch":
            size = program.batch_size
            program.copy = Copy(program.model, x[:2], y[:2])
            program.bytes = _stack_of().memory(program.copy, x[:size], y[:size])
    return programs


def _scalars(optimizer):
    """Return an optimizer's plain attributes; its config lacks some, as what is not decayed."""

    def plain(value):
        return value is None or isinstance(value, (bool, int, float, str))

    return {
        name: value
        for name, value in vars(optimizer).items()
        if name not in ("name", "_learning_rate")
        and (plain(value) or (isinstance(value, (list, tuple, set)) and all(map(plain, value))))
    }


def _check_labels(loss, labels, y_pred):
    if "sparse" not in getattr(loss, "__name__", type(loss).__name__).lower():
        return
    ignored = getattr(loss, "ignore_class", None)
    labels = labels[labels != ignored]
    if not labels.size:
        raise InputError(f"every label is {ignored}, which the loss ignores.")
    classes = y_pred.shape[-1]
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"the model has {classes} outputs, so labels must lie between 0 and {classes - 1}, "
            f"received {labels.min()} to {labels.max()}."
        )


def _train(programs, runs, x, y, epochs, validation_data, memory_mb):
    """Train all programs, one after another, and return the result."""
    train, label = _train_stacked, "epochs"
    if keras.backend.backend() == "torch":
        train, label = _train_alone, "epochs, one run after another on PyTorch"
    budget = psutil.virtual_memory().available / 2 if memory_mb is None else memory_mb * 2**20
    found, line = [], Line(epochs * len(runs), label)
    line.update(0)
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
    copy, size = program.copy, program.batch_size
    for places in program.groups(max(1, int(budget // program.bytes))):
        orders = [program.orders(place, epochs) for place in places]
        steps = -(-len(program.rows[places[0]]) // size)
        rates = program.rates(places, epochs * steps)
        stack = _stack_of()(copy, *program.initial_values(places, copy), size, epochs * steps)
        data = stack.put([x, y])
        held_out = validation_data and stack.put(validation_data)
        for epoch in range(epochs):
            now = rates[:, epoch * steps : (epoch + 1) * steps]
            logs = stack.epoch(*data, np.stack([next(order) for order in orders]), now)
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
        program.trained[program.numbers[place]] = [v.numpy() for v in variables]
