"""A transformer's block: attention, then a small network at each position."""

import keras
from keras import ops

from kerasaid.errors import InputError, require_at_least, require_dropout
from kerasaid.layers.cached_multi_head_attention import CachedMultiHeadAttention
from kerasaid.layers.rotary_multi_head_attention import RotaryMultiHeadAttention


@keras.saving.register_keras_serializable(package="kerasaid")
class TransformerBlock(keras.layers.Layer):
    """Attention among positions, then two dense layers at each, both added to what came in.

    With LN for layer normalization, the block computes (pre-norm, `normalize_first`)

    - h = x + attention(LN(x))
    - y = h + dense(activation(dense(LN(h))))

    or, as in the first transformers (post-norm), h = LN(x + attention(x)) and
    y = LN(h + dense(activation(dense(h)))).

    Example:

    >>> import numpy as np
    >>> block = TransformerBlock(intermediate_dim=32, num_heads=2, causal=True)
    >>> tuple(block(np.ones((1, 5, 8), "float32")).shape)
    (1, 5, 8)

    Args:
        intermediate_dim: width between the two dense layers; four times the width is usual.
        num_heads: attention heads; they share the width.
        causal: whether a position sees only itself and what came before.
        rotary: whether attention rotates queries and keys by their positions.
        dropout: rate of attention's weights, and of what is added to the input.
        activation: between the two dense layers.
        layer_norm_epsilon: added to the variance.
        normalize_first: pre-norm if True, post-norm if False.
        kernel_initializer: for the kernels of all dense layers.
        **kwargs: `name`, `dtype` and what else a `keras.layers.Layer` takes.

    Call arguments:
        inputs: (batch, length, features).
        padding_mask: (batch, length), False where nothing stands; no position sees these. It is
            the Keras mask of the inputs where none is given.
        attention_mask: (batch or 1, length, length), which position sees which. With a cache, the
            last axis of both masks are the positions that it has room for.
        cache: from the block's last call, or `initial_cache`; see `CachedMultiHeadAttention`.
        cache_update_index: how many positions came before.
        training: whether dropout acts.
        return_attention_scores: also return attention's weights, (batch, heads, length, length).

    Returns:
        (batch, length, features); with a cache a tuple of that and the new cache.

    Raises:
        InputError: when num_heads does not divide the features, for a mask of another shape, and
            for a cache without causal, of another shape, without room, or with
            return_attention_scores.

    Source: Vaswani et al. (2017), arXiv 1706.03762; Xiong et al. (2020), "On Layer Normalization
    in the Transformer Architecture", arXiv 2002.04745.
    """

    def __init__(
        self,
        intermediate_dim,
        num_heads,
        causal=False,
        rotary=False,
        dropout=0.0,
        activation="gelu",
        layer_norm_epsilon=1e-5,
        normalize_first=True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_at_least(1, intermediate_dim=intermediate_dim, num_heads=num_heads)
        require_dropout(dropout)
        self.intermediate_dim, self.num_heads = int(intermediate_dim), int(num_heads)
        self.causal, self.rotary, self.dropout = causal, rotary, dropout
        self.activation = keras.activations.get(activation)
        self.layer_norm_epsilon, self.normalize_first = layer_norm_epsilon, normalize_first
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True

    def build(self, inputs_shape):
        """Create the layers and their weights."""
        features = inputs_shape[-1]
        if features % self.num_heads:
            raise InputError(
                f"the heads of {self.name!r} must share its {features} features evenly, "
                f"received num_heads={self.num_heads}."
            )
        policy = {"dtype": self.dtype_policy}

        def kernel():  # a new one each, so that no two kernels are alike
            return {"kernel_initializer": self.kernel_initializer.clone(), **policy}

        epsilon = {"epsilon": self.layer_norm_epsilon, **policy}
        self.attention_norm = keras.layers.LayerNormalization(name="attention_norm", **epsilon)
        attention = RotaryMultiHeadAttention if self.rotary else CachedMultiHeadAttention
        self.attention = attention(
            *(self.num_heads, features // self.num_heads),
            dropout=self.dropout,
            name="attention",
            **kernel(),
        )
        self.dense_norm = keras.layers.LayerNormalization(name="dense_norm", **epsilon)
        self.expand = keras.layers.Dense(
            self.intermediate_dim, self.activation, name="expand", **kernel()
        )
        self.contract = keras.layers.Dense(features, name="contract", **kernel())
        self.drop = keras.layers.Dropout(self.dropout, name="dropout", **policy)
        self.attention.build(inputs_shape, inputs_shape)
        for layer in (self.attention_norm, self.dense_norm, self.expand):
            layer.build(inputs_shape)
        self.contract.build((*inputs_shape[:-1], self.intermediate_dim))

    def call(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        cache=None,
        cache_update_index=0,
        training=None,
        return_attention_scores=False,
        mask=None,
        inputs_mask=None,
    ):
        """Return what the positions become; see the class."""
        if padding_mask is None:
            # Keras hands over the inputs' mask as `inputs_mask` where there are other tensors;
            # beside a cache it is one of the new positions, not of the cache's.
            padding_mask = inputs_mask if mask is None and cache is None else mask
        seen = self._seen(inputs, cache, padding_mask, attention_mask)
        options = {
            "attention_mask": seen,
            "training": training,
            "return_attention_scores": return_attention_scores,
        }
        if cache is None:
            options["use_causal_mask"] = self.causal
        else:
            self._require_causal()
            options |= {"cache": cache, "cache_update_index": cache_update_index}
        return self._around(inputs, lambda x: self.attention(x, x, **options), training)

    def step(self, inputs, cache, cache_update_index):
        """Go on by one position, (batch, features); return that and the new cache, as `call`."""
        self._require_causal()
        inputs = ops.cast(inputs, self.compute_dtype)  # as Keras does before a call
        return self._around(
            inputs, lambda x: self.attention.step(x, cache, cache_update_index), training=False
        )

    def _around(self, inputs, attention, training):
        """Return the block's output, and what attention returned beside its own."""
        # A copy, since Keras' attention takes the mask off what it reads.
        x = attention(self.attention_norm(inputs) if self.normalize_first else ops.copy(inputs))
        x, *more = x if isinstance(x, tuple) else (x,)
        x = inputs + self.drop(x, training=training)
        x = x if self.normalize_first else self.attention_norm(x)
        hidden = self.dense_norm(x) if self.normalize_first else x
        hidden = self.contract(self.expand(hidden))
        x = x + self.drop(hidden, training=training)
        x = x if self.normalize_first else self.dense_norm(x)
        return (x, *more) if more else x

    def _require_causal(self):
        if not self.causal:
            raise InputError(f"{self.name!r} sees the future: it has no use for a cache.")

    def initial_cache(self, batch_size, sequence_length):
        """Return an empty cache, (batch_size, 2, sequence_length, heads, features / heads)."""
        shape = (batch_size, 2, sequence_length, self.num_heads, self.attention.key_dim)
        return ops.zeros(shape, self.compute_dtype)

    def _seen(self, inputs, cache, padding_mask, attention_mask):
        """Return one mask of what is seen, or None."""
        batch, length = inputs.shape[:2]
        room = length if cache is None else cache.shape[2]
        seen = None
        for name, mask, expected in (
            ("padding_mask", padding_mask, (batch, room)),
            ("attention_mask", attention_mask, (batch, length, room)),
        ):
            if mask is None:
                continue
            fits = len(mask.shape) == len(expected) and all(
                None in (found, wanted) or found == wanted or (found == 1 and axis == 0)
                for axis, (found, wanted) in enumerate(zip(mask.shape, expected))
            )
            if not fits:
                raise InputError(
                    f"{name} of {self.name!r} must have the shape {expected}, "
                    f"received {tuple(mask.shape)}."
                )
            mask = ops.cast(mask, "bool")
            mask = mask[:, None, :] if name == "padding_mask" else mask
            seen = mask if seen is None else ops.logical_and(seen, mask)
        return seen

    def get_config(self):
        """Return the constructor's arguments."""
        names = ("intermediate_dim", "num_heads", "causal", "rotary", "dropout")
        more = ("layer_norm_epsilon", "normalize_first")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in (*names, *more)},
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
