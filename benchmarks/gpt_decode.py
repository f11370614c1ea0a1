"""Time for 256 tokens from a decoder: with the cache, without it, and plain PyTorch with one.

4 blocks, 128 wide, 4 heads, a vocabulary of 1,000, greedy, one sequence. All three write the
same tokens. Peer of the line is the same model without a cache, compiled as well.
"""

import importlib.util
import statistics
import time

import numpy as np

import kerasaid
from benchmarks import compare
from benchmarks.decode import Numbers

VOCABULARY, TOKENS = 1_000, 256


class Tokenizer(Numbers):
    """Bare ids of a smaller vocabulary."""

    vocabulary_size = VOCABULARY


def run():
    import keras
    from keras import ops

    from kerasaid.transformers import TransformerLanguageModel

    keras.utils.set_random_seed(0)
    model = TransformerLanguageModel(VOCABULARY, TOKENS + 1, 128, num_layers=4, num_heads=4)
    model.blocks[0].attention.output_dense.kernel.assign(  # far from uniform: no two tokens tie
        4 * model.blocks[0].attention.output_dense.kernel
    )

    class WithoutCache:
        """Reads everything again at each step; its state is what it has read."""

        vocabulary_size, sequence_length = VOCABULARY, TOKENS + 1

        def initial_state(self, batch_size):
            text = ops.zeros((batch_size, self.sequence_length), "int32")
            return [ops.zeros((), "int32"), text]

        def step(self, tokens, state):
            read, text = state
            text = ops.slice_update(text, (0, read), tokens[:, None])
            seen = text[:, : read + 1]
            return model(seen)[:, -1], [read + 1, text]

    tokenizer, bare, written = Tokenizer(), WithoutCache(), {}

    def timed(who, write):
        start = time.perf_counter()
        ids = write()
        taken = time.perf_counter() - start
        assert len(ids) == TOKENS, (who, len(ids))
        written[who] = ids
        return taken

    def by(which):
        ((text,),) = kerasaid.generation.generate(which, tokenizer, "7", TOKENS - 1, temperature=0)
        return [7, *map(int, text.split())]

    has_torch, torch_seconds = importlib.util.find_spec("torch") is not None, []
    if has_torch:
        import torch

        from benchmarks._torch_gpt import decoder

        theirs = decoder(model)

        @torch.inference_mode()
        def by_torch():
            ids, caches = [7], theirs.empty_caches(1)
            token = torch.tensor([[2]])  # BOS, then the prompt
            theirs(token, caches, 0)
            for done in range(1, TOKENS):
                logits = theirs(torch.tensor([ids[-1:]]), caches, done)[0, -1]
                logits[:4] = -torch.inf
                ids.append(int(logits.argmax()))
            return ids

    def peer():
        if has_torch:
            torch_seconds.append(timed("torch", by_torch))
        return timed("without", lambda: by(bare))

    start = time.perf_counter()
    timed("ours", lambda: by(model))
    compiling = time.perf_counter() - start
    peer()
    torch_seconds.clear()
    ours = []

    def one():
        ours.append(timed("ours", lambda: by(model)))
        return ours[-1]

    return compare(
        "gpt_decode",
        one,
        peer,
        unit="s",
        setting={
            "model": f"4 blocks, 128 wide, 4 heads, {model.count_params():,} parameters",
            "tokens": TOKENS,
            "peer": "the same model without a cache, compiled",
            "torch_with_cache_s": lambda: has_torch and round(statistics.median(torch_seconds), 4),
            "torch_with_cache_over_ours": lambda: (
                has_torch and round(statistics.median(torch_seconds) / statistics.median(ours), 2)
            ),
            "same_tokens": lambda: all(
                np.array_equal(written["ours"], w) for w in written.values()
            ),
            "compiling_s": round(compiling, 2),
        },
    )
