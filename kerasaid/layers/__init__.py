"""Keras layers that Keras does not ship."""

from kerasaid.layers.min_gru import MinGRU

__all__ = ["MinGRU"]
