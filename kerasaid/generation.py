"""Writing text with any model that has `initial_state` and `step`: samplers and the decode loop."""

import numbers
import weakref

import keras
import numpy as np
from keras import ops

from kerasaid.errors import InputError, require_at_least
from kerasaid.language_models import require_vocabulary

_STREAMED_AT_ONCE = 8  # tokens between two calls of `on_text`
_BLOCK = 64  # tokens; about the square root of a vocabulary is best
_compiled = weakref.WeakKeyDictionary()


def generate(
    model,
    tokenizer,
    prompts=None,
    max_new_tokens=50,
    *,
    temperature=1.0,
    top_k=None,
    top_p=None,
    num_beams=1,
    num_return_sequences=1,
    seed=0,
    stop=None,
    on_text=None,
):
    """Continue prompts, all at once, in one compiled loop that stays outside Python.

    A sequence ends with the tokenizer's EOS token, with a text in `stop`, or after
    `max_new_tokens`. PAD, UNK and BOS are never written. What a sequence becomes depends on the
    model, its prompt, the numbers of both and the seed, and not on the other prompts.

    Example:

    >>> from kerasaid.language_models import RecurrentLanguageModel
    >>> from kerasaid.text import train_tokenizer
    >>> tokenizer = train_tokenizer(["abc"], "character")
    >>> model = RecurrentLanguageModel(tokenizer.vocabulary_size, units=8)
    >>> texts = generate(model, tokenizer, ["a", "ab"], 5, num_return_sequences=3)
    >>> len(texts), len(texts[0])
    (2, 3)

    Args:
        model: has `initial_state(batch_size)` and `step(tokens, state)`; see
            `kerasaid.language_models`.
        tokenizer: the `kerasaid.text.Tokenizer` that the model was trained with.
        prompts: a text or a list of texts; None starts at the beginning of a document.
        max_new_tokens: the most tokens that are added, at least 1.
        temperature: divides the logits; below 1 the likely becomes likelier, 0 takes the
            likeliest (greedy); else from 0.0001 to 10,000.
        top_k: draw from the k likeliest tokens only (Fan et al. 2018, arXiv 1805.04833).
        top_p: draw from the fewest tokens whose probabilities reach p, 0 < p ≤ 1 (Holtzman et
            al. 2020, arXiv 1904.09751); applied after temperature and top_k. Tokens that tie with
            the last one kept stay too, here and in top_k.
        num_beams: above 1, beam search: nothing is drawn, and the continuations with the highest
            total log-probability that a search of this width finds are returned, best first.
        num_return_sequences: sequences for each prompt; with beams at most num_beams, and fewer
            where fewer texts are possible.
        seed: a whole number of at least 0; the same seed draws the same texts.
        stop: a text or texts at which a sequence ends, without beams; itself left out.
        on_text: called with (prompt number, sequence number, new piece of text) while the
            sequences grow; the pieces of a sequence add up to what is returned for it.

    Returns:
        For each prompt a list of `num_return_sequences` texts that continue it.

    Raises:
        InputError: for values outside these ranges, an empty prompt, a prompt that the tokenizer
            cannot read, a tokenizer whose vocabulary is not the model's, more tokens than the
            model's `sequence_length` where it has one, or logits that are nan.
    """
    _check(model, tokenizer, max_new_tokens, temperature, top_k, top_p)
    require_at_least(1, num_beams=num_beams, num_return_sequences=num_return_sequences)
    require_at_least(0, seed=seed)
    stop = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(stop, (list, tuple)) or not all(isinstance(e, str) and e for e in stop):
        raise InputError(f"stop must be a text or a list of texts, none empty, received {stop!r}.")
    if on_text is not None and not callable(on_text):
        raise InputError(f"on_text must be a function, received {on_text!r}.")
    beams = num_beams > 1
    if beams and num_return_sequences > num_beams:
        raise InputError(
            f"num_return_sequences must be at most num_beams, which is {num_beams}, "
            f"received {num_return_sequences}."
        )
    if beams and (temperature != 1 or top_k is not None or top_p is not None or stop or on_text):
        raise InputError(
            "beam search draws nothing and ends before it knows its texts: leave temperature, "
            "top_k, top_p, stop and on_text out, or num_beams at 1."
        )
    encoded = _encode(tokenizer, prompts)
    rows = num_beams if beams else num_return_sequences
    _check_room(model, encoded, max_new_tokens)
    forced = _forced(encoded, rows, max_new_tokens, tokenizer)
    possible = np.ones(len(forced), bool)
    if beams:
        tokens, possible = _beam_search(model, tokenizer, forced, num_beams)
    else:
        tokens = _sample(
            *(model, tokenizer, forced, _uniforms(encoded, rows, max_new_tokens, seed)),
            *(temperature, top_k, top_p, _Listener(tokenizer, encoded, rows, stop, on_text)),
        )
    texts = []
    for number, prompt in enumerate(encoded):
        own = slice(number * rows, number * rows + num_return_sequences)
        new = tokens[own, len(prompt) - 1 :][:, :max_new_tokens][possible[own]]
        texts.append([_text(tokenizer, prompt, ids, stop) for ids in new])
    return texts


def next_token_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """Return the probabilities that a sampler draws the next token from.

    Example:

    >>> import numpy as np
    >>> logits = np.log([[0.5, 0.3, 0.2]])
    >>> np.asarray(next_token_probabilities(logits, top_k=2)).round(3)  # 0.5 and 0.3, rescaled
    array([[0.625, 0.375, 0.   ]])

    Args:
        logits: (batch, vocabulary).
        temperature: from 0.0001 to 10,000; see `generate` for this and the others.
        top_k: tokens kept; where several tie for the last place, all of them are kept.
        top_p: probability that the tokens kept reach.

    Returns:
        A tensor (batch, vocabulary), each row adding up to 1.

    Raises:
        InputError: for logits of another rank, and for values outside these ranges.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    if len(logits.shape) != 2:
        raise InputError(f"logits must be (batch, vocabulary), received {tuple(logits.shape)}.")
    if isinstance(temperature, numbers.Real) and temperature == 0:
        raise InputError("temperature 0 takes the likeliest token and has no probabilities.")
    _check_sampler(temperature, top_k, top_p)
    return _probabilities(logits, temperature, top_k, top_p)


def _probabilities(logits, temperature, top_k, top_p):
    logits = logits / temperature
    if top_k is not None:
        least = ops.top_k(logits, min(top_k, logits.shape[-1]))[0][:, -1:]
        logits = ops.where(logits < least, -float("inf"), logits)
    probabilities = ops.softmax(logits)
    if top_p is not None:
        ordered = ops.flip(ops.sort(probabilities), axis=-1)
        before = ops.cumsum(ordered, axis=-1) - ordered  # what the likelier ones reach
        least = ops.min(ops.where(before < top_p, ordered, 2.0), axis=-1, keepdims=True)
        probabilities = ops.where(probabilities < least, 0.0, probabilities)
        probabilities = probabilities / ops.sum(probabilities, axis=-1, keepdims=True)
    return probabilities


def _draw(probabilities, uniform):
    """Return for each row the token whose share of [0, 1) holds the row's uniform number.

    Found in two looks: first the block of tokens, then the token in it. One running sum over the
    whole vocabulary would take several times as long.
    """
    size = probabilities.shape[-1]
    padded = ops.pad(probabilities, [[0, 0], [0, -size % _BLOCK]])
    blocks = ops.reshape(padded, (-1, -(-size // _BLOCK), _BLOCK))
    shares = ops.sum(blocks, axis=-1)
    block, place = _locate(shares, uniform[:, None] * ops.sum(shares, axis=-1, keepdims=True))
    inside = ops.take_along_axis(blocks, block[:, :, None], axis=1)[:, 0]
    return (block * _BLOCK + _locate(inside, place)[0])[:, 0]


def _locate(shares, place):
    """Return which share a place falls into when they are laid end to end, and where in it."""
    ends = ops.cumsum(shares, axis=-1)
    # Rounding must not carry a place out of the shares, or into one that is zero.
    place = ops.clip(place, 0.0, ends[:, -1:] * (1 - 2**-22))
    index = ops.sum(ops.cast(ends <= place, "int32"), axis=-1, keepdims=True)
    before = ops.take_along_axis(ends - shares, index, axis=1)
    return index, place - before


def _check(model, tokenizer, max_new_tokens, temperature, top_k, top_p):
    for name in ("initial_state", "step"):
        if not hasattr(model, name):
            raise InputError(
                f"{type(model).__name__} has no {name!r}; generate needs a model with "
                "initial_state(batch_size) and step(tokens, state)."
            )
    require_vocabulary(model, tokenizer)
    require_at_least(1, max_new_tokens=max_new_tokens)
    _check_sampler(temperature, top_k, top_p)


def _check_sampler(temperature, top_k, top_p):
    if not isinstance(temperature, numbers.Real) or not (
        temperature == 0 or 1e-4 <= temperature <= 1e4
    ):
        raise InputError(
            f"temperature must be 0 (greedy) or from 0.0001 to 10,000, received {temperature!r}."
        )
    if top_k is not None:
        require_at_least(1, top_k=top_k)
    if top_p is not None and not (isinstance(top_p, numbers.Real) and 0 < top_p <= 1):
        raise InputError(f"top_p must be above 0 and at most 1, received {top_p!r}.")


def _encode(tokenizer, prompts):
    """Return each prompt's ids, BOS first."""
    if prompts is None:
        return [_Prompt([tokenizer.bos_id])]
    prompts = [prompts] if isinstance(prompts, str) else prompts
    if not isinstance(prompts, (list, tuple)) or not prompts:
        raise InputError(
            f"prompts must be a text or a list of texts, received {prompts!r}; "
            "None starts at the beginning of a document."
        )
    encoded = []
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt:
            raise InputError(
                f"a prompt must be a text of at least one character, received {prompt!r}; "
                "prompts=None starts at the beginning of a document."
            )
        ids = tokenizer.encode(prompt)
        if tokenizer.unk_id in ids:
            parts = prompt if tokenizer.kind == "character" else prompt.split()
            unknown = [
                part for part in dict.fromkeys(parts) if tokenizer.unk_id in tokenizer.encode(part)
            ]
            raise InputError(
                f"the prompt {prompt!r} holds what the tokenizer ({tokenizer.kind}) does not "
                f"know: {', '.join(map(repr, unknown or [prompt]))}."
            )
        encoded.append(_Prompt([tokenizer.bos_id, *ids]))
        encoded[-1].lost_space = prompt[-1].isspace() and not tokenizer.decode(ids)[-1:].isspace()
    return encoded


class _Prompt(list):
    """A prompt's ids, and whether its text ended in a space that they do not hold."""

    lost_space = False


def _check_room(model, encoded, max_new_tokens):
    """Raise InputError where a model with a limit would have to read more tokens than that."""
    room, longest = getattr(model, "sequence_length", None), max(map(len, encoded))
    if room is not None and longest + max_new_tokens - 1 > room:
        raise InputError(
            f"the model reads at most {room} tokens; a prompt of {longest - 1} and its beginning "
            f"leave room for max_new_tokens={max(0, room - longest + 1)}, "
            f"received {max_new_tokens}."
        )


def _forced(encoded, rows, max_new_tokens, tokenizer):
    """Return (rows, steps + 1) ids: the prompts, −1 where a token is to be found, PAD after it."""
    longest = max(map(len, encoded))
    forced = np.full((len(encoded) * rows, longest + max_new_tokens), tokenizer.pad_id, "int32")
    for number, ids in enumerate(encoded):
        own = forced[number * rows : (number + 1) * rows]
        own[:, : len(ids)] = ids
        own[:, len(ids) : len(ids) + max_new_tokens] = -1
    return forced


def _uniforms(encoded, rows, max_new_tokens, seed):
    """Return (rows, steps) numbers in [0, 1), each sequence's own, where its new tokens stand."""
    longest = max(map(len, encoded))
    table = np.zeros((len(encoded) * rows, longest + max_new_tokens - 1), "float32")
    for number, ids in enumerate(encoded):
        for k in range(rows):
            drawn = np.random.default_rng([seed, number, k]).random(max_new_tokens, "float32")
            table[number * rows + k, len(ids) - 1 :][:max_new_tokens] = drawn
    return table


def _text(tokenizer, prompt, ids, stop):
    """Return the text of new tokens up to EOS or to the stop text that is complete first."""
    ids = [int(token) for token in ids]
    ended = tokenizer.eos_id in ids
    if ended:
        ids = ids[: ids.index(tokenizer.eos_id)]
    # Decoded with the prompt, which decides whether a space belongs between them.
    text = tokenizer.decode([*prompt, *ids])[len(tokenizer.decode(prompt)) :]
    text = text.removeprefix(" ") if prompt.lost_space else text
    found = [end for end in stop if end in text]
    if not ended and not found and tokenizer.pad_id in ids:  # chosen only where nothing compares
        raise InputError("the model's logits are not numbers (nan): its training has diverged.")
    first = min(found, key=lambda end: (text.find(end) + len(end), -len(end)), default=None)
    return text if first is None else text[: text.find(first)]


class _Listener:
    """Hands new text to `on_text`, and knows which sequences have met a stop text."""

    def __init__(self, tokenizer, encoded, rows, stop, on_text):
        self.tokenizer, self.stop, self.on_text, self.rows = tokenizer, stop, on_text, rows
        self.prompts = [ids for ids in encoded for _ in range(rows)]
        self.told = [""] * len(self.prompts)
        # Without anybody to tell and nothing to look for, all tokens are found in one go.
        self.every = _STREAMED_AT_ONCE if stop or on_text else None

    def __call__(self, tokens, ended):
        """Take all tokens so far, (rows, steps); return which rows are complete."""
        ended = ended.copy()
        for row, prompt in enumerate(self.prompts):
            new = tokens[row, len(prompt) - 1 :]
            new = new[: np.argmax([*(new == self.tokenizer.pad_id), True])]
            whole = _text(self.tokenizer, prompt, new, [])
            text = _text(self.tokenizer, prompt, new, self.stop)
            ended[row] |= text != whole
            if self.on_text:
                self._tell(row, text, ended[row])
        return ended

    def _tell(self, row, text, complete):
        if not complete:  # the last characters may still become part of something else
            held = max([0, *(len(end) - 1 for end in self.stop)])
            text = text.rstrip("\ufffd")
            text = text[: max(0, len(text) - held)]
        if len(text) > len(self.told[row]):
            piece = text[len(self.told[row]) :]
            self.told[row] = text
            self.on_text(row // self.rows, row % self.rows, piece)


def _sample(model, tokenizer, forced, uniforms, temperature, top_k, top_p, listener):
    greedy = temperature == 0
    if greedy:  # nothing is drawn, so nothing is filtered
        top_k = top_p = None
    kind, alone = "greedy" if greedy else "sample", len(forced) == 1 and _supports_xla(model)
    loop = _compile(model, tokenizer, kind, top_k, top_p is not None, alone)
    # What filters nothing is passed all the same, so that one trace serves every value.
    scalars = [np.float32(1 if greedy else temperature), np.float32(top_p or 1)]
    token, state = forced[:, 0], model.initial_state(len(forced))
    ended = np.zeros(len(forced), bool)
    steps = forced.shape[1] - 1
    every = listener.every or steps
    tokens = np.zeros((len(forced), 0), "int32")
    for start in range(0, steps, every):
        part = slice(start, min(start + every, steps))
        tables = [forced[:, 1:][:, part], uniforms[:, part]]
        count = np.int32(tables[0].shape[1])
        if alone:  # for XLA each length is a program, so there is one length
            tables = [_filled_up(table, model.sequence_length) for table in tables]
        new, state, ended = loop(token, state, ended, *tables, count, *scalars)
        new, ended = ops.convert_to_numpy(new)[:, :count], ops.convert_to_numpy(ended)
        tokens, token = np.concatenate([tokens, new], axis=1), new[:, -1]
        ended = listener(tokens, ended) if listener.every else ended
        if ended.all():
            break
    if listener.on_text:
        listener(tokens, np.ones(len(forced), bool))
    return tokens


def _filled_up(table, room):
    """Return a table with columns of zeros behind its own, room in all."""
    return np.pad(table, [(0, 0), (0, room - table.shape[1])])


def _supports_xla(model):
    """Return whether one sequence gets a program of XLA: where there is room, and Keras allows it.

    A transformer's step is hundreds of small operations. An LSTM's is few; with it, one sequence
    would be faster as well, but the first one and each other number of rows would wait longer.
    """
    return (
        keras.backend.backend() == "tensorflow"
        and isinstance(model, keras.Model)
        and hasattr(model, "sequence_length")
        and all(layer.supports_jit for layer in model._flatten_layers())
    )


def _sampling_loop(step, tokenizer, top_k, with_top_p, greedy):
    """Return the loop over time: prompts are read, and where they end, tokens are found."""
    never = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id]
    banned = _banned(tokenizer, never)

    def loop(token, state, ended, forced, uniforms, steps, temperature, top_p):
        def body(time, token, state, ended, found):
            logits, state = step(token, state)
            logits = ops.cast(logits, "float32") + ops.convert_to_tensor(banned)
            if greedy:
                chosen = ops.cast(ops.argmax(logits, axis=-1), "int32")
                broken = ops.any(ops.isnan(logits), axis=-1)  # argmax would pass over them
                chosen = ops.where(broken, tokenizer.pad_id, chosen)
            else:
                top = top_p if with_top_p else None
                chosen = _draw(_probabilities(logits, temperature, top_k, top), uniforms[:, time])
            given = forced[:, time]
            free = given < 0
            token = ops.where(free, ops.where(ended, tokenizer.pad_id, chosen), given)
            ended = ended | (token == tokenizer.eos_id)  # never in a prompt
            found = ops.scatter_update(found, ops.reshape(time, (1, 1)), token[None])
            return time + 1, token, state, ended, found

        def unfinished(time, token, state, ended, found):
            return ops.logical_and(time < steps, ops.logical_not(ops.all(ended)))

        found = ops.full_like(ops.transpose(forced), tokenizer.pad_id)
        start = (ops.cast(0, "int32"), token, state, ended, found)
        _, _, state, ended, found = ops.while_loop(unfinished, body, start)
        return ops.transpose(found), state, ended

    return loop


def _banned(tokenizer, never):
    row = np.zeros(tokenizer.vocabulary_size, "float32")
    row[never] = -np.inf
    return row


def _beam_search(model, tokenizer, forced, num_beams):
    """Return tokens (prompts · beams, steps), the best of each prompt first, and which are real.

    Where fewer continuations exist than beams, the others have a probability of 0.
    """
    loop = _compile(model, tokenizer, "beam", num_beams, False)
    found, parents, scores = (
        ops.convert_to_numpy(part)
        for part in loop(forced[:, 0], model.initial_state(len(forced)), forced[:, 1:])
    )
    tokens = np.empty_like(found)
    beams = np.arange(len(forced)).reshape(-1, num_beams)
    order = np.argsort(-scores, axis=1, kind="stable")
    beams = np.take_along_axis(beams, order, axis=1).ravel()
    possible = ~np.isneginf(np.take_along_axis(scores, order, axis=1).ravel())
    for time in reversed(range(found.shape[1])):  # each beam remembers which one it came from
        tokens[:, time], beams = found[beams, time], parents[beams, time]
    return tokens, possible


def _beam_loop(step, tokenizer, num_beams):
    never = _banned(tokenizer, [tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id])
    only_pad = np.full(tokenizer.vocabulary_size, -np.inf, "float32")
    only_pad[tokenizer.pad_id] = 0
    size = tokenizer.vocabulary_size

    def loop(token, state, forced):
        rows = ops.shape(forced)[0]
        prompts = rows // num_beams
        own = ops.arange(rows, dtype="int32")
        # All beams of a prompt begin alike; only the first counts until they part.
        first = ops.cast(own % num_beams == 0, "float32")
        scores = ops.reshape(ops.where(first > 0, 0.0, -float("inf")), (prompts, num_beams))

        def body(time, token, state, ended, scores, found, parents):
            logits, state = step(token, state)
            logits = ops.cast(logits, "float32") + ops.convert_to_tensor(never)
            broken = ops.any(ops.isnan(logits), axis=-1) & ~ended  # top_k would pass over them
            costs = ops.where(
                (ended | broken)[:, None], ops.convert_to_tensor(only_pad), ops.log_softmax(logits)
            )
            totals = ops.reshape(scores, (-1, 1)) + costs
            best, chosen = ops.top_k(ops.reshape(totals, (prompts, num_beams * size)), num_beams)
            chosen = ops.cast(chosen, "int32")
            parent = chosen // size + num_beams * ops.arange(prompts, dtype="int32")[:, None]
            parent, chosen = ops.reshape(parent, (-1,)), ops.reshape(chosen % size, (-1,))

            given = forced[:, time]
            free = given < 0
            parent = ops.where(free, parent, own)
            token = ops.where(free, chosen, given)
            moving = ops.reshape(free, (prompts, num_beams))
            scores = ops.where(moving, best, scores)
            ended = ops.take(ended, parent) | (token == tokenizer.eos_id)
            state = keras.tree.map_structure(
                lambda leaf: ops.take(leaf, parent, axis=0) if len(leaf.shape) else leaf, state
            )
            found = ops.slice_update(found, (time, 0), token[None])
            parents = ops.slice_update(parents, (time, 0), parent[None])
            return time + 1, token, state, ended, scores, found, parents

        def unfinished(time, token, state, ended, scores, found, parents):
            return ops.logical_and(time < ops.shape(forced)[1], ops.logical_not(ops.all(ended)))

        found = ops.full_like(ops.transpose(forced), tokenizer.pad_id)
        parents = ops.zeros_like(found) + own  # a step that is not taken changes no beam
        ended = ops.zeros((rows,), "bool")
        start = (ops.cast(0, "int32"), token, state, ended, scores, found, parents)
        *_, scores, found, parents = ops.while_loop(unfinished, body, start)
        return ops.transpose(found), ops.transpose(parents), scores

    return loop


def _compile(model, tokenizer, kind, option, with_top_p, alone=False):
    """Return the loop for a model, compiled once for every number of rows and of steps.

    Every tokenizer has the same special tokens, so the loop serves any that fits the model.

    A sequence that is alone is written by a program of XLA where the model allows one: it is
    several times faster for few rows, but would be made anew for each number of them.
    """
    known = _compiled.setdefault(model, {})
    # LoRA or quantization gives a model other variables, which an earlier graph would not read.
    variables = tuple(id(variable) for variable in getattr(model, "variables", ()))
    if known.get("variables") != variables:
        known.clear()
        known["variables"] = variables
    key = (kind, option, with_top_p, alone)
    if key in known:
        return known[key]
    alive = weakref.ref(model)  # a strong one would keep the model, and this entry, for ever

    def step(token, state):
        return alive().step(token, state)

    if kind == "beam":
        loop = _beam_loop(step, tokenizer, option)
    else:
        loop = _sampling_loop(step, tokenizer, option, with_top_p, kind == "greedy")
    if keras.backend.backend() == "tensorflow":
        loop = _as_graph(loop, model, kind, alone)
    elif keras.backend.backend() == "jax":
        loop = _as_program(loop, model)
    else:
        loop = _without_gradients(loop)
    known[key] = loop
    return loop


def _without_gradients(loop):
    """Return a loop for PyTorch, whose values inside do not mix with NumPy's arrays."""
    import torch

    def call(*values):
        return loop(*keras.tree.map_structure(ops.convert_to_tensor, values))

    return torch.no_grad()(call)


def _as_program(loop, model):
    """Return a loop that JAX compiles for each shape; the weights come in as values."""
    import jax

    alive = weakref.ref(model)

    @jax.jit
    def program(weights, *values):
        mapping = list(zip(getattr(alive(), "variables", ()), weights))
        with keras.StatelessScope(state_mapping=mapping):
            return loop(*values)

    def call(*values):
        weights = [variable.value for variable in getattr(alive(), "variables", ())]
        return program(weights, *keras.tree.map_structure(ops.convert_to_tensor, values))

    return call


def _as_graph(loop, model, kind, alone):
    import tensorflow as tf

    if alone:
        return tf.function(loop, jit_compile=True)
    rows, table = tf.TensorSpec([None], "int32"), tf.TensorSpec([None, None], "int32")
    state = keras.tree.map_structure(
        lambda leaf: tf.TensorSpec([None, *leaf.shape[1:]] if len(leaf.shape) else [], leaf.dtype),
        model.initial_state(2),
    )
    signature = [rows, state, table]
    if kind != "beam":
        ended, number = tf.TensorSpec([None], "bool"), tf.TensorSpec([], "float32")
        uniforms, steps = tf.TensorSpec([None, None], "float32"), tf.TensorSpec([], "int32")
        signature = [rows, state, ended, table, uniforms, steps, number, number]
    return tf.function(loop, input_signature=signature)
