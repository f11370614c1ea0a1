"""Time for each token of `generate` against the loops that people write, one token at a time.

The model is the LSTM of notebook 05 with 128 units, over a vocabulary of 5,000. Peer of the line
is a compiled step called from a Python loop; `predict` for each token, as printed in many
tutorials, and sixteen sequences at once stand in the setting. Compiling is timed separately.
"""

import statistics
import time

import numpy as np

import kerasaid
from benchmarks import compare

VOCABULARY, TOKENS = 5_000, 400


class Numbers:
    """A tokenizer of bare ids: what is measured is the model, not the text."""

    kind = "numbers"
    vocabulary_size = VOCABULARY
    pad_id, unk_id, bos_id, eos_id = range(4)

    def encode(self, text):
        return [int(text)]

    def decode(self, ids):
        return " ".join(map(str, ids))


def run():
    import keras
    import tensorflow as tf

    generate = kerasaid.generation.generate
    RecurrentLanguageModel = kerasaid.language_models.RecurrentLanguageModel

    keras.utils.set_random_seed(0)
    model, tokenizer = RecurrentLanguageModel(VOCABULARY, units=128), Numbers()
    bias = np.zeros(VOCABULARY, "float32")
    bias[tokenizer.eos_id] = -1e9  # so that every sequence has its full length
    model.output_layer.bias.assign(bias)
    draws = np.random.default_rng(0)

    def written(texts):
        assert all(len(text.split()) == TOKENS for text in texts)

    def ours(sequences=1):
        start = time.perf_counter()
        (texts,) = generate(model, tokenizer, "7", TOKENS, num_return_sequences=sequences)
        taken = time.perf_counter() - start
        written(texts)
        return 1000 * taken / (sequences * TOKENS)

    compiled = tf.function(model.step)

    def draw(logits):
        logits = np.asarray(logits, "float64")[0]
        logits[:4] = -np.inf
        shares = np.exp(logits - logits.max())
        return int(np.searchsorted(np.cumsum(shares / shares.sum()), draws.random()))

    def steps():
        state, ids = model.initial_state(1), [7]
        start = time.perf_counter()
        for _ in range(TOKENS):
            logits, state = compiled(tf.constant(ids[-1:]), state)
            ids.append(draw(logits))
        return 1000 * (time.perf_counter() - start) / TOKENS

    def predict(count=20):
        ids = [7]
        start = time.perf_counter()
        for _ in range(count):
            ids.append(draw(model.predict(np.array([ids]), verbose=0)[:, -1]))
        return 1000 * (time.perf_counter() - start) / count

    start = time.perf_counter()
    ours()
    compiling = time.perf_counter() - start - ours() * TOKENS / 1000
    steps(), predict(40)  # traces every length that is measured
    predicted, sixteen, alone = [], [], []

    def one():
        alone.append(ours())
        return alone[-1]

    def peer():
        predicted.append(predict())
        sixteen.append(ours(16))
        return steps()

    def times_faster(slow, fast):
        return round(statistics.median(slow) / statistics.median(fast), 2)

    return compare(
        "decode",
        one,
        peer,
        unit="ms/token",
        setting={
            "model": "LSTM 128, vocabulary 5,000, batch 1, drawn at temperature 1",
            "peer": "a tf.function of the step, called from a Python loop that draws with NumPy",
            "tokens_per_second": lambda: round(1000 / statistics.median(alone)),
            "over_predict_per_token": lambda: times_faster(predicted, alone),
            "sixteen_at_once_over_one": lambda: times_faster(alone, sixteen),
            "compiling_s": round(compiling, 2),
        },
        repeats=7,
    )
