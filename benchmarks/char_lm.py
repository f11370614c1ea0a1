"""Time to the validation loss of a small GPT: our LSTM against the well-known recipe in PyTorch.

The peer is the decoder that nanoGPT's readme trains on a laptop: 4 blocks, 128 wide, windows of
64 characters, 12 in a batch, 2,000 steps, with its optimizer and schedule. Ours is one LSTM layer
with a fixed number of steps. Both read the same characters, the last tenth validates, and the
seconds hold everything from the making of the model to the end of a pass over all of validation,
compiling included. The text is the docstrings of Keras, or a file of your own:

    KERASAID_TEXT=shakespeare.txt make bench BENCH=char_lm
"""

import importlib.util
import math
import os
import time
from pathlib import Path

import kerasaid  # noqa: F401, keeps TensorFlow quiet
from benchmarks import compare

LENGTH, CHARACTERS = 64, 1_115_394  # as long as the text that nanoGPT's recipe was made for
STEPS, BATCH_SIZE, UNITS, EMBEDDING, RATE = 250, 32, 128, 64, 0.02
PEER = {"steps": 2000, "batch_size": 12, "width": 128, "blocks": 4, "heads": 4}


def read():
    """Return training ids, validation ids and the number of different characters."""
    import numpy as np

    path = os.environ.get("KERASAID_TEXT")
    if path:
        text = Path(path).read_text(encoding="utf-8")
    else:
        from kerasaid.datasets import load_keras_docs

        text = "\n\n".join(load_keras_docs())
    characters, ids = np.unique(list(text[:CHARACTERS]), return_inverse=True)
    first = int(0.9 * len(ids))
    return ids[:first].astype("int32"), ids[first:].astype("int32"), len(characters)


def windows(ids, starts):
    """Return inputs, and targets one character later, from each start."""
    import numpy as np

    places = np.asarray(starts)[:, None] + np.arange(LENGTH)
    return ids[places], ids[places + 1]


def ours(train, valid, vocabulary_size, seed):
    """Return the validation loss of the LSTM in nats a character."""
    import keras
    import numpy as np

    from kerasaid.language_models import RecurrentLanguageModel
    from kerasaid.training import fit_in_memory

    keras.utils.set_random_seed(seed)
    model = RecurrentLanguageModel(vocabulary_size, UNITS, embedding_dim=EMBEDDING)
    rate = keras.optimizers.schedules.CosineDecay(RATE, STEPS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, beta_2=0.99, clipnorm=1.0), loss)
    rng = np.random.default_rng(seed)
    data = windows(train, rng.integers(0, len(train) - LENGTH, STEPS * BATCH_SIZE))
    fit_in_memory(model, *data, batch_size=BATCH_SIZE)
    starts = range(0, len(valid) - LENGTH, LENGTH)
    return model.evaluate(*windows(valid, starts), batch_size=256, verbose=0)


def peer(train, valid, vocabulary_size, seed):
    """Return the validation loss of the decoder in plain PyTorch, in nats a character."""
    import numpy as np
    import torch
    from torch.nn import functional

    model = _decoder(vocabulary_size, seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), 1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True
    )
    rng = np.random.default_rng(seed)

    def cost(x, y, reduction="mean"):
        x, y = (torch.from_numpy(part).long() for part in (x, y))
        return functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction=reduction)

    for step in range(PEER["steps"]):
        share = max(0, step - 100) / (PEER["steps"] - 100)  # 100 steps of warm-up
        rate = 1e-4 + 0.5 * 9e-4 * (1 + math.cos(math.pi * share))
        optimizer.param_groups[0]["lr"] = min(rate, 1e-3 * (step + 1) / 100)
        starts = rng.integers(0, len(train) - LENGTH, PEER["batch_size"])
        optimizer.zero_grad()
        cost(*windows(train, starts)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    starts = range(0, len(valid) - LENGTH, LENGTH)
    with torch.no_grad():
        total = sum(
            float(cost(*windows(valid, starts[first : first + 256]), "sum"))
            for first in range(0, len(starts), 256)
        )
    return total / (len(starts) * LENGTH)


def _decoder(vocabulary_size, seed):
    """Return the decoder with nanoGPT's initial weights, in place of Keras'."""
    import torch

    from benchmarks._torch_gpt import decoder
    from kerasaid.transformers import TransformerLanguageModel

    sizes = {"hidden_dim": PEER["width"], "num_layers": PEER["blocks"], "num_heads": PEER["heads"]}
    model = decoder(TransformerLanguageModel(vocabulary_size, LENGTH, **sizes))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            last = name.endswith(("out.weight", "contract.weight"))
            deviation = 0.02 / math.sqrt(2 * PEER["blocks"]) if last else 0.02
            torch.nn.init.normal_(parameter, 0.0, deviation)
    return model


def run():
    numbers = {"name": "char_lm", **dict.fromkeys(("ours", "peer", "ratio")), "unit": "s"}
    if not importlib.util.find_spec("torch"):
        return {**numbers, "setting": {"skipped": "the peer is PyTorch: pip install torch"}}
    data = read()
    losses = {"ours": [], "peer": []}

    def timed(who, train):
        begun = time.perf_counter()
        loss = train(*data, seed=len(losses[who]))
        losses[who].append(round(loss, 4))
        return time.perf_counter() - begun

    return compare(
        "char_lm",
        lambda: timed("ours", ours),
        lambda: timed("peer", peer),
        unit="s",
        setting={
            "ours_model": f"LSTM, {UNITS} units, {STEPS} steps of {BATCH_SIZE} x {LENGTH}",
            "peer_model": PEER,
            "characters": len(data[0]) + len(data[1]),
            "different_characters": data[2],
            "nats_a_character": losses,
            "reached": lambda: sum(a <= b for a, b in zip(losses["ours"], losses["peer"])),
        },
    )
