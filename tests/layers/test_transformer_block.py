import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from contract import check_layer
from keras.ops import convert_to_numpy as to_numpy

from kerasaid.errors import InputError
from kerasaid.layers import CachedMultiHeadAttention, TransformerBlock

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 7, 8)).astype("float32")
CACHE = np.zeros((3, 2, 9, 2, 4), "float32")
KINDS = [
    {"causal": causal, "rotary": rotary, "normalize_first": first}
    for causal in (True, False)
    for rotary in (True, False)
    for first in (True, False)
]


def block(**options):
    """A block whose weights are large enough to matter, biases and norms included."""
    layer = TransformerBlock(**{"intermediate_dim": 16, "num_heads": 2, **options})
    layer.build((None, None, 8))
    layer.set_weights([RNG.normal(size=w.shape) / 2 for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("options", [{"causal": True, "rotary": True}, {"normalize_first": False}])
def test_the_block_keeps_the_contract(options):
    check_layer(
        TransformerBlock,
        {"intermediate_dim": 16, "num_heads": 2, **options},
        *((2, 6, 8), (2, 6, 8)),
        expected_num_trainable_weights=16,
        supports_masking=True,
    )


@pytest.mark.parametrize("options", [*KINDS, {**KINDS[0], "activation": "relu"}])
def test_the_block_by_its_equations(options):
    """NumPy, position by position, but for Keras' own layer normalization."""
    layer = block(**options)
    q, qb, k, kb, v, vb, o, ob = layer.attention.get_weights()
    into, into_b = layer.expand.get_weights()
    out, out_b = layer.contract.get_weights()

    def attend(x):
        result = np.zeros_like(x)
        for head in range(2):
            query, key, value = (x @ w[:, head] + b[head] for w, b in ((q, qb), (k, kb), (v, vb)))
            if options["rotary"]:
                turn = np.exp(1j * np.arange(len(x))[:, None] * 10_000.0 ** (-np.arange(2) / 2))
                query, key = (
                    np.concatenate([turned.real, turned.imag], axis=1)
                    for turned in ((p[:, :2] + 1j * p[:, 2:]) * turn for p in (query, key))
                )
            scores = query @ key.T / np.sqrt(4)
            if options["causal"]:
                scores = np.where(np.tri(len(x)), scores, -np.inf)
            weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            result += weights @ value @ o[head]
        return result + ob

    def dense(x):
        hidden = x @ into + into_b
        if options.get("activation") == "relu":
            return np.maximum(hidden, 0) @ out + out_b
        return np.array(keras.ops.gelu(hidden, approximate=False)) @ out + out_b

    def norm(layer, x):
        return np.array(layer(x))

    for row, found in zip(X, np.array(layer(X))):
        if options["normalize_first"]:
            h = row + attend(norm(layer.attention_norm, row))
            expected = h + dense(norm(layer.dense_norm, h))
        else:
            h = norm(layer.attention_norm, row + attend(row))
            expected = norm(layer.dense_norm, h + dense(h))
        np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("first", [True, False])
def test_the_block_equals_pytorchs_with_copied_weights(first):
    torch = pytest.importorskip("torch")
    layer = block(normalize_first=first)
    theirs = torch.nn.TransformerEncoderLayer(
        *(8, 2, 16), dropout=0.0, activation="gelu", batch_first=True, norm_first=first
    )
    q, qb, k, kb, v, vb, o, ob = layer.attention.get_weights()
    into, into_b = layer.expand.get_weights()
    out, out_b = layer.contract.get_weights()
    weights = {
        "self_attn.in_proj_weight": np.concatenate([w.reshape(8, 8).T for w in (q, k, v)]),
        "self_attn.in_proj_bias": np.concatenate([b.ravel() for b in (qb, kb, vb)]),
        "self_attn.out_proj.weight": o.reshape(8, 8).T,
        "self_attn.out_proj.bias": ob,
        **{"linear1.weight": into.T, "linear1.bias": into_b},
        **{"linear2.weight": out.T, "linear2.bias": out_b},
    }
    for ours, name in ((layer.attention_norm, "norm1"), (layer.dense_norm, "norm2")):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = ours.get_weights()
    theirs.load_state_dict({name: torch.tensor(w) for name, w in weights.items()})
    hidden = np.arange(7) >= np.array([7, 4, 5])[:, None]
    expected = theirs(torch.tensor(X), src_key_padding_mask=torch.tensor(hidden)).detach().numpy()
    found = np.array(layer(X, padding_mask=~hidden))
    np.testing.assert_allclose(found[~hidden], expected[~hidden], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"use_gate": True}, {"dropout": 0.3}])
def test_attention_without_a_cache_is_keras_own(options):
    ours = CachedMultiHeadAttention(2, 4, **options)
    theirs = keras.layers.MultiHeadAttention(2, 4, **options)
    for layer in (ours, theirs):
        layer.build(X.shape, X.shape)
    theirs.set_weights(ours.get_weights())
    mask = RNG.random((3, 7, 7)) < 0.7
    for more in ({}, {"use_causal_mask": True}, {"attention_mask": mask, "use_causal_mask": True}):
        np.testing.assert_array_equal(ours(X, X, **more), theirs(X, X, **more))
    for found, expected in zip(*(f(X, X, return_attention_scores=True) for f in (ours, theirs))):
        np.testing.assert_array_equal(found, expected)


def test_kernels_start_as_asked_and_no_two_alike():
    layer = TransformerBlock(8, 2, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))
    layer.build((None, None, 8))
    kernels = [to_numpy(w).ravel() for w in layer.weights if "kernel" in w.path]
    assert [len(kernel) for kernel in kernels] == [64] * 6
    assert all(0.007 < kernel.std() < 0.013 for kernel in kernels)
    assert len({kernel[0] for kernel in kernels}) == 6


def test_sizes_may_be_numbers_of_numpy():
    config = TransformerBlock(np.int64(16), np.int64(2)).get_config()
    assert json.loads(json.dumps(config)) == config


def test_epsilon_is_added_to_the_variance_in_both_norms():
    layer = TransformerBlock(
        *(16, 2), normalize_first=False, layer_norm_epsilon=0.5, kernel_initializer="zeros"
    )
    expected = X
    for _ in range(2):
        expected = expected - expected.mean(axis=-1, keepdims=True)
        expected = expected / np.sqrt((expected**2).mean(axis=-1, keepdims=True) + 0.5)
    np.testing.assert_allclose(layer(X), expected, atol=1e-5)


@pytest.mark.parametrize("branch", ["attention", "dense"])
def test_dropout_acts_on_what_each_branch_adds(branch):
    layer, x = block(dropout=0.25), RNG.normal(size=(20, 30, 8)).astype("float32")
    other = layer.contract if branch == "attention" else layer.attention.output_dense
    other.set_weights([0 * weight for weight in other.get_weights()])  # adds nothing
    added = to_numpy(layer(x)) - x
    found = to_numpy(layer(x, training=True)) - x
    assert np.mean(found == 0) == pytest.approx(0.25, abs=0.03)
    as_before = np.isclose(found, added / 0.75, atol=1e-5)[found != 0]
    if branch == "dense":
        assert as_before.all()
    else:  # some of attention's weights were dropped, too
        assert as_before.mean() < 0.5
    np.testing.assert_array_equal(layer(x, training=False), layer(x))


def test_the_mask_of_an_embedding_is_left_alone_where_there_is_a_cache():
    embedding, layer = keras.layers.Embedding(10, 8, mask_zero=True), block(causal=True)
    x = embedding(np.array([[5, 2, 0]]))
    found, _ = layer(x, cache=CACHE[:1])
    np.testing.assert_allclose(found, layer(to_numpy(x)), atol=1e-5)


def test_two_masks_hide_what_one_of_them_hides():
    layer, padding, attention = block(), np.ones((1, 7), bool), np.tri(7, k=2, dtype=bool)[None]
    padding[:, 3] = False
    found = layer(X, padding_mask=padding, attention_mask=attention)
    both = np.tile(attention & padding[:, None], (3, 1, 1))
    np.testing.assert_allclose(found, layer(X, attention_mask=both), atol=1e-6)
    for alone in ({"padding_mask": padding}, {"attention_mask": attention}):
        assert np.abs(layer(X, **alone) - found).max() > 1e-2


@pytest.mark.parametrize("first", [True, False])
def test_the_mask_of_an_embedding_is_padding(first):
    ids = np.array([[1, 2, 3, 0, 0], [3, 1, 0, 0, 0]])
    x = keras.layers.Embedding(4, 8, "glorot_normal", mask_zero=True)(ids)
    layer = block(normalize_first=first)
    found = layer(x)
    np.testing.assert_array_equal(x._keras_mask, ids > 0)  # nothing was taken off
    np.testing.assert_array_equal(found._keras_mask, ids > 0)
    expected, unmasked = layer(np.array(x), padding_mask=ids > 0), layer(np.array(x))
    found, expected, unmasked = (np.array(each)[ids > 0] for each in (found, expected, unmasked))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - unmasked).max() > 1e-2
    given = layer(np.array(x), mask=ids > 0)
    np.testing.assert_allclose(np.array(given)[ids > 0], expected, atol=1e-6)
    found = layer(x, attention_mask=np.ones((1, 5, 5)))
    np.testing.assert_array_equal(found._keras_mask, ids > 0)
    np.testing.assert_allclose(np.array(found)[ids > 0], expected, atol=1e-6)


@pytest.mark.parametrize("rotary", [True, False])
def test_the_future_changes_nothing_in_the_past(rotary):
    layer = block(causal=True, rotary=rotary)
    before = np.array(layer(X))
    for position in range(1, 7):
        changed = X.copy()
        changed[:, position:] += RNG.normal(size=changed[:, position:].shape)
        after = np.array(layer(changed))
        np.testing.assert_allclose(after[:, :position], before[:, :position], atol=1e-6)
        assert np.abs(after[:, position:] - before[:, position:]).max() > 1e-2


def test_padding_changes_nothing():
    layer = block()
    before = np.array(layer(X))
    padded = np.concatenate([X, RNG.normal(size=(3, 4, 8)).astype("float32")], axis=1)
    mask = np.arange(11) < 7
    after = layer(padded, padding_mask=np.broadcast_to(mask, (3, 11)))
    np.testing.assert_allclose(after[:, :7], before, atol=1e-5)
    assert np.abs(np.array(layer(padded))[:, :7] - before).max() > 1e-2


@pytest.mark.parametrize("options", [kind for kind in KINDS if kind["causal"]])
@pytest.mark.parametrize("parts", [[1] * 7, [3, 4], [1, 5, 1]])
def test_a_cache_changes_nothing(options, parts):
    layer = block(**options)
    cache, found, done = layer.initial_cache(3, 10), [], 0
    for part in parts:
        new, cache = layer(X[:, done : done + part], cache=cache, cache_update_index=done)
        found.append(new)
        done += part
    np.testing.assert_allclose(np.concatenate(found, axis=1), layer(X), atol=1e-5)


@pytest.mark.parametrize("options", [kind for kind in KINDS if kind["causal"]])
def test_a_step_is_a_call_with_one_position(options):
    layer, whole = block(dropout=0.5, **options), block(**options)
    whole.set_weights(layer.get_weights())
    cache = layer.initial_cache(3, 7)
    for t in range(7):
        found, new = layer.step(X[:, t], cache, t)
        expected, cache = whole(X[:, t : t + 1], cache=cache, cache_update_index=t)
        np.testing.assert_allclose(found, expected[:, 0], atol=1e-5)
        np.testing.assert_allclose(new, cache, atol=1e-5)


def test_a_step_with_low_rank_adapters_and_in_low_precision():
    layer = block(causal=True)
    layer.attention.query_dense.enable_lora(2)
    layer.attention.query_dense.lora_kernel_b.assign(np.ones((2, 4)))
    found, _ = layer.step(X[:, 0], layer.initial_cache(3, 4), 0)
    np.testing.assert_allclose(found, layer(X[:, :1])[:, 0], atol=1e-5)
    low = TransformerBlock(16, 2, causal=True, dtype="mixed_bfloat16")
    low.build((None, None, 8))
    found, cache = low.step(X[:, 0].astype("bfloat16"), low.initial_cache(3, 4), 0)
    assert {keras.backend.standardize_dtype(part.dtype) for part in (found, cache)} == {"bfloat16"}


@pytest.mark.parametrize("rotary", [False, True])
def test_a_step_takes_inputs_and_caches_of_higher_precision_as_a_call_does(rotary):
    layer = block(causal=True, rotary=rotary, dtype="mixed_bfloat16")
    attention, (x, cache) = layer.attention, map(keras.ops.convert_to_tensor, (X[:, :1], CACHE))
    for steps, called in (
        (layer.step(x[:, 0], cache, 0), layer(x, cache=cache)),
        (attention.step(x[:, 0], cache, 0), attention(x, x, cache=cache)),
    ):
        for found, wanted in zip(steps, called):
            assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
            found, wanted = (to_numpy(part).astype("float32") for part in (found, wanted))
            np.testing.assert_allclose(found, wanted.reshape(found.shape), atol=0.05)


def test_a_step_without_biases_and_with_scores_too_large_for_exp():
    layer = CachedMultiHeadAttention(2, 4, use_bias=False)
    layer.build(X.shape, X.shape)
    layer.set_weights([30 * weight for weight in layer.get_weights()])
    found, cache = [], CACHE
    for t in range(7):
        output, cache = layer.step(X[:, t], cache, t)
        found.append(output)
    scores = np.einsum("bthd,bshd->bhts", *(f(X) for f in (layer.query_dense, layer.key_dense)))
    assert np.abs(scores).max() / 2 > 100  # e^89 is too large for float32
    expected = to_numpy(layer(X, X, use_causal_mask=True))
    np.testing.assert_allclose(np.stack(found, axis=1), expected, atol=1e-3 * expected.max())


def test_a_cache_with_padding_on_the_left():
    layer = block(causal=True)
    mask = np.ones((3, 10), bool)
    mask[1, :2] = False
    cache = layer.initial_cache(3, 10)
    found, cache = layer(X[:, :5], padding_mask=mask, cache=cache)
    more, _ = layer(X[:, 5:], padding_mask=mask, cache=cache, cache_update_index=5)
    found = np.concatenate([found, more], axis=1)
    real = mask[:, :7]
    expected = np.array(layer(X, padding_mask=real))
    np.testing.assert_allclose(found[real], expected[real], atol=1e-5)
    assert np.abs(found - np.array(layer(X)))[1, 2:].max() > 1e-2


def test_scores_are_shares_of_what_may_be_seen():
    output, scores = block(causal=True)(X, return_attention_scores=True)
    assert scores.shape == (3, 2, 7, 7)
    np.testing.assert_allclose(np.sum(scores, axis=-1), 1, atol=1e-6)
    assert np.array(scores)[:, :, ~np.tri(7, dtype=bool)].max() == 0
    assert output.shape == X.shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: block(num_heads=3), "must share its 8 features evenly, received num_heads=3"),
        (lambda: block(num_heads=0), "num_heads must be a whole number of at least 1, received 0"),
        (lambda: block(dropout=1.0), "dropout must be at least 0 and below 1, received 1.0"),
        (
            lambda: block()(X, padding_mask=np.ones((3, 6))),
            r"padding_mask of .* must have the shape \(3, 7\), received \(3, 6\)",
        ),
        (
            lambda: block(causal=True)(X, mask=np.ones((3, 7)), cache=CACHE),
            r"padding_mask of .* must have the shape \(3, 9\), received \(3, 7\)",
        ),
        (
            lambda: block()(X, padding_mask=np.ones((3, 1))),
            r"padding_mask of .* must have the shape \(3, 7\), received \(3, 1\)",
        ),
        (
            lambda: block()(X, attention_mask=np.ones((7, 7))),
            r"attention_mask of .* must have the shape \(3, 7, 7\), received \(7, 7\)",
        ),
        *(
            (call, "sees the future: it has no use for a cache")
            for call in (
                lambda: block()(X, cache=CACHE),
                lambda: block().step(X[:, 0], CACHE, 0),
            )
        ),
        *(
            (
                lambda shape=shape: block(causal=True)(X, cache=np.zeros(shape)),
                r"= \(3, 2, any, 2, 4\), received " + re.escape(str(shape)),
            )
            for shape in ((2, 2, 9, 2, 4), (3, 2, 9, 1, 4), (3, 2, 9, 2, 8), (3, 2, 9, 2))
        ),
        (
            lambda: block(causal=True)(X, cache=np.zeros((3, 2, 6, 2, 4))),
            "has room for 6 positions, received 7",
        ),
        (
            lambda: block(causal=True)(X, cache=np.zeros((3, 2, 9, 2, 4)), cache_update_index=3),
            "has room for 9 positions, received 7 behind 3",
        ),
        (
            lambda: CachedMultiHeadAttention(2, 4, use_gate=True)(X, X, cache=CACHE),
            "does not go with a cache: received use_gate",
        ),
        (
            lambda: CachedMultiHeadAttention(2, 4, value_dim=5, sliding_window=3)(
                X, X, cache=CACHE
            ),
            "with a cache: received sliding_window, value_dim other than key_dim",
        ),
        (
            lambda: block(causal=True)(X, cache=CACHE, return_attention_scores=True),
            "does not go with a cache: received return_attention_scores",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


ON_ANOTHER_BACKEND = """
import keras, numpy as np
from kerasaid.layers import TransformerBlock
assert keras.backend.backend() == "{backend}"
data = np.load("{path}/data.npz")
layer = TransformerBlock(16, 2, causal=True, rotary=True)
layer.build((None, None, 8))
layer.set_weights([data[str(number)] for number in range(16)])
x, cache = data["x"], layer.initial_cache(3, 9)
whole = keras.ops.convert_to_numpy(layer(x))
for t in range(7):
    new, cache = layer(x[:, t : t + 1], cache=cache, cache_update_index=t)
    assert np.abs(keras.ops.convert_to_numpy(new)[:, 0] - whole[:, t]).max() < 1e-4
np.save("{path}/found.npy", whole)
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends(backend, tmp_path):
    pytest.importorskip(backend)
    layer = block(causal=True, rotary=True)
    weights = {str(number): weight for number, weight in enumerate(layer.get_weights())}
    np.savez(tmp_path / "data.npz", x=X, **weights)
    subprocess.run(
        [sys.executable, "-c", ON_ANOTHER_BACKEND.format(backend=backend, path=tmp_path)],
        env=os.environ | {"KERAS_BACKEND": backend},
        check=True,
    )
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), layer(X), atol=1e-4)
