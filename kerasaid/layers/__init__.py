"""Keras layers that Keras does not ship."""

from kerasaid.layers.cached_multi_head_attention import CachedMultiHeadAttention
from kerasaid.layers.min_gru import MinGRU
from kerasaid.layers.position_embedding import PositionEmbedding
from kerasaid.layers.rotary_embedding import RotaryEmbedding
from kerasaid.layers.rotary_multi_head_attention import RotaryMultiHeadAttention
from kerasaid.layers.sine_position_encoding import SinePositionEncoding
from kerasaid.layers.transformer_block import TransformerBlock

__all__ = [
    "CachedMultiHeadAttention",
    "MinGRU",
    "PositionEmbedding",
    "RotaryEmbedding",
    "RotaryMultiHeadAttention",
    "SinePositionEncoding",
    "TransformerBlock",
]
