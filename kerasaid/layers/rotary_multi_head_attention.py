"""Attention that sees distances."""

import keras

from kerasaid.layers.cached_multi_head_attention import CachedMultiHeadAttention
from kerasaid.layers.rotary_embedding import RotaryEmbedding


@keras.saving.register_keras_serializable(package="kerasaid")
class RotaryMultiHeadAttention(CachedMultiHeadAttention):
    """`CachedMultiHeadAttention` whose queries and keys are rotated by their positions.

    Example:

    >>> import numpy as np
    >>> x = np.ones((1, 3, 8), "float32")
    >>> tuple(RotaryMultiHeadAttention(num_heads=2, key_dim=4)(x, x).shape)
    (1, 3, 8)

    Args:
        num_heads, key_dim, ...: as in `keras.layers.MultiHeadAttention`; key_dim must be even.

    Call arguments, returns, raises: as `CachedMultiHeadAttention`, and for an odd key_dim.

    Source: see `RotaryEmbedding`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rotary_embedding = RotaryEmbedding(name="rotary", dtype=self.dtype_policy)

    def build(self, query_shape, value_shape, key_shape=None):
        """Create the weights."""
        super().build(query_shape, value_shape, key_shape)
        self.rotary_embedding.build((*query_shape[:-1], self.num_heads, self.key_dim))

    def _compute_attention(self, query, key, *args, **options):
        """Do what Keras does, after rotating; called where there is no cache."""
        query, key = (self._placed(part, 0) for part in (query, key))
        return super()._compute_attention(query, key, *args, **options)

    def _placed(self, projected, start_index):
        return self.rotary_embedding(projected, start_index=start_index)
