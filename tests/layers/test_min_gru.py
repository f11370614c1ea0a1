import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract import check_layer
from keras import ops

from kerasaid.errors import InputError
from kerasaid.layers import MinGRU

LENGTHS = [1, 16, 17, 100]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def make(rng, features=3, units=5, **options):
    """A layer whose gates range from nearly shut to nearly open."""
    layer = MinGRU(units, **options)
    layer.build((None, None, features))
    layer.set_weights([rng.normal(size=w.shape, scale=2) for w in layer.get_weights()])
    return layer


def by_the_equation(layer, x, h=0.0, mask=None):
    """The paper's equations, one step after the other, in NumPy and double precision."""
    kernel, bias = (w.astype("float64") for w in layer.get_weights())
    states = []
    for t in range(x.shape[1]):
        gate, candidate = np.split(x[:, t] @ kernel + bias, 2, axis=1)
        z = 1 / (1 + np.exp(-gate))
        new = (1 - z) * h + z * candidate
        h = new if mask is None else np.where(mask[:, t, None], new, h)
        states.append(h + np.zeros_like(new))
    return np.stack(states, axis=1)


def padded(rng, length, batch=4):
    """Masks: full, right-padded, left-padded, with holes."""
    steps = np.arange(length)
    return np.stack(
        [steps >= 0, steps <= length // 2, steps >= length // 2, rng.random(length) < 0.5]
    )[:batch]


class _Cell(keras.layers.Layer):
    """One step by the layer's own `step`, for Keras' own recurrent loop."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.state_size = layer, layer.units

    def call(self, inputs, states):
        h = self.layer.step(inputs, states[0])
        return h, [h]


@pytest.mark.parametrize(("sequences", "state"), [(False, False), (True, False), (True, True)])
def test_contract(sequences, state):
    output = (2, 20, 4) if sequences else (2, 4)
    check_layer(
        MinGRU,
        {
            "units": 4,
            "return_sequences": sequences,
            "return_state": state,
            "bias_initializer": "ones",
            "kernel_initializer": "he_normal",
            "use_bias": sequences,
        },
        input_shape=(2, 20, 3),
        output_shape=(output, (2, 4)) if state else output,
        expected_output_dtype=("float32", "float32") if state else "float32",
        expected_num_trainable_weights=1 + sequences,
        expected_num_non_trainable_weights=0,
        supports_masking=True,
        run_training_check=not state,  # Keras' check takes one output; ours takes the first
    )


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("masked", [False, True])
def test_it_follows_the_equation(rng, length, masked):
    layer = make(rng, return_sequences=True, return_state=True)
    x, h = rng.normal(size=(4, length, 3)), rng.normal(size=(4, 5))
    mask = padded(rng, length) if masked else None
    expected = by_the_equation(layer, x, h, mask)
    states, last = layer(x, initial_state=h, mask=mask)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    np.testing.assert_allclose(last, expected[:, -1], atol=1e-5)
    layer.return_sequences = layer.return_state = False
    np.testing.assert_allclose(
        layer(x, mask=mask), by_the_equation(layer, x, mask=mask)[:, -1], atol=1e-5
    )


@pytest.mark.parametrize("length", [1, 40])
@pytest.mark.parametrize("masked", [False, True])
def test_the_scan_and_its_gradients_equal_keras_loop_over_steps(rng, length, masked):
    layer = make(rng, return_sequences=True, return_state=True)
    loop = keras.layers.RNN(_Cell(layer), return_sequences=True, return_state=True)
    x, h = (tf.Variable(rng.normal(size=s), dtype="float32") for s in [(4, length, 3), (4, 5)])
    weights, last_weights = rng.normal(size=(4, length, 5)), rng.normal(size=(4, 5))
    mask = tf.constant(padded(rng, length)) if masked else None
    if masked:  # before the first step Keras' loop shows zeros, and this layer its state
        weights = weights * (np.cumsum(mask, axis=1) > 0)[:, :, None]
    variables = [x, h, *(v.value for v in layer.trainable_variables)]
    found = []
    for each in (layer, loop):
        with tf.GradientTape() as tape:
            states, last = each(x + 0, initial_state=h + 0, mask=mask)
            loss = ops.sum(states * weights) + ops.sum(last * last_weights)
        found.append([states * (weights != 0), last, *tape.gradient(loss, variables)])
    for scan, steps in zip(*found):
        np.testing.assert_allclose(scan, steps, atol=1e-5 * max(1, np.abs(steps).max()))


def test_the_future_does_not_change_the_past(rng):
    layer = make(rng, return_sequences=True)
    x = rng.normal(size=(2, 40, 3))
    before = np.array(layer(x))
    for t in (1, 15, 16, 39):
        changed = x.copy()
        changed[:, t:] += 1
        after = np.array(layer(changed))
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (after[:, t] != before[:, t]).all()


def test_a_sequence_in_two_parts_equals_the_whole(rng):
    layer = make(rng, return_sequences=True, return_state=True)
    x = rng.normal(size=(2, 40, 3))
    whole, last = layer(x)
    first, state = layer(x[:, :23])
    second, state = layer(x[:, 23:], initial_state=[state])
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-5)
    np.testing.assert_allclose(state, last, atol=1e-5)
    (zeros,) = layer.get_initial_state(2)
    np.testing.assert_allclose(layer(x, initial_state=zeros)[0], whole, atol=1e-6)


def test_extreme_gates_neither_overflow_nor_leak(rng):
    layer = make(rng, features=1, units=1, return_sequences=True)
    layer.set_weights([np.array([[1.0, 0.0]]), np.array([0.0, 1.0])])  # the input is the gate
    x = np.full((1, 3000, 1), -200.0)
    x[0, 1000] = 200.0
    x = tf.constant(x, "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        states = layer(x, initial_state=np.full((1, 1), 0.25))
    states, slope = np.array(states)[0, :, 0], np.array(tape.gradient(states, x))
    assert (states[:1000] == 0.25).all()
    assert (states[1000:] == 1).all()
    assert np.isfinite(slope).all()


def test_low_precision_does_not_forget(rng):
    layer = MinGRU(1, dtype="mixed_bfloat16")
    layer.build((None, None, 1))
    layer.set_weights([np.zeros((1, 2)), np.array([-6.25, 0.0])])
    found = layer(np.zeros((1, 400, 1)), initial_state=np.ones((1, 1)))
    expected = (1 - 1 / (1 + np.exp(6.25))) ** 400
    assert float(found[0, 0]) == pytest.approx(expected, rel=0.01)


def test_masks_come_from_an_embedding_and_go_on(rng):
    ids = np.array([[0, 0, 2, 1, 3], [3, 1, 2, 0, 0]])
    embedding = keras.layers.Embedding(4, 3, mask_zero=True)
    layer = make(rng, return_sequences=True)
    h = np.ones((2, 5), "float32")
    for state in (None, h):
        states = layer(embedding(ids), initial_state=state)
        np.testing.assert_array_equal(states._keras_mask, ids != 0)
        expected = by_the_equation(
            layer, np.array(embedding(ids)), 0.0 if state is None else h, ids != 0
        )
        np.testing.assert_allclose(states, expected, atol=1e-5)
    assert layer.compute_mask(None, "mask") == "mask"
    layer.return_state = True
    assert layer.compute_mask(None, "mask") == ["mask", None]
    layer.return_sequences = False
    assert layer.compute_mask(None, "mask") == [None, None]


@pytest.mark.parametrize("units", [0, -1, 2.5, "8", True])
def test_units_that_cannot_be_are_refused(units):
    with pytest.raises(InputError, match="units must be a whole number of at least 1, received"):
        MinGRU(units)


def test_a_sequence_without_a_time_axis_is_refused():
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        MinGRU(2)(np.ones((4, 3), "float32"))


ON_ANOTHER_BACKEND = """
import keras, numpy as np
from keras import ops
from kerasaid.layers import MinGRU
assert keras.backend.backend() == "{backend}"
data = np.load("{path}/data.npz")
layer = MinGRU(5, return_sequences=True)
layer.build((None, None, 3))
layer.set_weights([data["kernel"], data["bias"]])
found = layer(data["x"], initial_state=data["h"], mask=data["mask"])
np.save("{path}/found.npy", ops.convert_to_numpy(found))
model = keras.Sequential([keras.Input((None, 3)), layer, keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.1), "mse")
model.fit(data["x"], data["x"][..., :1], shuffle=False, verbose=0)
assert all((new != old).any() for new, old in zip(layer.get_weights(), data.values()))
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends(rng, backend, tmp_path):
    pytest.importorskip(backend)
    layer = make(rng)
    kernel, bias = layer.get_weights()
    x, h = (rng.normal(size=s).astype("float32") for s in [(4, 37, 3), (4, 5)])
    mask = padded(rng, 37)
    np.savez(tmp_path / "data.npz", kernel=kernel, bias=bias, x=x, h=h, mask=mask)
    subprocess.run(
        [sys.executable, "-c", ON_ANOTHER_BACKEND.format(backend=backend, path=tmp_path)],
        env=os.environ | {"KERAS_BACKEND": backend},
        check=True,
    )
    expected = by_the_equation(layer, x, h, mask)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-5)
