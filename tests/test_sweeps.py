import importlib.util
import itertools
import os
import subprocess
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kerasaid import _stacked, sweeps
from kerasaid.errors import InputError
from kerasaid.language_models import RecurrentLanguageModel
from kerasaid.sweeps import SweepInterrupted, batch_orders, grid, sweep
from kerasaid.transformers import TransformerLanguageModel

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6)).astype("float32")
Y = RNG.integers(0, 3, 70)
PICTURES = RNG.normal(size=(40, 8, 8, 1)).astype("float32")
TOKENS = RNG.integers(0, 12, (40, 5))  # each comes several times in a batch
LOSSES = {"cross-entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
OPTIMIZERS = {
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "AdamW": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
    "clipped each": lambda rate: keras.optimizers.Adam(rate, clipnorm=0.05),
    "clipped together": lambda rate: keras.optimizers.Adam(rate, global_clipnorm=0.05),
    "clipped values": lambda rate: keras.optimizers.SGD(rate, clipvalue=0.01),
    "cosine": lambda rate: keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(rate / 10, 8, warmup_target=rate, warmup_steps=3)
    ),
    "steps": lambda rate: keras.optimizers.SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay([2, 5], [rate, rate / 2, rate / 4])
    ),
}
for name in ("SGD", "RMSprop", "Adam", "Lion", "Muon", "Lamb", "Nadam"):
    OPTIMIZERS[name] = getattr(keras.optimizers, name)


class ScheduleFree(keras.optimizers.Optimizer):
    """Schedule-free AdamW from the paper's equations (Defazio et al. 2024), without decay.

    Keras' own, in 3.15.1 on TensorFlow and PyTorch, reads z after it has changed it. In a sweep,
    where nothing is changed in place, it does what the paper says.
    """

    def build(self, variables):
        super().build(variables)
        self.z, self.x, self.v = self.add_optimizer_variables(variables, ["z", "x", "v"])
        for z, x, variable in zip(self.z, self.x, variables):
            z.assign(keras.ops.copy(variable.value))
            x.assign(keras.ops.copy(variable.value))

    def update_step(self, gradient, variable, learning_rate):
        number = self._get_variable_index(variable)
        z, x, v = self.z[number], self.x[number], self.v[number]
        step = keras.ops.cast(self.iterations + 1, "float32")
        v.assign(0.999 * v + 0.001 * keras.ops.square(gradient))
        size = keras.ops.sqrt(v / (1 - 0.999**step)) + 1e-8
        z.assign(z - learning_rate * gradient / size)
        x.assign((1 - 1 / step) * x + z / step)
        self.assign(variable, 0.1 * z + 0.9 * x)


OPTIMIZERS["ScheduleFreeAdamW"] = ScheduleFree


def dense(dropout=0.3):
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(dropout)]
    penalty = {"kernel_regularizer": "l2", "activity_regularizer": "l2"}
    return keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(3, **penalty)])


def convolutional():
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.SeparableConv2D(6, 2, use_bias=False),  # no gradient before BatchNormalization
        keras.layers.BatchNormalization(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dropout(0.2),
    ]
    return keras.Sequential([*layers, keras.layers.Dense(3)])


def embedding():
    layers = [keras.layers.Embedding(12, 4), keras.layers.GlobalAveragePooling1D()]
    return keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(3)])


def recurrent(tied=False):
    return RecurrentLanguageModel(12, 6, tied=tied, dropout=0.2)


def alone(build, run, x, y, batch_size=16, epochs=1, metrics=("accuracy",), validation_data=None):
    """The same run by `fit`, as the docstring of `sweep` writes it."""
    keras.utils.set_random_seed(run["seed"])
    model = build()
    optimizer = OPTIMIZERS[run["optimizer"]](run["learning_rate"])
    model.compile(optimizer, LOSSES[run["loss"]], metrics=list(metrics))
    model.optimizer.build(model.trainable_variables)  # fit drops what ScheduleFree starts from
    options = {"batch_size": batch_size, "shuffle": False, "verbose": 0}
    for order in batch_orders(run.get("order_seed", run["seed"]), len(x), epochs):
        history = model.fit(x[order], y[order], validation_data=validation_data, **options)
    return model, {name: values[-1] for name, values in history.history.items()}


def arrays(model):
    variables = model.trainable_variables + model.non_trainable_variables
    # What is added to every key of attention cancels in its softmax: its gradient is rounding.
    return [variable.numpy() for variable in variables if not variable.path.endswith("key/bias")]


def assert_same(result, number, model, logs, atol=1e-5):
    row = result.history[result.history["run"] == number].iloc[-1]
    for name, value in logs.items():
        assert np.isclose(row[name], value, atol=atol), (name, row[name], value)
    for found, expected in zip(arrays(result.model(number)), arrays(model), strict=True):
        assert np.allclose(found, expected, atol=atol)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_equals_the_same_run_alone_with_every_optimizer(optimizer):
    """70 examples in batches of 16, so the last has 6; dropout draws each run's own masks."""
    runs = grid(optimizer=optimizer, loss="cross-entropy", learning_rate=[0.3, 0.03], seed=[1, 2])
    options = {"batch_size": 16, "metrics": ["accuracy"], "validation_data": (X[:20], Y[:20])}
    result = run_many(runs=runs, **options)
    model, logs = alone(dense, runs[3], X, Y, validation_data=(X[:20], Y[:20]))
    assert set(logs) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert_same(result, 3, model, logs)


def transformer(**more):
    sizes = {"hidden_dim": 8, "num_layers": 1, "num_heads": 2}
    return TransformerLanguageModel(12, 4, **sizes, dropout=0.1, **more)


KINDS = {
    "convolutional": (convolutional, PICTURES, Y[:40]),
    "embedding": (embedding, TOKENS, Y[:40]),
    "recurrent": (recurrent, TOKENS[:, :-1], TOKENS[:, 1:]),
    "tied": (lambda: recurrent(tied=True), TOKENS[:, :-1], TOKENS[:, 1:]),
    "transformer": (transformer, TOKENS[:, :-1], TOKENS[:, 1:]),
    "untied": (lambda: transformer(tied=False), TOKENS[:, :-1], TOKENS[:, 1:]),
}


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    [
        *itertools.product(KINDS, ["momentum", "Adam"]),
        *(("embedding", name) for name in ("SGD", "Lion", "Muon", "clipped together")),
        ("tied", "RMSprop"),
        ("convolutional", "Muon"),
        ("recurrent", "clipped each"),
    ],
)
def test_a_run_equals_the_same_run_alone_for_every_kind_of_model(kind, optimizer):
    build, x, y = KINDS[kind]
    runs = grid(optimizer=optimizer, loss="cross-entropy", learning_rate=0.01, seed=[3, 4])
    result = run_many(build, x, y, runs=runs)
    model, logs = alone(build, runs[1], x, y, metrics=())
    assert_same(result, 1, model, logs)


@pytest.mark.parametrize("kind", ["embedding", "tied", "convolutional"])
def test_a_sweep_of_one_run_equals_it_too(kind):
    build, x, y = KINDS[kind]
    runs = grid(optimizer="Adam", loss="cross-entropy", learning_rate=0.01, seed=3)
    model, logs = alone(build, runs[0], x, y, metrics=())
    assert_same(run_many(build, x, y, runs=runs), 0, model, logs)


def run_many(build=dense, x=X, y=Y, optimizer="Adam", **options):
    runs = options.pop("runs", None) or grid(
        optimizer=optimizer, loss="cross-entropy", learning_rate=0.01, seed=range(3)
    )
    own = {name: make for name, make in OPTIMIZERS.items() if make is not ScheduleFree}
    options = {"optimizers": own, "losses": LOSSES, "batch_size": 16, **options}
    return sweep(build, runs, x, y, **options)


def test_the_tables_hold_every_run_and_epoch():
    runs = grid(optimizer=["SGD", "Adam"], loss="cross-entropy", learning_rate=0.1, seed=[0, 5])
    result = run_many(runs=runs, epochs=3, metrics=["accuracy"], validation_data=(X, Y))
    history, final = result.history, result.final
    assert history["run"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert history["epoch"].tolist() == [1, 2, 3] * 4
    assert history["step"].tolist() == [5, 10, 15] * 4
    assert history["optimizer"].tolist() == ["SGD"] * 6 + ["Adam"] * 6
    assert final["seed"].tolist() == [0, 5, 0, 5]
    last = history[history["epoch"] == 3].reset_index(drop=True)
    shared = [name for name in final if name != "diverged"]
    pd.testing.assert_frame_equal(final[shared], last[shared], check_dtype=False)
    assert not final["diverged"].any()
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(final)


def test_several_epochs_each_in_its_own_order():
    result = run_many(epochs=3)
    run = {"optimizer": "Adam", "loss": "cross-entropy", "learning_rate": 0.01, "seed": 2}
    model, logs = alone(dense, run, X, Y, epochs=3, metrics=())
    assert_same(result, 2, model, logs, atol=3e-5)


def test_it_draws_batches_as_fit_in_memory_does():
    from kerasaid.training import fit_in_memory

    keras.utils.set_random_seed(7)
    model = dense()
    model.compile(keras.optimizers.Adam(0.01), LOSSES["cross-entropy"])
    fit_in_memory(model, X, Y, batch_size=16, epochs=2)
    runs = grid(optimizer="Adam", loss="cross-entropy", learning_rate=0.01, seed=[6, 7])
    assert_same(run_many(runs=runs, epochs=2), 1, model, {})


def test_schedules_of_one_optimizer_share_a_program(monkeypatch):
    counts, make = [], _stacked.Stack.__init__

    def counted(self, copy, weights, *rest):
        counts.append(len(weights))
        make(self, copy, weights, *rest)

    monkeypatch.setattr(_stacked.Stack, "__init__", counted)
    runs = grid(
        optimizer=["Adam", "cosine", "SGD", "steps"],
        loss="cross-entropy",
        learning_rate=0.03,
        seed=[0, 1],
    )
    result = run_many(runs=runs)
    assert counts == [4, 4]
    for number in (1, 3, 7):
        assert_same(result, number, *alone(dense, runs[number], X, Y, metrics=()))


def test_optimizers_that_differ_in_what_no_config_holds_stay_apart():
    def spared(rate):
        optimizer = keras.optimizers.AdamW(rate, weight_decay=0.9)
        optimizer.exclude_from_weight_decay(var_names=["kernel", "bias"])
        return optimizer

    made = {"spared": spared, "plain": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.9)}
    runs = grid(optimizer=["plain", "spared"], loss="Cross-Entropy", learning_rate=0.1)
    result = run_many(runs=runs, optimizers=made)
    for number, run in enumerate(runs):
        alone_ = run_many(runs=[run], optimizers=made)
        assert_same(result, number, alone_.model(0), {"loss": alone_.final["loss"][0]})
    plain, kept = (np.abs(arrays(result.model(number))[0]).mean() for number in (0, 1))
    assert plain < 0.9 * kept


def test_the_order_of_the_batches_can_have_a_seed_of_its_own():
    runs = grid(
        optimizer="Adam", loss="cross-entropy", learning_rate=0.01, seed=1, order_seed=[1, 9]
    )
    result = run_many(runs=runs)
    for number in (0, 1):
        assert_same(result, number, *alone(dense, runs[number], X, Y, metrics=()))
    assert result.final["loss"].nunique() == 2


def test_batch_sizes_arguments_of_build_and_rows_can_differ():
    runs = [
        {"optimizer": "Adam", "loss": "cross-entropy", "learning_rate": 0.01, "seed": 0, **more}
        for more in (
            {"batch_size": 16},
            {"batch_size": 32},
            {"dropout": 0.0},
            {"rows": "few"},
            {"rows": "as few"},
        )
    ]
    few = {"few": np.arange(20), "as few": np.arange(30, 50)}
    result = run_many(runs=runs, rows=few)
    for number, build, rows, size in (
        (0, dense, slice(None), 16),
        (1, dense, slice(None), 32),
        (2, lambda: dense(0.0), slice(None), 16),
        (3, dense, slice(20), 16),
        (4, dense, slice(30, 50), 16),
    ):
        expected = alone(build, runs[number], X[rows], Y[rows], batch_size=size, metrics=())
        assert_same(result, number, *expected)
    assert result.final["step"].tolist() == [5, 3, 5, 2, 2]


def test_rows_can_be_a_mask_and_numbers_can_be_numpys():
    mask = np.zeros(70, bool)
    mask[10:30] = True
    run = {"optimizer": "Adam", "loss": "cross-entropy", "learning_rate": 1, "seed": np.int64(3)}
    runs = [{**run, "rows": "mask"}, {**run, "learning_rate": np.float32(0.1)}]
    result = run_many(runs=runs, rows={"mask": mask})
    plain = [{**each, "seed": 3, "learning_rate": float(each["learning_rate"])} for each in runs]
    assert_same(result, 0, *alone(dense, plain[0], X[mask], Y[mask], metrics=()), atol=1e-4)
    assert_same(result, 1, *alone(dense, plain[1], X, Y, metrics=()))


def test_two_embeddings_and_recurrent_dropout_work_too():
    def build():
        tokens = keras.Input((5,), dtype="int32")
        x = keras.layers.Embedding(12, 4)(tokens) + keras.layers.Embedding(12, 4)(tokens)
        x = keras.layers.LSTM(3, recurrent_dropout=0.3, dropout=0.2)(x)
        return keras.Model(tokens, keras.layers.Dense(3)(x))

    runs = grid(optimizer="Adam", loss="cross-entropy", learning_rate=0.01, seed=[0, 1])
    result = run_many(build, TOKENS, Y[:40], runs=runs)
    assert_same(result, 1, *alone(build, runs[1], TOKENS, Y[:40], metrics=()))


def test_an_ignored_class_is_no_label():
    losses = {"ce": keras.losses.SparseCategoricalCrossentropy(True, ignore_class=-1)}
    runs = grid(optimizer="SGD", loss="ce", seed=[0, 1])
    assert len(run_many(y=np.where(Y == 2, -1, Y), runs=runs, losses=losses).final) == 2


def test_metrics_and_losses_are_those_asked_for():
    def hinge_like(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    targets = X[:, :3]
    result = sweep(
        *(dense, grid(optimizer="SGD", loss=["mine", "huber"], seed=[0, 1]), X, targets),
        losses={"mine": hinge_like},
        metrics=["mae", keras.metrics.RootMeanSquaredError(name="rms")],
    )
    assert result.final["loss"].nunique() == 4
    assert {"mae", "rms"} <= set(result.final)


def test_a_setting_and_a_metric_of_one_name_are_both_kept():
    """`loss` is the setting's name and the metric's: the setting moves to `loss_function`."""
    result = run_many()
    assert result.final["loss_function"].eq("cross-entropy").all()
    assert result.final["loss"].dtype == float


def test_a_run_that_diverges_stays_and_the_others_do_not_notice():
    runs = grid(optimizer="SGD", loss="mse", learning_rate=[0.01, 1e12], seed=[0, 1])
    result = sweep(lambda: dense(0.0), runs, X, X[:, :3], epochs=3, validation_data=(X, X[:, :3]))
    assert result.final["diverged"].tolist() == [False, False, True, True]
    assert len(result.history) == 12
    calm = sweep(lambda: dense(0.0), runs[:2], X, X[:, :3], epochs=3)
    assert np.allclose(result.final["loss"][:2], calm.final["loss"], atol=1e-6)


def test_little_memory_means_several_groups_with_the_same_results(monkeypatch):
    counts, make = [], _stacked.Stack.__init__

    def counted(self, copy, weights, *rest):
        counts.append(len(weights))
        make(self, copy, weights, *rest)

    monkeypatch.setattr(_stacked.Stack, "__init__", counted)
    runs = grid(optimizer="Adam", loss="cross-entropy", learning_rate=0.01, seed=range(7))
    together = run_many(runs=runs)
    kind = sweeps._stack_of()
    monkeypatch.setattr(kind, "memory", staticmethod(lambda *_: 2**20))
    apart = run_many(runs=runs, memory_mb=3)
    assert counts == [7, 3, 2, 2]
    assert np.allclose(together.final["loss"], apart.final["loss"], atol=1e-6)


def test_the_estimate_of_memory_holds_the_values_of_a_copy_and_grows_with_the_batch():
    copies = []
    for build, x in ((dense, X), (recurrent, TOKENS)):
        model = build()
        model.compile("adam", LOSSES["cross-entropy"])
        y = Y[:2] if build is dense else TOKENS[:2]
        model(x[:2])
        model.compute_metrics(x[:2], y, model(x[:2]))
        copies.append((_stacked.Copy(model, x[:2], y), x, y))
    for copy, x, y in copies:
        weights = sum(4 * np.prod(variable.shape) for variable in copy.variables["weights"])
        small, large = (
            sweeps._stack_of().memory(copy, np.repeat(x[:2], n, 0), np.repeat(y, n, 0))
            for n in (1, 16)
        )
        assert small > 4 * weights
        assert large > small + 14 * x[:2].size * 4


def test_the_progress_line_says_where_runs_follow_one_another(monkeypatch):
    labels = []

    class Spied(sweeps.Line):
        def __init__(self, total, label):
            super().__init__(total, label)
            labels.append(label)

    monkeypatch.setattr(sweeps, "Line", Spied)
    runs = grid(loss="cross-entropy", optimizer="SGD", learning_rate=0.1, seed=range(2))
    sweep(dense, runs, X, Y, batch_size=35, epochs=1, losses=LOSSES)
    (label,) = labels
    assert ("one run after another" in label) == (keras.backend.backend() == "torch")


def test_an_interrupted_sweep_keeps_what_is_done(monkeypatch):
    epoch, calls = _stacked.Stack.epoch, itertools.count()

    def interrupted(*arguments):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return epoch(*arguments)

    monkeypatch.setattr(_stacked.Stack, "epoch", interrupted)
    with pytest.raises(SweepInterrupted) as caught:
        run_many(epochs=5)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.result.history["epoch"].max() == 2
    with pytest.raises(InputError, match="run 0 is not among the 0 runs"):
        caught.value.result.model(0)


def test_interrupted_before_the_first_epoch_there_is_nothing_to_keep(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_stacked.Stack, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        run_many()
    assert not isinstance(caught.value, SweepInterrupted)


def test_the_callers_random_numbers_are_left_alone():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    run_many()
    assert np.random.random() == expected  # noqa: NPY002


def test_long_epochs_are_cut_into_blocks_with_the_same_result(monkeypatch):
    calls = []
    whole = run_many(batch_size=2)
    monkeypatch.setattr(_stacked, "_AT_ONCE", 0.0)  # never more than 8 steps in one call
    compile_ = _stacked.TensorFlowStack._compile

    def spied(self, fused):
        train, *rest = compile_(self, fused)

        def counted(*arguments):
            calls.append(arguments[-1].shape[1])
            return train(*arguments)

        return counted, *rest

    monkeypatch.setattr(_stacked.TensorFlowStack, "_compile", spied)
    cut = run_many(batch_size=2)
    assert calls == [8, 8, 8, 8, 3]
    assert np.allclose(whole.final["loss"], cut.final["loss"], atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX fuses everything")
@pytest.mark.parametrize(
    ("optimizer", "multiplies"),
    [
        *[("Adam", False), ("AdamW", False), ("ScheduleFreeAdamW", False)],
        *[("clipped together", False), ("Muon", True)],
    ],
)
def test_the_fused_update_changes_nothing(monkeypatch, optimizer, multiplies):
    runs = grid(optimizer=optimizer, loss="cross-entropy", learning_rate=0.01, seed=[1, 2])
    monkeypatch.setattr(_stacked, "_FUSED_FROM", 0)
    used, find = [], _stacked._multiplies_matrices

    def spied(graph):
        used.append(find(graph))
        return used[-1]

    monkeypatch.setattr(_stacked, "_multiplies_matrices", spied)
    result = run_many(runs=runs)
    assert used == [multiplies]  # matrix products are left to TensorFlow
    assert_same(result, 1, *alone(dense, runs[1], X, Y, metrics=()))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow's options")
@pytest.mark.parametrize("disabled", [False, True])
def test_the_callers_options_for_graphs_are_left_alone(disabled):
    import tensorflow as tf

    options = tf.config.optimizer
    options.set_experimental_options({"disable_meta_optimizer": disabled})
    try:
        run_many()
        assert options.get_experimental_options()["disable_meta_optimizer"] is disabled
    finally:
        options.set_experimental_options({"disable_meta_optimizer": False})


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX maps everything")
def test_the_accuracy_is_not_computed_in_a_loop_over_the_copies():
    run_many(optimizer="SGD", metrics=["accuracy"])
    import tensorflow as tf

    scores = tf.constant(RNG.normal(size=(4, 5, 3)))
    found = tf.vectorized_map(keras.ops.argmax, scores, fallback_to_while_loop=False)
    np.testing.assert_array_equal(found, np.argmax(scores.numpy().reshape(4, -1), axis=-1))


def test_the_grid_is_every_combination_with_the_last_changing_fastest():
    assert grid(a=[1, 2], b="xy", c=np.array([0.5, 1.5])) == [
        {"a": 1, "b": "xy", "c": 0.5},
        {"a": 1, "b": "xy", "c": 1.5},
        {"a": 2, "b": "xy", "c": 0.5},
        {"a": 2, "b": "xy", "c": 1.5},
    ]


def test_plots_show_each_groups_mean_and_range():
    runs = grid(
        optimizer=["SGD", "Adam"], loss="cross-entropy", learning_rate=[0.01, 0.1], seed=[0, 1]
    )
    result = run_many(runs=runs, epochs=2)
    axis = result.plot_final("loss", ylabel="loss (nats)")
    assert [line.get_label() for line in axis.lines] == ["SGD", "Adam"]
    assert axis.get_xscale() == "log"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("learning rate", "loss (nats)")
    sgd = result.final[(result.final["optimizer"] == "SGD")]
    means = sgd.groupby("learning_rate")["loss"].mean()
    assert np.allclose(axis.lines[0].get_ydata(), means)
    low = axis.collections[0].get_paths()[0].vertices[:, 1].min()
    assert np.isclose(low, sgd["loss"].min())
    axis = result.plot_history("loss", by="learning_rate")
    assert axis.get_xlabel() == "epoch"
    assert np.allclose(axis.lines[0].get_xdata(), [1, 2])
    plt.close("all")


class Counting(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x


class InPython(keras.layers.Layer):
    def call(self, x):
        import tensorflow as tf

        return tf.ensure_shape(tf.py_function(lambda v: v, [x], "float32"), x.shape)


class OwnGenerator(keras.layers.Layer):
    def call(self, x):
        import tensorflow as tf

        return x + tf.random.normal(tf.shape(x))


class Twice(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.table = keras.layers.Embedding(12, 4)

    def call(self, x):
        return self.table(x)[:, 0] + self.table(x)[:, 1]


class Shifted(Twice):
    def call(self, x):
        return keras.ops.mean(self.table((x + 1) % 12), axis=1)


class Unseeded(keras.layers.Layer):
    def call(self, x):
        return keras.random.dropout(x, 0.5)


class Idle(keras.layers.Layer):
    def build(self, shape):
        self.unused = self.add_weight(shape=(2,), name="unused")

    def call(self, x):
        return x


class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


def own():
    pixels = keras.Input((6,))
    return Own(pixels, keras.layers.Dense(3)(pixels))


def two_ends():
    first, second = keras.Input((6,)), keras.Input((6,))
    return keras.Model([first, second], keras.layers.Dense(3)(first + second))


def after(layer, shape=(6,)):
    layers = [keras.Input(shape), layer, keras.layers.Dense(3)]
    return lambda: keras.Sequential(layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": []}, "there are no runs"),
        ({"optimizer": "adaam"}, "no optimizer 'adaam'; did you mean Adam"),
        ({"optimizer": "xyz"}, "no optimizer 'xyz'; known are Adadelta"),
        ({"loss": "huberr"}, "no loss 'huberr'; did you mean huber"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0, received 0"),
        ({"learning_rate": -0.1}, "above 0, received -0.1"),
        ({"learning_rate": float("nan")}, "above 0, received nan"),
        ({"learning_rate": "fast"}, "above 0, received 'fast'"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"width": 3}, "build cannot be called with {'width': 3}"),
        ({"rows": "most"}, "no rows 'most'; known are: few, none, far, slice"),
        ({"rows": "none"}, "must be row numbers from 0 to 69"),
        ({"rows": "far"}, "must be row numbers from 0 to 69"),
        ({"twice": True}, "one run is there twice"),
        ({"not a dict": True}, "a run must be a dict"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"x": X[:0], "y": Y[:0]}, "one length above 0"),
        ({"y": Y[:5]}, "one length above 0, received 70 and 5"),
        ({"x": X[:, :4]}, "do not fit: .*to have value 6, but received"),
        ({"x": {"a": X}}, "needs one array of numbers for x"),
        ({"x": [X, X]}, "one length above 0, received 2 and 70"),
        ({"y": np.array(["a"] * 70)}, "needs one array of numbers for x and one for y"),
        ({"validation_data": (X, Y, Y)}, r"must be a pair \(x, y\)"),
        ({"validation_data": X}, r"must be a pair \(x, y\), received ndarray"),
        ({"memory_mb": -1}, "memory_mb must be a whole number of at least 1, received -1"),
        ({"memory_mb": 0}, "memory_mb must be a whole number of at least 1, received 0"),
        ({"seed": 2**32}, "seeds must be below"),
        ({"seed": 1, "order_seed": 2**32}, "seeds must be below .*, received 4294967296"),
        ({"step": 7}, "'step' is a column of the result"),
        (
            {"optimizer": keras.optimizers.SGD()},
            "optimizer must be a name, received .* optimizers=",
        ),
        ({"loss": ["mse"]}, r"loss must be a name, received \['mse'\]: .* in losses="),
        ({"rows": "slice"}, "must be row numbers from 0 to 69"),
        (
            {"optimizers": {"SGD": lambda r: keras.optimizers.SGD(lambda: r)}},
            "a function as learning rate is not supported",
        ),
        ({"dropout": np.zeros(3)}, "dropout must be a number, a text, None or a list"),
        (
            {"metrics": [keras.metrics.F1Score()], "y": np.eye(3)[Y], "loss": "mse"},
            "metric 'f1_score' has 3 values",
        ),
        ({"build": lambda: own()}, "train_step of its own"),
        ({"build": lambda: two_ends()}, "must have one input and one output"),
        ({"optimizer": "mne", "optimizers": {"mine": keras.optimizers.SGD}}, "did you mean mine"),
        (
            {"optimizers": {"SGD": lambda: keras.optimizers.SGD()}},
            "cannot be called with a learning",
        ),
        ({"y": Y + 1}, "labels must lie between 0 and 2, received 1 to 3"),
        ({"y": np.stack([Y, Y, Y, Y], 1)}, "do not fit"),
        ({"validation_data": (X[:, :4], Y)}, "do not fit"),
        ({"build": lambda: "a model"}, "must return a built Keras model, received 'a model'"),
        ({"build": keras.Sequential}, "must return a built Keras model"),
        ({"build": after(Counting())}, "changes its attribute 'calls'"),
        ({"optimizers": {"SGD": keras.optimizers.SGD(0.1)}}, "must be a function that makes"),
        ({"optimizers": {"SGD": lambda rate: rate}}, "must return an optimizer, received 0.1"),
        ({"optimizers": {"SGD": lambda r: keras.optimizers.SGD(r, use_ema=True)}}, "use_ema"),
        (
            {
                "optimizers": {
                    "SGD": lambda r: keras.optimizers.SGD(r, gradient_accumulation_steps=2)
                }
            },
            "gradient_accumulation_steps is not supported",
        ),
    ],
)
def test_bad_input_is_refused_before_any_training(monkeypatch, change, message):
    monkeypatch.setattr(_stacked.Stack, "epoch", lambda *_: pytest.fail("it trained"))
    run = {"optimizer": "SGD", "loss": "cross-entropy", "learning_rate": 0.1}
    given = {"build": dense, "x": X, "y": Y, "losses": LOSSES}
    given["rows"] = {"few": np.arange(5), "none": np.arange(0), "far": np.array([70])}
    given["rows"]["slice"] = slice(0, 2)
    keys = {"optimizer", "loss", "learning_rate", "seed", "batch_size", "width", "dropout"}
    keys |= {"order_seed", "step"}
    run.update({key: value for key, value in change.items() if key in keys})
    if isinstance(change.get("rows"), str):
        run["rows"] = change["rows"]
        change = {}
    runs = [run, run] if "twice" in change else ["run"] if "not a dict" in change else [run]
    skip = keys | {"twice", "not a dict"}
    given.update({key: value for key, value in change.items() if key not in skip})
    runs = given.pop("runs", runs)
    with pytest.raises(InputError, match=message.replace("{", r"\{")) as caught:
        sweep(given.pop("build"), runs, given.pop("x"), given.pop("y"), **given)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow's operations")
@pytest.mark.parametrize(
    ("build", "x", "message"),
    [
        (after(InPython()), X, "EagerPyFunc works outside"),
        (after(OwnGenerator()), X, "RandomStandardNormal works outside"),
        (after(Unseeded()), X, "ReadVariableOp works outside"),
        (after(Idle()), X, "idle/unused' has no part in the loss"),
        (after(Twice(), (5,)), np.tile(TOKENS, (2, 1))[:70], "not once for each number in x"),
        (after(Shifted(), (5,)), np.tile(TOKENS, (2, 1))[:70], "not once for each number in x"),
    ],
)
def test_layers_that_cannot_be_copied_are_refused(monkeypatch, build, x, message):
    monkeypatch.setattr(_stacked.Stack, "epoch", lambda *_: pytest.fail("it trained"))
    runs = grid(optimizer="SGD", loss="cross-entropy", seed=[0, 1])
    with pytest.raises(InputError, match=message):
        sweep(build, runs, x, Y, losses=LOSSES)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "a has no values"),
        ([1, 2, 1], "holds 1 twice"),
        (np.ones((2, 2)), r"holds \[1.0, 1.0\] twice"),
    ],
)
def test_a_grid_with_nothing_or_twice_the_same_is_refused(bad, message):
    with pytest.raises(InputError, match=message):
        grid(a=bad, b=[1])


@pytest.mark.parametrize("other", [{"optimizer": "sgd"}, {"order_seed": 3}, {"batch_size": 32}])
def test_one_run_in_two_spellings_is_refused(other):
    run = {"optimizer": "SGD", "loss": "cross-entropy", "seed": 3}
    with pytest.raises(InputError, match="one run is there twice"):
        sweep(dense, [run, {**run, **other}], X, Y, losses=LOSSES)


def test_labels_that_are_all_ignored_are_refused():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    runs = grid(optimizer="SGD", loss="some")
    with pytest.raises(InputError, match="every label is -1, which the loss ignores"):
        sweep(dense, runs, X, np.full(70, -1), losses={"some": loss})


def test_a_grid_tells_true_from_one():
    assert [run["a"] for run in grid(a=[True, 1])] == [True, 1]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    """JAX stacks too; PyTorch trains one run after another, and says so where one waits."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'kerasaid[{backend}]'")
    chosen = "every_kind_of_model or every_optimizer or tables or own_order or batch_sizes or says"
    if backend == "torch":  # where it does not stack, it is Keras' own ScheduleFreeAdamW
        chosen = f"({chosen}) and not ScheduleFree"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            __file__,
            "-k",
            chosen,
        ],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
