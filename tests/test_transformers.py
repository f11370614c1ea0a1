import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as to_numpy

from kerasaid.errors import InputError
from kerasaid.generation import generate
from kerasaid.language_models import score
from kerasaid.text import train_tokenizer
from kerasaid.training import fit_in_memory
from kerasaid.transformers import MaskedLanguageModel, TransformerLanguageModel

RNG = np.random.default_rng(0)
TOKENIZER = train_tokenizer(["abcdef"], "character")
SIZE = TOKENIZER.vocabulary_size
TOKENS = RNG.integers(4, SIZE, (3, 9)).astype("int32")
SMALL = {"sequence_length": 12, "hidden_dim": 8, "num_layers": 2, "num_heads": 2}
KINDS = [
    {"positions": "learned"},
    {"positions": "sine", "tied": False},
    {"positions": "rotary", "normalize_first": False},
    {"positions": None},
]


def make(kind=TransformerLanguageModel, **options):
    """A model whose weights are far from where they start, so that choices differ."""
    model = kind(SIZE, **{**SMALL, **options})
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) / 2 for w in model.get_weights()])
    return model


def test_parameters_are_counted_from_the_equations():
    d, hidden, size, length = 8, 32, 50, 12
    attention, dense, norm = 4 * (d * d + d), d * hidden + hidden + hidden * d + d, 2 * d
    stack = 2 * (attention + dense + 2 * norm) + norm
    model = TransformerLanguageModel(size, **SMALL)
    assert model.count_params() == size * d + length * d + stack
    assert TransformerLanguageModel(size, positions=None, tied=False, **SMALL).count_params() == (
        2 * size * d + stack
    )
    head = d * d + d + norm + size
    assert MaskedLanguageModel(size, **SMALL).count_params() == size * d + length * d + stack + head


def test_vectors_of_tokens_and_positions_start_with_length_one():
    model = TransformerLanguageModel(500, 500, hidden_dim=64, num_layers=1)
    tokens, positions = model.embedding.get_weights()[0], model.position.get_weights()[0]
    for table in (tokens, positions):
        assert np.mean(table**2) * 64 == pytest.approx(1, rel=0.05)
    assert (tokens != positions).all()


def test_post_norm_has_no_norm_behind_its_last_block():
    first, last = (
        TransformerLanguageModel(50, normalize_first=value, **SMALL).count_params()
        for value in (True, False)
    )
    assert first - last == 2 * SMALL["hidden_dim"]


def with_blocks_that_add_nothing(**options):
    model = make(**options)
    for block in model.blocks:
        for layer in (block.attention.output_dense, block.contract):
            layer.set_weights([0 * weight for weight in layer.get_weights()])
    model.norm.set_weights([np.ones(8), np.zeros(8)])
    return model


def normalized(x):
    variance = x.var(axis=-1, keepdims=True)
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(variance + 1e-5)


@pytest.mark.parametrize("positions", ["learned", "sine", "rotary", None])
def test_what_the_blocks_read(positions):
    """The embedding, and each position beside it; sines as long as a new embedding's vectors."""
    model = with_blocks_that_add_nothing(positions=positions)
    angles = np.arange(9)[:, None] * 10_000.0 ** (-np.arange(0, 8, 2) / 8)
    sines = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(9, 8)
    place = {"sine": 8**-0.5 * sines}.get(positions, 0)
    if positions == "learned":
        place = model.position.get_weights()[0][:9]
    expected = normalized(model.embedding.get_weights()[0][TOKENS] + place)
    np.testing.assert_allclose(to_numpy(model.hidden_states(TOKENS)), expected, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_by_their_equations(tied):
    model = make(tied=tied)
    matrix = model.embedding.get_weights()[-1]
    x = to_numpy(model.hidden_states(TOKENS))
    expected = x @ (matrix.T if tied else matrix)
    np.testing.assert_allclose(to_numpy(model(TOKENS)), expected, atol=1e-4)

    model = make(MaskedLanguageModel, tied=tied)
    matrix = model.embedding.get_weights()[-1]
    kernel, bias = model.head.get_weights()
    scale, shift = model.head_norm.get_weights()
    x = to_numpy(model.hidden_states(TOKENS)) @ kernel + bias
    x = scale * normalized(to_numpy(keras.ops.gelu(x, approximate=False))) + shift
    expected = x @ (matrix.T if tied else matrix) + to_numpy(model.bias)
    np.testing.assert_allclose(to_numpy(model(TOKENS)), expected, atol=1e-4)


@pytest.mark.parametrize("kind", [TransformerLanguageModel, MaskedLanguageModel])
def test_the_blocks_are_as_asked(kind):
    asked = {"intermediate_dim": 5, "num_heads": 4, "dropout": 0.2, "normalize_first": False}
    model = kind(SIZE, **{**SMALL, **asked}, positions="rotary", dtype="mixed_bfloat16")
    asked |= {"causal": kind is TransformerLanguageModel, "rotary": True}
    assert len(model.blocks) == 2
    for block in model.blocks:
        config = block.get_config()
        assert {name: config[name] for name in asked} == asked
        assert block.compute_dtype == "bfloat16"
        assert tuple(block.expand.kernel.shape) == (8, 5)


@pytest.mark.parametrize("kind", [TransformerLanguageModel, MaskedLanguageModel])
def test_sizes_may_be_numbers_of_numpy(kind):
    sizes = {"vocabulary_size": SIZE, **SMALL, "intermediate_dim": 5}
    sizes |= {"pad_id": 2} if kind is MaskedLanguageModel else {}
    model = kind(**{name: np.int64(size) for name, size in sizes.items()})
    configs = [model.get_config(), *(block.get_config() for block in model.blocks)]
    assert json.loads(json.dumps(configs)) == configs


@pytest.mark.parametrize("kind", [TransformerLanguageModel, MaskedLanguageModel])
def test_dropout_acts_in_the_blocks(kind):
    model = make(kind, dropout=0.3)
    model.drop.rate = 0.0
    for call in (model, model.hidden_states):
        assert np.abs(to_numpy(call(TOKENS, training=True)) - to_numpy(call(TOKENS))).max() > 0.1


def test_dropout_acts_on_what_the_blocks_read():
    model = with_blocks_that_add_nothing(positions=None, dropout=0.25)
    table = model.embedding.get_weights()[0]
    model.embedding.set_weights([np.ones_like(table)])
    tokens = np.zeros((200, 12), "int32")
    assert not to_numpy(model.hidden_states(tokens)).any()  # ones, normalized
    lower = to_numpy(model.hidden_states(tokens, training=True)) < -1e-3
    assert lower.mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", [TransformerLanguageModel, MaskedLanguageModel])
def test_it_learns_in_half_precision(kind, dtype):
    model = kind(SIZE, dtype=dtype, **SMALL)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=False)
    before = keras.tree.map_structure(np.array, model.get_weights())
    assert np.isfinite(model.train_on_batch(TOKENS, TOKENS))
    assert any((a != b).any() for a, b in zip(before, model.get_weights()))


@pytest.mark.parametrize("kind", [TransformerLanguageModel, MaskedLanguageModel])
def test_it_may_stand_in_a_functional_model(kind):
    model, tokens = make(kind), keras.Input((None,), dtype="int32")
    whole = keras.Model(tokens, model(tokens))
    assert whole.output_shape == (None, None, SIZE)
    np.testing.assert_allclose(*map(to_numpy, (whole(TOKENS), model(TOKENS))), atol=1e-5)


def test_a_quantized_model_steps_as_it_reads():
    model = make(tied=False)
    model.quantize("int8")
    whole, state = to_numpy(model(TOKENS)), model.initial_state(3)
    for t in range(TOKENS.shape[1]):
        logits, state = model.step(TOKENS[:, t], state)
        np.testing.assert_allclose(to_numpy(logits), whole[:, t], atol=0.02 * np.abs(whole).max())


@pytest.mark.parametrize("options", KINDS)
def test_one_token_at_a_time_gives_the_same_logits(options):
    model = make(**options)
    whole, state = np.array(model(TOKENS)), model.initial_state(3)
    assert [tuple(cache.shape) for cache in state[1:]] == [(3, 2, 12, 2, 4)] * 2
    for t in range(TOKENS.shape[1]):
        logits, state = model.step(TOKENS[:, t], state)
        np.testing.assert_allclose(logits, whole[:, t], atol=1e-4)


@pytest.mark.parametrize("options", KINDS[::2])
def test_the_cache_writes_the_same_tokens_as_no_cache(options):
    model = make(**options)

    class WithoutCache:
        """Reads everything again at each step; its state is what it has read."""

        vocabulary_size = SIZE

        def initial_state(self, batch_size):
            return [keras.ops.zeros((), "int32"), keras.ops.zeros((batch_size, 12), "int32")]

        def step(self, tokens, state):
            read, text = state
            text = keras.ops.slice_update(text, (0, read), tokens[:, None])
            return keras.ops.take(model(text), read, axis=1), [read + 1, text]

    for more in ({"temperature": 0}, {"num_return_sequences": 3, "seed": 2}, {"num_beams": 3}):
        found, expected = (
            generate(each, TOKENIZER, ["a", "bcd"], 8, **more) for each in (model, WithoutCache())
        )
        assert found == expected, more


@pytest.mark.parametrize("length", [3, 90])
def test_a_sequence_alone_is_what_it_is_among_others(length):
    """Alone it may be written by another program, made for one sequence."""
    model = make(sequence_length=100)
    for more in ({"temperature": 0}, {"seed": 3}, {"seed": 4, "top_k": 3, "top_p": 0.8}):
        alone = generate(model, TOKENIZER, "ab", length, **more)
        assert alone == generate(model, TOKENIZER, ["ab", "c"], length, **more)[:1]
        told = []
        more["on_text"] = lambda *piece, told=told: told.append(piece[2])
        assert generate(model, TOKENIZER, "ab", length, **more) == alone == [["".join(told)]]


def test_a_model_that_xla_cannot_compile_writes_too():
    class InPython(TransformerLanguageModel):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.supports_jit = False  # Keras' way to say so

        def step(self, tokens, state):
            if keras.backend.backend() == "tensorflow":
                import tensorflow as tf

                tokens = tf.ensure_shape(tf.py_function(lambda t: t, [tokens], "int32"), [None])
            return super().step(tokens, state)

    model = InPython(SIZE, 12, hidden_dim=8, num_layers=1, num_heads=1)
    assert len(generate(model, TOKENIZER, "a", 3)[0]) == 1


def test_what_does_not_fit_is_refused_before_anything_is_read():
    model = make()
    with pytest.raises(InputError, match="reads at most 12 tokens, received 13"):
        model(np.zeros((1, 13), "int32"))
    with pytest.raises(InputError, match="leave room for max_new_tokens=9, received 10"):
        generate(model, TOKENIZER, "abc", 10)
    assert len(generate(model, TOKENIZER, "abc", 9)) == 1
    with pytest.raises(InputError, match="reads at most 12 tokens, received 14"):
        score(model, TOKENIZER, ["abcdefabcdefa"])


@pytest.mark.parametrize("kind", [TransformerLanguageModel, MaskedLanguageModel])
@pytest.mark.parametrize("options", KINDS)
def test_save_and_load(tmp_path, kind, options):
    model = make(kind, dropout=0.1, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(TOKENS), model(TOKENS))
    assert loaded.get_config() == model.get_config()


def test_without_positions_an_encoder_sees_a_bag():
    order = RNG.permutation(9)
    for options in KINDS:
        model = make(MaskedLanguageModel, **options)
        found, shuffled = np.array(model(TOKENS))[:, order], np.array(model(TOKENS[:, order]))
        assert np.allclose(found, shuffled, atol=1e-4) == (options["positions"] is None)


def test_padding_is_in_no_hidden_state_and_has_no_attention():
    model, padded = make(MaskedLanguageModel), np.pad(TOKENS, [(0, 0), (0, 2)])
    longer, alone = (to_numpy(model.hidden_states(tokens)) for tokens in (padded, TOKENS))
    np.testing.assert_allclose(longer[:, :-2], alone, atol=1e-4)
    for scores in model.attention_scores(padded):
        assert to_numpy(scores)[..., -2:].max() < 1e-6


@pytest.mark.parametrize("pad_id", [0, 2])
def test_padding_is_not_seen(pad_id):
    model = make(MaskedLanguageModel, pad_id=pad_id)
    padded = np.pad(TOKENS, [(0, 0), (0, 3)], constant_values=pad_id)
    np.testing.assert_allclose(model(padded)[:, :9], model(TOKENS), atol=1e-5)
    unknown = np.where(padded == pad_id, 1, padded)
    assert np.abs(np.array(model(unknown))[:, :9] - np.array(model(TOKENS))).max() > 1e-3


def test_an_encoder_sees_both_sides_and_a_decoder_one():
    changed = TOKENS.copy()
    changed[:, -1] = 4 + (changed[:, -1] - 3) % (SIZE - 4)
    for kind, sees in ((MaskedLanguageModel, True), (TransformerLanguageModel, False)):
        model = make(kind)
        moved = np.abs(np.array(model(changed)) - np.array(model(TOKENS)))[:, 0].max()
        assert (moved > 1e-4) == sees


def test_attention_scores_are_those_that_make_the_hidden_states():
    model = make()
    scores = model.attention_scores(TOKENS)
    assert [tuple(each.shape) for each in scores] == [(3, 2, 9, 9)] * 2
    np.testing.assert_allclose(np.sum(scores, axis=-1), 1, atol=1e-5)
    x = to_numpy(model._embed(TOKENS))
    for block, found in zip(model.blocks, scores):
        normed = block.attention_norm(x)
        weights = block.attention.get_weights()
        value = np.einsum("btd,dhk->bthk", normed, weights[4]) + weights[5]
        mixed = np.einsum("bhts,bshk->bthk", found, value)
        added = np.einsum("bthk,hkd->btd", mixed, weights[6]) + weights[7]
        expected = block.attention(normed, normed, use_causal_mask=True)
        np.testing.assert_allclose(expected, added, atol=1e-5)
        x = to_numpy(block(x))


def test_a_decoder_does_not_see_what_a_mask_hides():
    """Padding on the left; without positions all else is as it was."""
    model, seen = make(positions=None), np.arange(11) >= 2
    padded, seen = np.pad(TOKENS, [(0, 0), (2, 0)]), np.tile(seen, (3, 1))
    found = to_numpy(model.hidden_states(padded, padding_mask=seen))[:, 2:]
    np.testing.assert_allclose(found, to_numpy(model.hidden_states(TOKENS)), atol=1e-4)
    for shares in model.attention_scores(padded, padding_mask=seen):
        assert to_numpy(shares)[:, :, 2:, :2].max() < 1e-6


@pytest.mark.parametrize("options", KINDS)
def test_it_learns_what_came_three_tokens_ago(options):
    """Copying needs to know places; without positions the mean is the best there is."""
    keras.utils.set_random_seed(0)
    x = RNG.integers(0, 8, (512, 12)).astype("int32")
    y = np.roll(x, 3, axis=1)
    weights = np.arange(12) >= 3
    model = TransformerLanguageModel(8, **{**SMALL, "hidden_dim": 32, **options})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    fit_in_memory(model, x, y, batch_size=64, epochs=12)
    right = np.mean((np.argmax(model(x), axis=-1) == y)[:, weights])
    assert (right > 0.9) == (options["positions"] is not None), right


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "none"}, "positions must be one of 'learned', 'sine', 'rotary', None, rec"),
        ({"num_heads": 3}, "must share its 8 features evenly, received num_heads=3"),
        ({"hidden_dim": 0}, "hidden_dim must be a whole number of at least 1, received 0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, received -0.1"),
        ({"hidden_dim": 6, "positions": "rotary"}, "rotates pairs, received 3 features"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(InputError, match=message):
        TransformerLanguageModel(SIZE, **{**SMALL, **options})


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("this is the other backend")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'kerasaid[{backend}]'")
    chosen = "functional or quantized or half_precision or no_hidden_state or post_norm"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", chosen],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
