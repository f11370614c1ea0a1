import keras
import numpy as np
import pytest

from kerasaid.training import fit_in_memory

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6)).astype("float32")
Y = RNG.integers(0, 3, 70)
VALIDATION = (X[:15], Y[:15])


def compiled(optimizer=None, dropout=0.0, metrics=("accuracy",)):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dropout(dropout, seed=5),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, kernel_regularizer="l2"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss, metrics=list(metrics))
    return model


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.05, momentum=0.9),
        lambda: keras.optimizers.AdamW(0.01, clipnorm=1.0),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.02, 15)),
        lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    ],
)
def test_it_equals_fit_on_the_same_batches(optimizer, dropout):
    """70 examples in batches of 16: the last batch has 6, and counts for less in the mean loss."""
    options = {"batch_size": 16, "epochs": 3, "shuffle": False, "validation_data": VALIDATION}
    by_fit, ours = compiled(optimizer(), dropout), compiled(optimizer(), dropout)
    expected = by_fit.fit(X, Y, verbose=0, validation_batch_size=15, **options).history
    found = fit_in_memory(ours, X, Y, **options).history
    assert found.keys() == expected.keys()
    for name in expected:
        assert np.allclose(found[name], expected[name], atol=1e-6), name
    for a, b in zip(ours.get_weights(), by_fit.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)


class Untouchable(keras.layers.Layer):
    """A layer that leaves the graph for Python, which XLA cannot."""

    def call(self, x):
        import tensorflow as tf

        same = tf.numpy_function(lambda value: value, [x], x.dtype)
        return x + 0 * tf.ensure_shape(same, x.shape)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow's graphs")
def test_xla_is_used_where_the_model_asks_for_it():
    """As in `fit`: the same numbers, and what XLA cannot compile is refused."""
    losses = []
    for xla in (False, True):
        model = compiled()
        model.compile(model.optimizer, model.loss, jit_compile=xla)
        history = fit_in_memory(model, X, Y, batch_size=16, epochs=2, validation_data=VALIDATION)
        losses.append(history.history["loss"] + history.history["val_loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    for xla in (False, True):
        model = keras.Sequential([keras.Input((6,)), Untouchable(), keras.layers.Dense(1)])
        model.compile(loss="mse", jit_compile=xla)
        if xla:
            with pytest.raises(Exception, match=r"(?i)xla|unsupported|compil"):
                fit_in_memory(model, X, X[:, :1])
        else:
            fit_in_memory(model, X, X[:, :1])


def test_shuffling_follows_the_seed_and_sees_every_example_once():
    seen = []

    class Recorder(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            import tensorflow as tf

            tf.py_function(lambda x: seen.extend(x.numpy()[:, 0].tolist()), [data[0]], [])
            return super().train_step(data)

    x = np.arange(20, dtype="float32")[:, None]
    orders = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        model = Recorder()
        model(x[:1])
        model.compile(loss="mse")
        seen.clear()
        fit_in_memory(model, x, x, batch_size=6, epochs=2)
        orders.append(list(seen))
        assert sorted(seen[:20]) == x[:, 0].tolist() == sorted(seen[20:])
        assert seen[:20] != seen[20:]
    assert orders[0] == orders[1] != orders[2]


def test_callbacks_of_epochs_are_called_and_can_stop():
    model = compiled()
    stop = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=10.0)
    history = fit_in_memory(model, X, Y, epochs=50, callbacks=[stop])
    assert history.epoch == [0, 1]


def test_it_returns_to_where_it_was_for_a_second_call():
    model = compiled()
    first = fit_in_memory(model, X, Y, epochs=2).history["loss"]
    second = fit_in_memory(model, X, Y, epochs=2).history["loss"]
    assert len(first) == len(second) == 2 and second[0] < first[0]


def test_many_models_one_after_another_leave_stderr_silent(capfd):
    for _ in range(7):
        fit_in_memory(compiled(metrics=()), X, Y, validation_data=VALIDATION)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "received 32 and 0"),
        ({"batch_size": -4}, "received -4 and 1"),
        ({"y": Y[:-1]}, "received 70 and 69"),
        ({"x": X[:0], "y": Y[:0]}, "received 0 and 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit_in_memory(compiled(), **{"x": X, "y": Y, **options})


@pytest.mark.parametrize("name", ["TerminateOnNaN", "BackupAndRestore"])
def test_callbacks_that_need_batches_are_refused(name, tmp_path):
    arguments = [str(tmp_path)] if name == "BackupAndRestore" else []
    callback = getattr(keras.callbacks, name)(*arguments)
    with pytest.raises(ValueError, match=rf"{name} works between batches: use model\.fit"):
        fit_in_memory(compiled(), X, Y, callbacks=[callback])


def test_a_model_that_is_not_compiled_is_refused():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)], name="raw")
    with pytest.raises(ValueError, match="'raw' must be built and compiled"):
        fit_in_memory(model, X, Y)
