"""Positions as sines and cosines."""

import keras
from keras import ops

from kerasaid.errors import InputError


@keras.saving.register_keras_serializable(package="kerasaid")
class SinePositionEncoding(keras.layers.Layer):
    """Sines and cosines of each position, to be added to what stands there.

    With w_i = max_wavelength^(-2i / features), position p has sin(w_i p) as its feature 2i and
    cos(w_i p) as its feature 2i + 1: hands of clocks that turn ever more slowly. A distance is a
    rotation of all hands, the same wherever it begins. Nothing is learned.

    Example:

    >>> import numpy as np
    >>> layer = SinePositionEncoding()
    >>> [round(float(value), 3) for value in layer(np.zeros((1, 3, 2), "float32"))[0, 2]]
    [0.909, -0.416]

    Args:
        max_wavelength: the slowest hand turns once in about 2π times as many positions.
        **kwargs: `name`, `dtype` and what else a `keras.layers.Layer` takes.

    Call arguments:
        inputs: (batch, length, features); only the shape is used.
        start_index: position of the first one: 0, or how many came before.

    Returns:
        The encoding, (batch, length, features).

    Raises:
        InputError: when max_wavelength is not above 1.

    Source: Vaswani et al. (2017), "Attention Is All You Need", section 3.5, arXiv 1706.03762.
    """

    def __init__(self, max_wavelength=10_000, **kwargs):
        super().__init__(**kwargs)
        self.max_wavelength = require_wavelength(max_wavelength)
        self.supports_masking = True

    def build(self, inputs_shape):
        """Nothing is learned."""

    def call(self, inputs, start_index=0):
        """Return the encoding; see the class."""
        shape, features = ops.shape(inputs), inputs.shape[-1]
        angles = position_angles(shape[1], features, self.max_wavelength, start_index)
        pairs = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)
        rows = ops.reshape(pairs, (shape[1], -1))[:, :features]
        return ops.broadcast_to(ops.cast(rows, self.compute_dtype), shape)

    def compute_output_shape(self, inputs_shape):
        """Return the shape of the inputs."""
        return inputs_shape

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "max_wavelength": self.max_wavelength}


def require_wavelength(max_wavelength):
    """Return max_wavelength as a float, or raise InputError where it is not above 1."""
    if not max_wavelength > 1:
        raise InputError(f"max_wavelength must be above 1, received {max_wavelength!r}.")
    return float(max_wavelength)


def position_angles(length, features, max_wavelength, start_index=0):
    """Return w_i p for positions p and each pair i of features, float32, (length, pairs)."""
    positions = ops.cast(start_index + ops.arange(length, dtype="int32"), "float32")
    exponents = ops.arange(0, features, 2, dtype="float32") / features
    return positions[:, None] * ops.power(max_wavelength, -exponents)
