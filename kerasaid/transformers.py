"""Transformers over tokens: one that writes, one that fills blanks.

Both are an embedding, positions, a stack of `TransformerBlock`s, and logits over the vocabulary.
They differ in what a position may see: what came before (GPT), or everything (BERT).
"""

import keras
from keras import ops

from kerasaid.errors import InputError, require_at_least, require_dropout
from kerasaid.layers import PositionEmbedding, SinePositionEncoding, TransformerBlock

_POSITIONS = ("learned", "sine", "rotary", None)


class _Transformer(keras.Model):
    """What both share: from tokens to the hidden states behind the last block."""

    causal = None

    def __init__(
        self,
        vocabulary_size,
        sequence_length,
        hidden_dim=128,
        num_layers=4,
        num_heads=4,
        intermediate_dim=None,
        positions="learned",
        tied=True,
        dropout=0.0,
        normalize_first=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        intermediate_dim = 4 * hidden_dim if intermediate_dim is None else intermediate_dim
        sizes = {
            "vocabulary_size": vocabulary_size,
            "sequence_length": sequence_length,
            "hidden_dim": hidden_dim,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
        }
        require_at_least(1, **sizes)
        require_dropout(dropout)
        if positions not in _POSITIONS:
            known = ", ".join(map(repr, _POSITIONS))
            raise InputError(f"positions must be one of {known}, received {positions!r}.")
        for name, value in sizes.items():
            setattr(self, name, int(value))  # plain numbers can be saved, NumPy's cannot
        self.positions, self.tied, self.dropout = positions, tied, dropout
        self.normalize_first = normalize_first
        policy = {"dtype": self.dtype_policy}
        initializer = keras.initializers.RandomNormal(stddev=self.hidden_dim**-0.5)
        self.embedding = keras.layers.ReversibleEmbedding(
            *(self.vocabulary_size, self.hidden_dim),
            tie_weights=tied,
            embeddings_initializer=initializer,
            name="embedding",
            **policy,
        )
        self.position = None
        if positions == "learned":
            self.position = PositionEmbedding(
                self.sequence_length, initializer.clone(), name="position", **policy
            )
        elif positions == "sine":
            self.position = SinePositionEncoding(name="position", **policy)
        self.drop = keras.layers.Dropout(dropout, name="dropout", **policy)
        self.blocks = [
            TransformerBlock(
                *(self.intermediate_dim, self.num_heads),
                causal=self.causal,
                rotary=positions == "rotary",
                dropout=dropout,
                normalize_first=normalize_first,
                name=f"block_{number}",
                **policy,
            )
            for number in range(1, self.num_layers + 1)
        ]
        self.norm = None  # post-norm did it in the last block
        if normalize_first:
            self.norm = keras.layers.LayerNormalization(name="norm", epsilon=1e-5, **policy)
        self.build((None, self.sequence_length))

    def build(self, input_shape):
        """Make all weights, so that a new model can be counted, copied and trained at once."""
        hidden = (None, self.sequence_length, self.hidden_dim)
        self.embedding.build(input_shape)
        for layer in (self.position, *self.blocks, self.norm):
            if layer is not None:
                layer.build(hidden)
        self.built = True

    def hidden_states(self, tokens, padding_mask=None, training=None):
        """Return what the tokens have become behind the last block.

        Args:
            tokens: int32, (batch, length), length at most sequence_length.
            padding_mask: booleans, (batch, length), False where nothing stands.
            training: whether dropout acts.

        Returns:
            (batch, length, hidden_dim).
        """
        x = self.drop(self._embed(tokens), training=training)
        for block in self.blocks:
            x = block(x, padding_mask=padding_mask, training=training)
        return self._normalized(x)

    def attention_scores(self, tokens, padding_mask=None):
        """Return each block's attention weights, a list of (batch, heads, length, length)."""
        x, found = self._embed(tokens), []
        for block in self.blocks:
            x, scores = block(x, padding_mask=padding_mask, return_attention_scores=True)
            found.append(scores)
        return found

    def _embed(self, tokens, start_index=0):
        length = tokens.shape[1]
        if length is not None and length > self.sequence_length:
            raise InputError(
                f"{self.name!r} reads at most {self.sequence_length} tokens, received {length}."
            )
        x = self.embedding(tokens)
        if self.position is None:
            return x
        # An encoding of size 1 would drown vectors of length 1, of which each part is small.
        scale = self.hidden_dim**-0.5 if self.positions == "sine" else 1.0
        return x + scale * self.position(x, start_index=start_index)

    def _normalized(self, x):
        return x if self.norm is None else self.norm(x)

    def compute_output_shape(self, input_shape):
        """Return the shape of the logits."""
        return (*input_shape, self.vocabulary_size)

    def get_config(self):
        """Return the constructor's arguments."""
        names = ("vocabulary_size", "sequence_length", "hidden_dim", "num_layers", "num_heads")
        more = ("intermediate_dim", "positions", "tied", "dropout", "normalize_first")
        return {**super().get_config(), **{name: getattr(self, name) for name in (*names, *more)}}


@keras.saving.register_keras_serializable(package="kerasaid")
class TransformerLanguageModel(_Transformer):
    """A decoder in the manner of GPT: each token sees those before it, and predicts the next.

    Padding on the right changes nothing before it and needs no mask.

    Example:

    >>> import numpy as np
    >>> model = TransformerLanguageModel(50, sequence_length=16, hidden_dim=8, num_layers=1)
    >>> tuple(model(np.zeros((2, 7), "int32")).shape)
    (2, 7, 50)
    >>> logits, state = model.step(np.zeros((2,), "int32"), model.initial_state(2))
    >>> tuple(logits.shape)
    (2, 50)

    Args:
        vocabulary_size: number of tokens.
        sequence_length: the most tokens it can read.
        hidden_dim: width of the embedding and of each block.
        num_layers: number of blocks.
        num_heads: attention heads in each block; they share the width.
        intermediate_dim: width between a block's two dense layers; 4 * hidden_dim by default.
        positions: "learned", "sine", "rotary", or None for none.
        tied: whether the output uses the embedding's matrix, transposed.
        dropout: rate after the embedding and in each block.
        normalize_first: pre-norm if True, post-norm if False; see `TransformerBlock`.

    Call arguments:
        tokens: int32, (batch, length), length at most sequence_length.

    Output shape: logits, (batch, length, vocabulary_size).

    Raises:
        InputError: for a size below 1, heads that do not divide the width, unknown positions, a
            dropout outside [0, 1), or more tokens than sequence_length.

    Source: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners".
    """

    causal = True

    def call(self, tokens, training=None):
        """Return the logits of the token after each position."""
        return self.embedding(self.hidden_states(tokens, training=training), reverse=True)

    def initial_state(self, batch_size):
        """Return how many tokens were read, 0, and an empty cache for each block."""
        caches = [block.initial_cache(batch_size, self.sequence_length) for block in self.blocks]
        return [ops.zeros((), "int32"), *caches]

    def step(self, tokens, state):
        """Read one token (batch,) a row; return logits (batch, vocabulary_size) and the state."""
        read, *caches = state
        x = self._embed(tokens[:, None], start_index=read)[:, 0]
        for number, block in enumerate(self.blocks):
            x, caches[number] = block.step(x, caches[number], read)
        return self.embedding(self._normalized(x), reverse=True), [read + 1, *caches]


@keras.saving.register_keras_serializable(package="kerasaid")
class MaskedLanguageModel(_Transformer):
    """An encoder in the manner of BERT: each token sees all others; blanks are to be filled.

    The head is BERT's: a dense layer, GELU, layer normalization, then the embedding's matrix and
    a bias. Tokens that are `pad_id` are not seen.

    Example:

    >>> import numpy as np
    >>> model = MaskedLanguageModel(50, sequence_length=16, hidden_dim=8, num_layers=1)
    >>> tuple(model(np.ones((2, 7), "int32")).shape)
    (2, 7, 50)

    Args:
        vocabulary_size, ...: as in `TransformerLanguageModel`.
        pad_id: the token that stands for nothing.

    Call arguments:
        tokens: int32, (batch, length), length at most sequence_length.

    Output shape: logits, (batch, length, vocabulary_size).

    Raises:
        InputError: as `TransformerLanguageModel`.

    Source: Devlin et al. (2019), "BERT", arXiv 1810.04805.
    """

    causal = False

    def __init__(self, *args, pad_id=0, **kwargs):
        self.pad_id = int(pad_id)
        super().__init__(*args, **kwargs)

    def build(self, input_shape):
        """Make all weights."""
        super().build(input_shape)
        policy = {"dtype": self.dtype_policy}
        self.head = keras.layers.Dense(self.hidden_dim, "gelu", name="head", **policy)
        self.head_norm = keras.layers.LayerNormalization(name="head_norm", epsilon=1e-5, **policy)
        for layer in (self.head, self.head_norm):
            layer.build((None, None, self.hidden_dim))
        self.bias = self.add_weight(
            shape=(self.vocabulary_size,), initializer="zeros", name="output_bias"
        )

    def hidden_states(self, tokens, padding_mask=None, training=None):
        """As in `TransformerLanguageModel`; where no mask is given, `pad_id` is not seen."""
        return super().hidden_states(tokens, self._mask(tokens, padding_mask), training)

    def attention_scores(self, tokens, padding_mask=None):
        """As in `TransformerLanguageModel`; where no mask is given, `pad_id` is not seen."""
        return super().attention_scores(tokens, self._mask(tokens, padding_mask))

    def _mask(self, tokens, padding_mask):
        return ops.not_equal(tokens, self.pad_id) if padding_mask is None else padding_mask

    def call(self, tokens, training=None):
        """Return the logits of the token at each position."""
        x = self.hidden_states(tokens, training=training)
        x = self.head_norm(self.head(x))
        logits = self.embedding(x, reverse=True)
        return logits + ops.cast(self.bias, logits.dtype)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "pad_id": self.pad_id}
