"""Language models: what the next token is, given those before it.

A language model here is a Keras model that maps tokens (batch, length) to logits (batch, length,
vocabulary), and that can also go one token at a time, which is how text is written:

- `initial_state(batch_size)` returns the state before the first token, a nested structure of
  tensors whose first axis is the batch (or scalars);
- `step(tokens, state)` takes tokens (batch,) and returns logits (batch, vocabulary) and the state
  after them.

`kerasaid.generation.generate` works with any model that has these two.
"""

import keras
import numpy as np
from keras import ops

from kerasaid.errors import InputError, require_at_least, require_dropout
from kerasaid.layers import MinGRU
from kerasaid.text import pad

_CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "min_gru": MinGRU}
_SCORED_AT_ONCE = 16_384  # positions; their logits over a vocabulary of 5,000 take 330 MB


@keras.saving.register_keras_serializable(package="kerasaid")
class RecurrentLanguageModel(keras.Model):
    """An embedding, recurrent layers, and logits over the vocabulary.

    It reads from left to right, so padding on the right changes nothing before it and needs no
    mask; padded positions get a weight of 0 in the loss.

    Example:

    >>> import numpy as np
    >>> model = RecurrentLanguageModel(vocabulary_size=50, units=16)
    >>> model(np.zeros((2, 7), "int32")).shape
    TensorShape([2, 7, 50])
    >>> logits, state = model.step(np.zeros((2,), "int32"), model.initial_state(2))
    >>> logits.shape
    TensorShape([2, 50])

    Args:
        vocabulary_size: number of tokens.
        units: width of each recurrent layer.
        embedding_dim: width of the embedding; `units` by default.
        num_layers: number of recurrent layers.
        cell: "lstm", "gru" or "min_gru".
        tied: whether the output uses the embedding's matrix, transposed (Press and Wolf 2017,
            arXiv 1608.05859); embedding_dim must then equal units.
        dropout: rate after the embedding and after each recurrent layer.

    Call arguments:
        tokens: int32, (batch, length).

    Output shape: logits, (batch, length, vocabulary_size).

    Raises:
        InputError: for a size below 1, an unknown cell, a dropout outside [0, 1), or a tied
            output whose embedding_dim differs from units.
    """

    def __init__(
        self,
        vocabulary_size,
        units=128,
        embedding_dim=None,
        num_layers=1,
        cell="lstm",
        tied=False,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        embedding_dim = units if embedding_dim is None else embedding_dim
        require_at_least(
            1,
            vocabulary_size=vocabulary_size,
            units=units,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
        )
        if cell not in _CELLS:
            raise InputError(f"cell must be one of {', '.join(_CELLS)}, received {cell!r}.")
        require_dropout(dropout)
        if tied and embedding_dim != units:
            raise InputError(
                f"a tied output needs embedding_dim equal to units, received {embedding_dim} "
                f"and {units}."
            )
        # Plain numbers, also where NumPy's were given: only these can be saved.
        self.vocabulary_size, self.units = int(vocabulary_size), int(units)
        self.embedding_dim, self.num_layers = int(embedding_dim), int(num_layers)
        self.cell, self.tied, self.dropout = cell, tied, dropout
        policy = {"dtype": self.dtype_policy}
        # Rows as wide as unit-variance inputs, where Keras' default stays within ±0.05. A matrix
        # that also makes logits has to start smaller.
        stddev = embedding_dim**-0.5 if tied else 1.0
        self.embedding = keras.layers.ReversibleEmbedding(
            *(self.vocabulary_size, self.embedding_dim),
            embeddings_initializer=keras.initializers.RandomNormal(stddev=stddev),
            name="embedding",
            **policy,
        )
        self.recurrent = [
            _CELLS[cell](self.units, return_sequences=True, name=f"{cell}_{number}", **policy)
            for number in range(1, self.num_layers + 1)
        ]
        self.drop = keras.layers.Dropout(dropout, name="dropout", **policy)
        # A tied output has a bias of its own; what is shared is the matrix.
        self.output_layer = (
            None if tied else keras.layers.Dense(self.vocabulary_size, name="logits", **policy)
        )
        self.build((None, None))

    def build(self, input_shape):
        """Make all weights, so that a new model can be counted, copied and trained at once."""
        self.embedding.build(input_shape)
        width = self.embedding_dim
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.units
        if self.tied:
            self.bias = self.add_weight(
                shape=(self.vocabulary_size,), initializer="zeros", name="output_bias"
            )
        else:
            self.output_layer.build((None, None, width))
        self.built = True

    def call(self, tokens, training=None):
        """Return the logits of the token after each position."""
        x = self.drop(self.embedding(tokens), training=training)
        for layer in self.recurrent:
            x = self.drop(layer(x, training=training), training=training)
        return self._logits(x)

    def _logits(self, x):
        if self.tied:
            logits = self.embedding(x, reverse=True)
            return logits + ops.cast(self.bias, logits.dtype)
        return self.output_layer(x)

    def initial_state(self, batch_size):
        """Return zeros: for each layer a list of tensors (batch_size, units)."""
        each = 2 if self.cell == "lstm" else 1
        dtype = self.compute_dtype
        return [
            [ops.zeros((batch_size, self.units), dtype) for _ in range(each)]
            for _ in self.recurrent
        ]

    def step(self, tokens, state):
        """Read one token (batch,) a row; return logits (batch, vocabulary_size) and the state."""
        x, after = self.embedding(tokens), []
        for layer, before in zip(self.recurrent, state):
            if self.cell == "min_gru":
                x = layer.step(x, before[0])
                after.append([x])
            else:
                x, states = layer.cell(x, before, training=False)
                after.append(list(states))
        return self._logits(x), after

    def get_config(self):
        """Return the constructor's arguments."""
        names = ("vocabulary_size", "units", "embedding_dim", "num_layers", "cell", "tied")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "dropout": self.dropout,
        }


def require_vocabulary(model, tokenizer):
    """Raise InputError where a model's `vocabulary_size` is not that of the tokenizer."""
    size = getattr(model, "vocabulary_size", tokenizer.vocabulary_size)
    if size != tokenizer.vocabulary_size:
        raise InputError(
            f"the tokenizer has {tokenizer.vocabulary_size} tokens and the model {size}: "
            "this is not the tokenizer that the model was trained with."
        )


def score(model, tokenizer, documents):
    """Return what each document costs a language model: its negative log-probability in nats.

    Each document is read from its beginning, and its end counts as a token. Divided by
    `np.log(2)` it is in bits, divided by the number of characters it is comparable across
    tokenizers, as long as no document holds UNK, whose spelling costs nothing here.

    Args:
        model: maps tokens (batch, length) to logits (batch, length, vocabulary).
        tokenizer: a `kerasaid.text.Tokenizer`.
        documents: a list of texts.

    Returns:
        float64, (documents,).

    Raises:
        InputError: when there are no documents, or the tokenizer is not the model's.
    """
    require_vocabulary(model, tokenizer)
    if not len(documents):
        raise InputError("documents must not be empty: there is nothing to score.")
    encoded = tokenizer.encode_batch(documents)
    nats = np.empty(len(encoded))
    for rows in _groups([len(ids) + 1 for ids in encoded]):
        x, y, weights = pad([encoded[row] for row in rows], tokenizer)
        logits = ops.cast(model(x), "float32")
        costs = keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)
        costs = ops.convert_to_numpy(costs).astype("float64")
        nats[rows] = np.where(weights > 0, costs, 0).sum(axis=1)  # padding may cost infinity
    return nats


def _groups(lengths):
    """Yield row numbers by similar length; padded groups of several stay below the limit."""
    group = []
    for row in np.argsort(lengths, kind="stable"):
        if group and (len(group) + 1) * lengths[row] > _SCORED_AT_ONCE:
            yield group
            group = []
        group.append(int(row))
    yield group
