"""Forward and backward pass of the project's LSTM layer, 100 steps, 256 → 256, batch 32 and 64.

The project uses `keras.layers.LSTM`, so ours is the peer, and a ratio away from 1 is noise; see
docs/lstm_layer.md for the reason. Beside it stand `torch.nn.LSTM`, if torch is installed, and the
floor: the same multiplications as plain matrix products, those of a step one after the other.
"""

import statistics
import time

import kerasaid  # noqa: F401, keeps TensorFlow quiet
from benchmarks import compare

STEPS, UNITS, BATCHES = 100, 256, (32, 64)


def keras_pass(batch_size):
    """Return a function that computes the outputs and all gradients once."""
    import keras
    import tensorflow as tf

    layer = keras.layers.LSTM(UNITS, return_sequences=True)
    layer.build((batch_size, STEPS, UNITS))
    x, weights = tf.random.normal((2, batch_size, STEPS, UNITS))

    @tf.function
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) * weights)
        return tape.gradient(loss, [x, *layer.trainable_variables])

    return lambda: both(x)[0].numpy()


def torch_pass(batch_size):
    import torch

    layer = torch.nn.LSTM(UNITS, UNITS, batch_first=True)
    x, weights = torch.randn(2, batch_size, STEPS, UNITS)
    x.requires_grad_()

    def both():
        x.grad = None
        layer.zero_grad()
        (layer(x)[0] * weights).sum().backward()

    return both


def floor_pass(batch_size):
    import tensorflow as tf

    gates = 4 * UNITS
    # With this scale the chain of products neither grows nor fades.
    kernel = tf.random.normal((UNITS, gates)) * (UNITS * gates) ** -0.25
    x = tf.random.normal((batch_size * STEPS, UNITS))
    dz = tf.random.normal((batch_size * STEPS, gates))

    @tf.function
    def products(x, dz, kernel):
        h = x[:batch_size]
        for _ in range(STEPS):  # forward h U, backward dz Uᵀ: each step waits for the last
            h = tf.matmul(tf.matmul(h, kernel), kernel, transpose_b=True)
        inputs, dx = tf.matmul(x, kernel), tf.matmul(dz, kernel, transpose_b=True)
        # Twice, for the input weights and for the recurrent ones.
        dw, du = tf.matmul(x, dz, transpose_a=True), tf.matmul(x + 1, dz, transpose_a=True)
        return h, inputs, dx, dw, du

    return lambda: [product[0, 0].numpy() for product in products(x, dz, kernel)]


def run():
    makers = {"ours": keras_pass, "peer": keras_pass, "floor": floor_pass}
    try:
        import torch

        makers["torch"] = torch_pass
        torch_version = torch.__version__
    except ImportError:
        torch_version = "not installed"
    passes = {(who, b): make(b) for who, make in makers.items() for b in BATCHES}
    for each in passes.values():
        each(), each()  # compiles
    taken = {key: [] for key in passes}

    def milliseconds(who):
        for batch_size in BATCHES:
            begun = time.perf_counter()
            passes[who, batch_size]()
            taken[who, batch_size].append(1000 * (time.perf_counter() - begun))
        return sum(taken[who, batch_size][-1] for batch_size in BATCHES)

    def peer():
        for who in makers.keys() - {"ours", "peer"}:
            milliseconds(who)
        return milliseconds("peer")

    def beside(batch_size):
        operations = 3 * 2 * batch_size * STEPS * 2 * UNITS * 4 * UNITS
        found = {}
        for who in makers:
            median = statistics.median(taken[who, batch_size])
            found[who] = {"ms": round(median, 1), "GF/s": round(operations / median / 1e6)}
        return found

    return compare(
        "lstm_layer",
        lambda: milliseconds("ours"),
        peer,
        unit="ms",
        setting={
            "ours": "keras.layers.LSTM, as the project uses it",
            "peer": "keras.layers.LSTM",
            "shape": f"{STEPS} steps, {UNITS} → {UNITS}, forward and backward, batches summed",
            "torch": torch_version,
            **{f"batch_{b}": lambda b=b: beside(b) for b in BATCHES},
        },
        repeats=15,
    )
