"""The well-known listing against the recipe of notebook 01, on all 60,000 training digits.

Both train the same network, 784-128-dropout 0.2-10 with logits. The time of a repeat is that of
building, compiling and training; the accuracy on the test digits is computed afterwards.
"""

import statistics
import time

import kerasaid
from benchmarks import compare

EPOCHS, BATCH_SIZE = 7, 512


def run():
    import keras
    import numpy as np

    from kerasaid.training import fit_in_memory

    (x_train, y_train), (x_test, y_test) = kerasaid.datasets.load_mnist()
    x_train, x_test = (x.reshape(len(x), -1).astype("float32") / 255 for x in (x_train, x_test))
    accuracies = {"ours": [], "peer": []}

    def measure(who, train):
        keras.utils.set_random_seed(len(accuracies[who]))
        start = time.perf_counter()
        model = keras.Sequential(
            [
                keras.Input((784,)),
                keras.layers.Dense(128, activation="relu"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(10),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        train(model, loss)
        taken = time.perf_counter() - start
        answers = np.asarray(model(x_test)).argmax(axis=1)
        accuracies[who].append(100 * float(np.mean(answers == y_test)))
        return taken

    def listing(model, loss):
        model.compile("adam", loss, metrics=["accuracy"])
        model.fit(x_train, y_train, epochs=5, verbose=0)

    def recipe(model, loss):
        steps = EPOCHS * -(-len(x_train) // BATCH_SIZE)
        rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
        model.compile(keras.optimizers.Adam(rate, beta_2=0.99), loss)
        fit_in_memory(model, x_train, y_train, batch_size=BATCH_SIZE, epochs=EPOCHS)

    return compare(
        "mnist_time_to_accuracy",
        lambda: measure("ours", recipe),
        lambda: measure("peer", listing),
        unit="s",
        setting={
            "peer": "fit, batch 32, 5 epochs, Adam",
            "ours": f"fit_in_memory, batch {BATCH_SIZE}, {EPOCHS} epochs, cosine from 0.01",
            "ours_accuracy_percent": lambda: round(statistics.mean(accuracies["ours"]), 3),
            "ours_accuracy_sd": lambda: round(statistics.stdev(accuracies["ours"]), 3),
            "peer_accuracy_percent": lambda: round(statistics.mean(accuracies["peer"]), 3),
            "peer_accuracy_sd": lambda: round(statistics.stdev(accuracies["peer"]), 3),
        },
    )
