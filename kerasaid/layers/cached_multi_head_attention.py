"""Keras' attention with a memory of past keys and values."""

import math

import keras
from keras import ops

from kerasaid.errors import InputError


@keras.saving.register_keras_serializable(package="kerasaid")
class CachedMultiHeadAttention(keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` that can go on where it stopped.

    Writing text one token at a time, all keys and values but the newest are those of the step
    before. A cache keeps them, so that a step costs one position instead of all. Weights, names
    and results are those of Keras' layer.

    Example:

    >>> import numpy as np
    >>> layer = CachedMultiHeadAttention(num_heads=2, key_dim=4)
    >>> x = np.ones((1, 3, 8), "float32")
    >>> cache = np.zeros((1, 2, 10, 2, 4), "float32")  # room for 10 positions
    >>> output, cache = layer(x, x, cache=cache, cache_update_index=0)
    >>> tuple(output.shape), tuple(cache.shape)
    ((1, 3, 8), (1, 2, 10, 2, 4))

    Args:
        num_heads, key_dim, ...: as in `keras.layers.MultiHeadAttention`.

    Call arguments:
        query, value, key, ...: as in `keras.layers.MultiHeadAttention`. With a cache, they are
            the new positions only, and `attention_mask` says what these may see of all positions
            that the cache has room for, (batch or 1, new, room). What lies ahead is never seen.
        cache: keys and values so far, (batch, 2, room, heads, key_dim).
        cache_update_index: how many positions came before.

    Returns:
        As `keras.layers.MultiHeadAttention`; with a cache (output, new cache).

    Raises:
        InputError: for a cache of another shape, or more positions than it has room for (where
            cache_update_index is known only when a graph runs, the caller has to see to that);
            for a cache with a gate, a sliding window, another value_dim than key_dim, or
            return_attention_scores.
    """

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
        cache=None,
        cache_update_index=0,
    ):
        """Return the output, and the new cache where there is one; see the class."""
        if cache is None:
            return super().call(
                *(query, value, key, query_mask, value_mask, key_mask, attention_mask),
                *(return_attention_scores, training, use_causal_mask),
            )
        key = value if key is None else key
        self._check_cache(query, cache, cache_update_index, return_attention_scores)
        query, key = (
            self._placed(part, cache_update_index)
            for part in (self.query_dense(query), self.key_dense(key))
        )
        new = ops.stack([key, self.value_dense(value)], axis=1)
        cache = ops.slice_update(cache, (0, 0, cache_update_index, 0, 0), new)
        seen = (
            ops.arange(cache.shape[2], dtype="int32")
            <= (
                cache_update_index
                + ops.arange(query.shape[1] or ops.shape(query)[1], dtype="int32")
            )[:, None]
        )
        mask = seen[None]
        if attention_mask is not None:
            mask = ops.logical_and(mask, ops.cast(attention_mask, "bool"))
        # Keras' own, also where a subclass has another: query and key have their places already.
        output, _ = keras.layers.MultiHeadAttention._compute_attention(
            *(self, query, cache[:, 0], cache[:, 1], mask, training)
        )
        return self.output_dense(output), cache

    def step(self, inputs, cache, cache_update_index):
        """Go on by one position: as `call` with a cache, in far fewer operations.

        Args:
            inputs: (batch, features).
            cache: as in `call`.
            cache_update_index: as in `call`.

        Returns:
            (output, new cache); the output is (batch, features).
        """
        self._check_cache(inputs[:, None], cache, cache_update_index)
        # Keras does this to what a layer is called with.
        inputs, cache = (ops.cast(part, self.compute_dtype) for part in (inputs, cache))
        query, key, value = (
            _flat(dense, inputs, (self.num_heads, self.key_dim))
            for dense in (self.query_dense, self.key_dense, self.value_dense)
        )
        # Both as one: XLA would work out a query's angles anew for each key that it meets.
        both = self._placed(ops.stack([query, key], axis=1)[:, None], cache_update_index)
        query, key = ops.unstack(both[:, 0], 2, axis=1)
        # A scatter may write in place, where slice_update copies.
        pair = ops.arange(2 * ops.shape(cache)[0], dtype="int32")
        places = ops.stack([pair // 2, pair % 2, 0 * pair + cache_update_index], axis=1)
        new = ops.reshape(ops.stack([key, value], axis=1), (-1, *key.shape[1:]))
        cache = ops.scatter_update(cache, places, new)
        keys, values = ops.unstack(cache, 2, axis=1)
        # With one query, products of matrices are sums; nothing has to be transposed.
        scores = ops.sum(query[:, None] * keys, axis=-1) * self.key_dim**-0.5
        ahead = ops.arange(cache.shape[2], dtype="int32") > cache_update_index
        scores = ops.cast(scores, "float32") + ops.where(ahead, -1e9, 0.0)[:, None]
        weights = ops.exp(scores - ops.max(scores, axis=1, keepdims=True))  # softmax, undivided
        output = ops.sum(ops.cast(weights, cache.dtype)[..., None] * values, axis=1)
        output = output / ops.cast(ops.sum(weights, axis=1), cache.dtype)[..., None]
        return _flat(self.output_dense, output, (inputs.shape[-1],)), cache

    def _placed(self, projected, start_index):
        """Return queries or keys, (batch, length, ...), told where they stand; here nothing is."""
        return projected

    def _check_cache(self, query, cache, cache_update_index, return_attention_scores=False):
        without = {
            "use_gate": self._use_gate,
            "sliding_window": self._sliding_window is not None,
            "value_dim other than key_dim": self._value_dim != self._key_dim,
            "return_attention_scores": return_attention_scores,
        }
        if any(without.values()):
            asked = ", ".join(name for name, found in without.items() if found)
            raise InputError(f"{self.name!r} does not go with a cache: received {asked}.")
        batch, length = query.shape[:2]
        expected = (batch, 2, None, self.num_heads, self.key_dim)
        same = len(cache.shape) == 5 and all(
            None in (found, wanted) or found == wanted
            for found, wanted in zip(cache.shape, expected)
        )
        if not same:
            raise InputError(
                f"the cache of {self.name!r} must have the shape (batch, 2, room, heads, key_dim) "
                f"= ({batch}, 2, any, {self.num_heads}, {self.key_dim}), "
                f"received {tuple(cache.shape)}."
            )
        before = cache_update_index if isinstance(cache_update_index, int) else 0
        if length is not None and before + length > cache.shape[2]:
            behind = f" behind {before}" if before else ""
            raise InputError(
                f"the cache of {self.name!r} has room for {cache.shape[2]} positions, "
                f"received {length}{behind}."
            )


def _flat(dense, x, shape):
    """Return what an EinsumDense makes of x, (batch, ...), as one product of matrices."""
    if dense.quantization_mode:  # its kernel is not that matrix any more
        return dense(x[:, None])[:, 0]
    x = ops.reshape(x, (-1, math.prod(x.shape[1:])))
    kernel = ops.reshape(ops.cast(dense.kernel, x.dtype), (x.shape[-1], -1))
    x = ops.matmul(x, kernel)
    if dense.bias is not None:
        x = x + ops.reshape(ops.cast(dense.bias, x.dtype), (-1,))
    return x if len(shape) == 1 else ops.reshape(x, (-1, *shape))
