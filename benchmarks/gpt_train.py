"""Tokens a second in training: our decoder on each backend, against the same in plain PyTorch.

4 blocks, 128 wide, 4 heads, windows of 128 characters, 32 in a batch, AdamW. Each backend is
measured in a process of its own, in which an epoch of ours and one of the peer take turns. The
line is the backend that comes out best; the others stand in the setting.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

import kerasaid  # noqa: F401, keeps TensorFlow quiet

VOCABULARY, LENGTH, BATCH_SIZE, STEPS, REPEATS = 65, 128, 32, 12, 5
WIDTH, LAYERS, HEADS, RATE = 128, 4, 4, 0.001


def run():
    if not importlib.util.find_spec("torch"):
        numbers = dict.fromkeys(("ours", "peer", "ratio"))
        setting = {"skipped": "the peer is PyTorch: pip install torch"}
        return {"name": "gpt_train", **numbers, "unit": "tokens/s", "setting": setting}
    backends = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
    found = {backend: in_its_own_process(backend) for backend in backends}
    ratios = {name: round(each["ours"] / each["peer"], 3) for name, each in found.items()}
    best = max(ratios, key=ratios.get)
    return {
        "name": "gpt_train",
        **{who: round(found[best][who]) for who in ("ours", "peer")},
        "ratio": ratios[best],
        "unit": "tokens/s",
        "setting": {
            "repeats": REPEATS,
            "model": f"{LAYERS} blocks, {WIDTH} wide, {HEADS} heads",
            "tokens_in_a_step": f"{BATCH_SIZE} x {LENGTH}",
            "peer": "the same model and optimizer in a plain PyTorch loop",
            "backend": best,
            "ratios": ratios,
            "compiling_s": {name: round(each["compiling"], 1) for name, each in found.items()},
            "first_losses": {name: each["losses"] for name, each in found.items()},
        },
    }


def in_its_own_process(backend):
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpt_train"],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        raise SystemExit(f"{backend}: {answer.stderr[-2000:]}")
    return json.loads(answer.stdout.splitlines()[-1])


def measure():
    """Return tokens a second of ours and of the peer, on the backend of this process."""
    import keras
    import numpy as np
    import torch
    from torch.nn import functional

    from benchmarks._torch_gpt import decoder
    from kerasaid.training import fit_in_memory
    from kerasaid.transformers import TransformerLanguageModel

    keras.utils.set_random_seed(0)
    sizes = {"hidden_dim": WIDTH, "num_layers": LAYERS, "num_heads": HEADS}
    model = TransformerLanguageModel(VOCABULARY, LENGTH, **sizes)
    peer = decoder(model)
    rng = np.random.default_rng(0)
    text = rng.integers(0, VOCABULARY, (STEPS * BATCH_SIZE, LENGTH + 1))
    x, y = text[:, :-1].astype("int32"), text[:, 1:].astype("int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(RATE, weight_decay=0.01, epsilon=1e-8), loss)
    optimizer = torch.optim.AdamW(peer.parameters(), RATE, weight_decay=0.01)
    x_torch, y_torch = torch.tensor(x).long(), torch.tensor(y).long()
    seconds, losses = {"ours": [], "peer": []}, {"ours": [], "peer": []}

    def epoch_of_the_peer():
        start, total = time.perf_counter(), 0.0
        for rows in torch.arange(len(x)).split(BATCH_SIZE):
            logits = peer(x_torch[rows])
            cost = functional.cross_entropy(logits.flatten(0, 1), y_torch[rows].flatten())
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
            total += float(cost)
        seconds["peer"].append(time.perf_counter() - start)
        losses["peer"].append(round(total / STEPS, 4))

    class InTurn(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds["ours"].append(time.perf_counter() - self.start)
            losses["ours"].append(round(float(logs["loss"]), 4))
            epoch_of_the_peer()

    options = {"batch_size": BATCH_SIZE, "epochs": REPEATS + 1, "shuffle": False}
    fit_in_memory(model, x, y, callbacks=[InTurn()], **options)
    tokens = STEPS * BATCH_SIZE * LENGTH
    medians = {who: statistics.median(taken[1:]) for who, taken in seconds.items()}
    return {
        **{who: tokens / median for who, median in medians.items()},
        "compiling": seconds["ours"][0] - medians["ours"],
        "losses": {who: each[:2] for who, each in losses.items()},
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
