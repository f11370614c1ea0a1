import gc
import importlib.util
import itertools
import os
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
from scipy.stats import chisquare

from kerasaid import generation
from kerasaid.errors import InputError
from kerasaid.generation import generate, next_token_probabilities
from kerasaid.language_models import RecurrentLanguageModel
from kerasaid.text import train_tokenizer
from kerasaid.transformers import TransformerLanguageModel

LETTERS = "abcdef"
TOKENIZER = train_tokenizer(["aaaaaabbbbbcccddddeeef"], "character")
A, B, C, D, E, F = (TOKENIZER.encode(letter)[0] for letter in LETTERS)
EOS = TOKENIZER.eos_id
SIZE = TOKENIZER.vocabulary_size


class Rigged:
    """A Markov chain: what follows a token is known exactly. Its state counts the steps."""

    def __init__(self, rows, default=None):
        self.vocabulary_size = SIZE
        table = np.full((SIZE, SIZE), 1e-30)
        for before in range(SIZE):
            for after, share in rows.get(before, default or {}).items():
                table[before, after] = share
        self.logits = np.log(table).astype("float32")

    def initial_state(self, batch_size):
        return {"steps": keras.ops.zeros((batch_size, 1)), "time": keras.ops.zeros(())}

    def step(self, tokens, state):
        logits = keras.ops.take(keras.ops.convert_to_tensor(self.logits), tokens, axis=0)
        return logits, {"steps": state["steps"] + 1, "time": state["time"] + 1}


SHARES = {A: 0.4, B: 0.3, C: 0.15, D: 0.1, E: 0.05}
COIN = Rigged({}, SHARES)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    model = RecurrentLanguageModel(SIZE, units=16, num_layers=2)
    for weight in model.trainable_variables:  # far from uniform, so that choices differ
        weight.assign(weight * 4)
    return model


def counts(model, draws=20_000, **options):
    texts = generate(model, TOKENIZER, None, 1, num_return_sequences=draws, **options)[0]
    return [texts.count(letter) for letter in LETTERS]


def expected(shares):
    total = sum(shares)
    return [share / total for share in shares]


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, [0.4, 0.3, 0.15, 0.1, 0.05, 0]),
        ({"temperature": 0.5}, [0.4**2, 0.3**2, 0.15**2, 0.1**2, 0.05**2, 0]),
        ({"temperature": 2.0}, [0.4**0.5, 0.3**0.5, 0.15**0.5, 0.1**0.5, 0.05**0.5, 0]),
        ({"top_k": 1}, [1, 0, 0, 0, 0, 0]),
        ({"top_k": 3}, [0.4, 0.3, 0.15, 0, 0, 0]),
        ({"top_k": 1_000}, [0.4, 0.3, 0.15, 0.1, 0.05, 0]),
        ({"top_p": 0.39}, [1, 0, 0, 0, 0, 0]),
        ({"top_p": 0.6}, [0.4, 0.3, 0, 0, 0, 0]),
        ({"top_p": 0.75}, [0.4, 0.3, 0.15, 0, 0, 0]),
        ({"top_p": 1.0}, [0.4, 0.3, 0.15, 0.1, 0.05, 0]),
        # top_p is applied to what top_k has left and rescaled: 0.4 / 0.7 is above 0.55
        ({"top_k": 2, "top_p": 0.55}, [1, 0, 0, 0, 0, 0]),
        # and to what temperature has made of it: 0.16 of 0.285 is above 0.55
        ({"temperature": 0.5, "top_p": 0.55}, [1, 0, 0, 0, 0, 0]),
    ],
)
def test_samplers_draw_from_the_distribution_they_state(options, shares):
    found, wanted = np.array(counts(COIN, **options)), np.array(expected(shares))
    assert found.sum() == 20_000 and found[wanted == 0].sum() == 0
    if (wanted > 0).sum() > 1:
        assert chisquare(found[wanted > 0], 20_000 * wanted[wanted > 0]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.5}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.4}, [1, 0, 0, 0]),
        ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
    ],
)
def test_next_token_probabilities(options, wanted):
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.3, 0.2, 0.4]], "float32"))
    found = keras.ops.convert_to_numpy(next_token_probabilities(logits, **options))
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)
    np.testing.assert_allclose(found[1, [3, 1, 2, 0]], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": 0}, "takes the likeliest token and has no probabilities"),
        ({"temperature": -1.0}, "received -1.0"),
        ({"top_k": 0}, "top_k .* at least 1, received 0"),
        ({"top_p": 2}, "top_p must be above 0 and at most 1, received 2"),
    ],
)
def test_probabilities_that_cannot_be(options, said):
    with pytest.raises(InputError, match=said):
        next_token_probabilities(np.zeros((1, 4)), **options)
    with pytest.raises(InputError, match=r"logits must be \(batch, vocabulary\), received \(4,\)"):
        next_token_probabilities(np.zeros(4))


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_no_number_draws_a_token_of_probability_zero(uniform):
    share = np.full(5_000, 1 / 4_000, "float32")
    share[:500] = share[4_500:] = 0
    number = np.full(1, uniform, "float32")
    found = int(generation._draw(keras.ops.convert_to_tensor(share[None]), number)[0])
    assert 500 <= found < 4_500 and abs(found - (500 + 4_000 * uniform)) <= 2


def test_special_tokens_are_never_written():
    eager = Rigged(
        {}, {TOKENIZER.pad_id: 0.5, TOKENIZER.unk_id: 0.3, TOKENIZER.bos_id: 0.1, A: 0.1}
    )
    for options in ({}, {"temperature": 0}, {"num_beams": 2}):
        assert generate(eager, TOKENIZER, "b", 3, **options) == [["aaa"]]


def test_temperature_near_zero_is_greedy_and_greedy_is_the_argmax(network):
    prompts = ["a", "bc", "fed"]
    greedy = generate(network, TOKENIZER, prompts, 12, temperature=0)
    assert greedy == generate(network, TOKENIZER, prompts, 12, temperature=1e-4)
    assert greedy == generate(network, TOKENIZER, prompts, 12, top_k=1)
    for prompt, (text,) in zip(prompts, greedy):
        assert text == greedy_with_full_context(network, prompt, 12)


def greedy_with_full_context(model, prompt, count):
    ids = [TOKENIZER.bos_id, *TOKENIZER.encode(prompt)]
    start = len(ids)
    for _ in range(count):
        logits = np.array(model(np.array([ids])))[0, -1]
        logits[:EOS] = -np.inf
        ids.append(int(logits.argmax()))
        if ids[-1] == EOS:
            break
    return TOKENIZER.decode(ids[start:])


@pytest.mark.parametrize("cell", ["lstm", "gru", "min_gru"])
@pytest.mark.parametrize("tied", [False, True])
def test_steps_equal_the_whole(cell, tied):
    model = RecurrentLanguageModel(SIZE, units=8, num_layers=2, cell=cell, tied=tied)
    tokens = np.random.default_rng(0).integers(0, SIZE, (3, 9)).astype("int32")
    whole, state = np.array(model(tokens)), model.initial_state(3)
    for time in range(9):
        logits, state = model.step(tokens[:, time], state)
        np.testing.assert_allclose(logits, whole[:, time], atol=1e-5)


def test_a_sequence_does_not_depend_on_its_neighbours(network):
    prompts = ["a", "abcabc", "ff"]
    together = generate(network, TOKENIZER, prompts, 15, num_return_sequences=4, seed=3)
    assert together[0] == generate(network, TOKENIZER, "a", 15, num_return_sequences=4, seed=3)[0]
    more = generate(network, TOKENIZER, prompts, 15, num_return_sequences=6, seed=3)
    assert [texts[:4] for texts in more] == together
    assert len(set(together[0])) > 1
    assert together != generate(network, TOKENIZER, prompts, 15, num_return_sequences=4, seed=4)
    first, second = generate(network, TOKENIZER, ["a", "a"], 15, num_return_sequences=4, seed=3)
    assert first == together[0] and not set(first) & set(second)  # each draws its own numbers
    longer = generate(network, TOKENIZER, prompts, 20, num_return_sequences=4, seed=3)
    for short, long in zip(itertools.chain(*together), itertools.chain(*longer)):
        assert long.startswith(short)


def test_max_new_tokens_counts_exactly():
    endless = Rigged({}, {A: 0.5, B: 0.5})
    for count in (1, 2, 7, 8, 9):
        texts = generate(endless, TOKENIZER, ["c", "cccc"], count, num_return_sequences=2)
        assert [[len(text) for text in texts] for texts in texts] == [[count] * 2] * 2


CHAIN = Rigged({A: {B: 1}, B: {C: 1}, C: {D: 1}, D: {EOS: 1}, TOKENIZER.bos_id: {A: 1}})


def test_it_ends_at_eos_and_starts_at_bos():
    assert generate(CHAIN, TOKENIZER, None, 10) == [["abcd"]]
    assert generate(CHAIN, TOKENIZER, ["b", "d", "abc"], 10) == [["cd"], [""], ["d"]]
    assert generate(CHAIN, TOKENIZER, ["b", "d"], 10, num_beams=2) == [["cd"], [""]]


@pytest.mark.parametrize("stop", ["c", ["c"], ["bc", "f"], ["d", "bc"]])
def test_it_ends_before_a_stop_text(stop):
    first = min(
        "abcd".find(end) for end in ([stop] if isinstance(stop, str) else stop) if end in "abcd"
    )
    assert generate(CHAIN, TOKENIZER, None, 10, stop=stop) == [["abcd"[:first]]]


def test_a_stop_text_ends_the_work_too():
    steps = []
    loop = Rigged({}, {A: 0.5, B: 0.5})
    generate(loop, TOKENIZER, None, 1_000, stop="a", on_text=lambda *piece: steps.append(piece))
    assert sum(len(piece) for *_, piece in steps) < 50


def test_streamed_pieces_add_up(network):
    told = {}

    def listen(prompt, sequence, piece):
        assert piece
        told[prompt, sequence] = told.get((prompt, sequence), "") + piece

    for stop in (None, "fb"):
        told.clear()
        options = {"num_return_sequences": 3, "seed": 5, "stop": stop}
        quiet = generate(network, TOKENIZER, ["a", "bcd"], 40, **options)
        assert quiet == generate(network, TOKENIZER, ["a", "bcd"], 40, on_text=listen, **options)
        texts = [[told.get((p, s), "") for s in range(3)] for p in range(2)]
        assert texts == quiet
        assert len(told) > 2 and max(map(len, told.values())) > 5


def test_streaming_holds_back_half_a_character():
    text = "aé€中😀"  # of 1, 2, 3, 3 and 4 bytes, each byte another: eight tokens end inside 中
    tokenizer = train_tokenizer([text], "bpe", vocabulary_size=260)
    chain = [tokenizer.bos_id, *tokenizer.encode(text)]
    assert len(set(chain)) == len(chain) == 14
    model = Rigged({})
    model.vocabulary_size = tokenizer.vocabulary_size
    table = np.full((tokenizer.vocabulary_size,) * 2, -70, "float32")
    for before, after in itertools.pairwise(chain):
        table[before, after] = 0
    model.logits = table
    pieces = []
    generate(model, tokenizer, None, 13, on_text=lambda *piece: pieces.append(piece[2]))
    assert pieces == ["aé€", "中😀"]


def all_continuations(model, prompt, length):
    """Return (log-probability, text) of everything of at most `length` tokens, best first."""
    allowed = [EOS, A, B, C, D, E, F]
    done, growing = [], [(0.0, [TOKENIZER.bos_id, *TOKENIZER.encode(prompt)])]
    start = len(growing[0][1])
    for _ in range(length):
        rows = np.array([ids for _, ids in growing])
        logits = np.array(model(rows))[:, -1][:, allowed].astype("float64")
        costs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        grown = [
            (total + costs[row, k], [*ids, token])
            for row, (total, ids) in enumerate(growing)
            for k, token in enumerate(allowed)
        ]
        done += [pair for pair in grown if pair[1][-1] == EOS]
        growing = [pair for pair in grown if pair[1][-1] != EOS]
    found = [(total, TOKENIZER.decode(ids[start:])) for total, ids in done + growing]
    return sorted(found, reverse=True)


def test_a_wide_beam_finds_the_best_of_all(network):
    for prompt in ("a", "bc"):
        best = all_continuations(network, prompt, 3)
        options = {"num_beams": 60, "num_return_sequences": 5}
        found = generate(network, TOKENIZER, ["dddd", prompt], 3, **options)[1]
        assert found == [text for _, text in best[:5]]


def test_a_beam_of_two_beats_greedy_where_greedy_is_trapped():
    # Greedy takes a (0.6) and then halves; b (0.4) leads to c for certain.
    trap = Rigged(
        {
            TOKENIZER.bos_id: {A: 0.6, B: 0.4},
            A: {C: 0.5, D: 0.5},
            B: {C: 1.0},
            C: {EOS: 1.0},
            D: {EOS: 1.0},
        }
    )
    assert generate(trap, TOKENIZER, None, 5, temperature=0)[0][0][0] == "a"
    options = {"num_beams": 3, "num_return_sequences": 3}
    assert generate(trap, TOKENIZER, None, 5, num_beams=2) == [["bc"]]
    assert set(generate(trap, TOKENIZER, None, 5, **options)[0]) == {"bc", "ac", "ad"}


def test_it_is_compiled_once(network):
    if keras.backend.backend() == "torch":
        pytest.skip("nothing is compiled on PyTorch")
    traced = []

    class Counting(Rigged):
        def step(self, tokens, state):
            traced.append(1)
            return super().step(tokens, state)

    model = Counting({}, SHARES)
    generate(model, TOKENIZER, "a", 5)
    once = len(traced)
    generate(model, TOKENIZER, "b", 5, temperature=0.7, seed=2)
    assert len(traced) == once > 0
    if keras.backend.backend() == "tensorflow":  # on JAX each number of rows is a program
        several = ["a", "bcd"]
        generate(model, TOKENIZER, several, 50, temperature=0.7, num_return_sequences=3, seed=2)
        assert len(traced) == once
    generate(model, TOKENIZER, "a", 5, temperature=0)
    once = len(traced)
    generate(model, TOKENIZER, "a", 5, temperature=0, top_k=3, top_p=0.5)  # filter nothing
    assert len(traced) == once


def test_new_weights_are_used_and_an_old_model_is_let_go():
    model = RecurrentLanguageModel(SIZE, units=4)
    model.output_layer.bias.assign(100 * np.eye(SIZE)[B])
    assert generate(model, TOKENIZER, "a", 3) == [["bbb"]]
    model.output_layer.bias.assign(100 * np.eye(SIZE)[C])
    assert generate(model, TOKENIZER, "a", 3) == [["ccc"]]
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("prompts", "options", "said"),
    [
        ("", {}, "at least one character, received ''; prompts=None starts"),
        ([], {}, r"a text or a list of texts, received \[\]"),
        (5, {}, "a list of texts, received 5"),
        ("a d\n", {}, r"does not know: ' ', '\\n'"),
        (["a", ""], {}, "at least one character"),
        ([3], {}, "received 3"),
        ("aüb", {}, r"'aüb' holds what the tokenizer \(character\) does not know"),
        ("a", {"max_new_tokens": 0}, "max_new_tokens .* at least 1, received 0"),
        ("a", {"max_new_tokens": -2}, "received -2"),
        (
            "a",
            {"temperature": -0.1},
            r"must be 0 \(greedy\) or from 0.0001 to 10,000, received -0.1",
        ),
        ("a", {"temperature": 1e-38}, "received 1e-38"),
        ("a", {"temperature": "1"}, "received '1'"),
        ("a", {"temperature": float("nan")}, "received nan"),
        ("a", {"top_k": 0}, "top_k .* at least 1, received 0"),
        ("a", {"top_p": 0}, "above 0 and at most 1, received 0"),
        ("a", {"top_p": 1.1}, "received 1.1"),
        ("a", {"num_beams": 0}, "num_beams"),
        ("a", {"num_beams": 2, "num_return_sequences": 3}, "at most num_beams, which is 2"),
        ("a", {"num_beams": 2, "temperature": 0.5}, "beam search draws nothing"),
        ("a", {"num_return_sequences": 0}, "num_return_sequences"),
        ("a", {"stop": ["a", ""]}, "none empty, received"),
        ("a", {"stop": [3]}, r"received \[3\]"),
        ("a", {"stop": "b", "num_beams": 2}, "beam search draws nothing"),
        ("a", {"on_text": True}, "on_text must be a function, received True"),
        ("a", {"stop": 5}, "stop must be a text or a list of texts, none empty, received 5"),
        ("a", {"stop": iter("b")}, "stop must be a text or a list of texts"),
        ("a", {"seed": -1}, "seed .* at least 0, received -1"),
        ("a", {"seed": 1.5}, "received 1.5"),
        ("a", {"top_p": "0.5"}, "received '0.5'"),
    ],
)
def test_bad_input_is_one_clear_sentence(prompts, options, said):
    with pytest.raises(InputError, match=said):
        generate(COIN, TOKENIZER, prompts, **options)


def test_a_prompt_of_what_is_no_word_is_named():
    words = train_tokenizer(["users wait"], "word")
    model = Rigged({})
    model.vocabulary_size = words.vocabulary_size
    for prompt in ("\x1f", "users \x1f"):
        with pytest.raises(InputError, match=rf"does not know: {prompt!r}".replace("\\", r"\\")):
            generate(model, words, prompt)


def test_a_tokenizer_of_another_vocabulary_is_refused():
    other = train_tokenizer(["abc"], "character")
    with pytest.raises(InputError, match=f"the tokenizer has 7 tokens and the model {SIZE}"):
        generate(COIN, other, "a")
    with pytest.raises(InputError, match="Sequential has no 'initial_state'"):
        generate(keras.Sequential(), TOKENIZER, "a")


ALPHABET = train_tokenizer(["abcdefghijklmnop"], "character")


def in_order():
    """A model that writes the alphabet."""
    model = Rigged({})
    model.vocabulary_size = ALPHABET.vocabulary_size
    ids = [ALPHABET.bos_id, *ALPHABET.encode("abcdefghijklmnop"), ALPHABET.eos_id]
    model.logits = np.full((ALPHABET.vocabulary_size,) * 2, -70, "float32")
    model.logits[ids[:-1], ids[1:]] = 0
    return model


@pytest.mark.parametrize("stop", ["defghijk", "defghijklm", "klmnop"])
def test_streaming_waits_for_a_long_stop_text(stop):
    pieces = []
    told = {"on_text": lambda *piece: pieces.append(piece[2])}
    (text,) = generate(in_order(), ALPHABET, "abc", 13, stop=stop, **told)[0]
    assert text == "".join(pieces) == "defghijklmnop".partition(stop)[0]


@pytest.mark.parametrize("count", [5, 7, 12])
def test_the_stop_text_that_is_complete_first_counts(count):
    texts = generate(in_order(), ALPHABET, "a", count, stop=["ef", "defgh"])
    assert texts == [["bcd"]]


def test_no_more_beams_than_there_are_texts():
    options = {"num_beams": 12, "num_return_sequences": 12}
    assert generate(COIN, TOKENIZER, "a", 1, **options)[0][:5] == list("abcde")
    found = generate(RecurrentLanguageModel(SIZE, 4), TOKENIZER, "a", 1, **options)[0]
    assert sorted(found) == ["", *LETTERS]


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"num_beams": 2}])
@pytest.mark.parametrize("broken", [slice(None), F])
def test_logits_that_are_nan_are_said(options, broken):
    model = Rigged({}, SHARES)
    model.logits[:, broken] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        generate(model, TOKENIZER, "a", 3, **options)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"num_beams": 2}])
@pytest.mark.parametrize("prompts", ["a", ["a", "b"]])
def test_a_model_that_was_given_other_variables_is_read_anew(prompts, options):
    model = TransformerLanguageModel(SIZE, 12, hidden_dim=8, num_layers=1, num_heads=2)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    before = generate(model, TOKENIZER, prompts, 8, **options)
    attention = model.blocks[0].attention
    for dense in (attention.value_dense, attention.output_dense):
        dense.enable_lora(2)
        dense.lora_kernel_b.assign(4 * rng.normal(size=dense.lora_kernel_b.shape))
    after = generate(model, TOKENIZER, prompts, 8, **options)
    generation._compiled.clear()
    assert after == generate(model, TOKENIZER, prompts, 8, **options) != before


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "min_gru"])
def test_half_precision(cell, tied):
    model = RecurrentLanguageModel(SIZE, units=8, cell=cell, tied=tied, dtype="mixed_float16")
    assert len(generate(model, TOKENIZER, "a", 5, num_return_sequences=2)[0]) == 2
    assert generate(model, TOKENIZER, "a", 2, num_beams=2)


def test_a_text_continues_its_prompt():
    words = train_tokenizer(["users wait, and users write."], "word")
    model = Rigged({})
    model.vocabulary_size = words.vocabulary_size
    ids = words.encode("users wait, and write.")
    model.logits = np.full((words.vocabulary_size,) * 2, -70, "float32")
    model.logits[[*ids], [*ids[1:], words.eos_id]] = 0
    assert generate(model, words, ["users", "users wait"]) == [
        [" wait, and write."],
        [", and write."],
    ]
    # The space that a word tokenizer drops behind the prompt is not written twice.
    told = []
    options = {"on_text": lambda *piece: told.append(piece[2]), "temperature": 0}
    assert generate(model, words, "users ", **options) == [["wait, and write."]]
    assert "".join(told) == "wait, and write."


def test_half_a_character_keeps_no_place_of_a_stop_text():
    tokenizer = train_tokenizer(["a"], "bpe", vocabulary_size=261)
    ids, told = tokenizer.encode("a你好"), []
    listen = generation._Listener(
        *(
            tokenizer,
            [generation._Prompt([tokenizer.bos_id])],
            1,
            ["你好"],
            lambda *piece: told.append(piece[2]),
        )
    )
    for end in range(1, len(ids) + 1):
        listen(np.array([ids[:end]]), np.array([False]))
    assert "".join(told) == "a"


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("this is the other backend")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'kerasaid[{backend}]'")
    chosen = "special_tokens or starts_at_bos or beam_of_two or no_more_beams or half_precision"
    chosen += " or compiled_once or are_nan or other_variables"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", chosen],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
