"""Time to the same validation loss: a language model with LSTM against one with MinGRU.

Both read the docstrings of Keras' layers character by character, in windows of 256, with one
layer of 128 units. The loss to reach is what the LSTM has after a short budget of steps; then
both are trained to it with other seeds. Compiling and validating are not timed.
"""

import inspect
import statistics
import time

import kerasaid  # noqa: F401, keeps TensorFlow quiet
from benchmarks import compare

LENGTH, UNITS, BATCH_SIZE = 256, 128, 32
BUDGET, VALIDATE_EVERY = 120, 10  # steps
RATES = {"LSTM": 0.01, "MinGRU": 0.01}  # 0.02: LSTM worse, MinGRU the same


def windows():
    """Return training and validation windows (x, y), and the number of different characters."""
    import keras
    import numpy as np

    members = [getattr(keras.layers, name) for name in sorted(dir(keras.layers))]
    text = "\n\n".join(inspect.getdoc(m) or "" for m in members if inspect.isclass(m))
    characters, ids = np.unique(list(text), return_inverse=True)
    count = (len(ids) - 1) // LENGTH
    x, y = (ids[i : count * LENGTH + i].reshape(count, LENGTH).astype("int32") for i in (0, 1))
    kept = count - 32  # contiguous: the last windows validate
    return (x[:kept], y[:kept]), (x[kept:], y[kept:]), len(characters)


def make(name, vocabulary_size, rate=None):
    import keras

    from kerasaid.layers import MinGRU

    layer = MinGRU if name == "MinGRU" else keras.layers.LSTM
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            keras.layers.Embedding(vocabulary_size, UNITS),
            layer(UNITS, return_sequences=True),
            keras.layers.Dense(vocabulary_size),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate or RATES[name], clipnorm=1.0), loss)
    return model


def train(name, data, seed, target=None, rate=None):
    """Return seconds, steps and validation loss at the target, or else after the budget."""
    import keras
    import numpy as np

    (x, y), validation, vocabulary_size = data
    keras.utils.set_random_seed(seed)
    model = make(name, vocabulary_size, rate)
    model.optimizer.build(model.trainable_variables)
    variables = model.variables + model.optimizer.variables
    start = [variable.numpy() for variable in variables]
    model.train_on_batch(x[:BATCH_SIZE], y[:BATCH_SIZE])  # compiles
    model.test_on_batch(*validation)
    for variable, value in zip(variables, start):
        variable.assign(value)
    rng, seconds = np.random.default_rng(seed), 0.0
    for step in range(1, 4 * BUDGET + 1):
        rows = rng.choice(len(x), BATCH_SIZE, replace=False)
        begun = time.perf_counter()
        model.train_on_batch(x[rows], y[rows])
        seconds += time.perf_counter() - begun
        if step % VALIDATE_EVERY == 0:
            model.reset_metrics()
            loss = float(model.test_on_batch(*validation))
            model.reset_metrics()
            if loss <= target if target else step == BUDGET:
                return seconds, step, loss
    raise RuntimeError(f"{name} did not reach {target:.3f} in {step} steps: {loss:.3f}.")


def run():
    data = windows()
    _, _, target = train("LSTM", data, seed=0)
    steps = {"LSTM": [], "MinGRU": []}

    def repeat(name):
        seconds, count, _ = train(name, data, seed=1 + len(steps[name]), target=target)
        steps[name].append(count)
        return seconds

    return compare(
        "min_gru",
        lambda: repeat("MinGRU"),
        lambda: repeat("LSTM"),
        unit="s",
        setting={
            "peer": "keras.layers.LSTM",
            "model": f"embedding, one layer of {UNITS}, dense; {data[2]} characters",
            "length": LENGTH,
            "batch_size": BATCH_SIZE,
            "adam_learning_rates": RATES,
            "target_nats_per_character": round(target, 3),
            "target_from": f"the LSTM after {BUDGET} steps",
            "ours_steps": lambda: statistics.median(steps["MinGRU"]),
            "peer_steps": lambda: statistics.median(steps["LSTM"]),
            "ours_parameters": make("MinGRU", data[2]).count_params(),
            "peer_parameters": make("LSTM", data[2]).count_params(),
        },
    )
