"""Positions as rotations of queries and keys."""

import keras
from keras import ops

from kerasaid.errors import InputError
from kerasaid.layers.sine_position_encoding import position_angles, require_wavelength


@keras.saving.register_keras_serializable(package="kerasaid")
class RotaryEmbedding(keras.layers.Layer):
    """Rotate features in pairs, by angles that grow with the position.

    Feature i and feature i + d/2 of d are the coordinates of a point, which at position p turns
    by w_i p, where w_i = max_wavelength^(-2i/d). Applied to queries and keys, the product of the
    two then depends on their contents and on how far apart they stand, not on where.

    Example:

    >>> import numpy as np
    >>> query = np.ones((1, 4, 2, 8), "float32")
    >>> rotated = RotaryEmbedding()(query)
    >>> tuple(rotated.shape)
    (1, 4, 2, 8)

    Args:
        max_wavelength: as in `SinePositionEncoding`.
        **kwargs: `name`, `dtype` and what else a `keras.layers.Layer` takes.

    Call arguments:
        inputs: (batch, length, ..., features), usually with heads between.
        start_index: position of the first one: 0, or how many came before.

    Returns:
        The rotated inputs, of the same shape.

    Raises:
        InputError: when features is odd, or max_wavelength is not above 1.

    Source: Su et al. (2021), "RoFormer", equation 34, arXiv 2104.09864; the pairs are those of
    GPT-NeoX and Llama.
    """

    def __init__(self, max_wavelength=10_000, **kwargs):
        super().__init__(**kwargs)
        self.max_wavelength = require_wavelength(max_wavelength)
        self.supports_masking = True

    def build(self, inputs_shape):
        """Nothing is learned."""
        if inputs_shape[-1] % 2:
            raise InputError(f"{self.name!r} rotates pairs, received {inputs_shape[-1]} features.")

    def call(self, inputs, start_index=0):
        """Return the rotated inputs; see the class."""
        half = inputs.shape[-1] // 2
        angles = position_angles(ops.shape(inputs)[1], 2 * half, self.max_wavelength, start_index)
        for _ in inputs.shape[2:-1]:
            angles = angles[:, None]
        cos, sin = (ops.cast(f(angles), inputs.dtype) for f in (ops.cos, ops.sin))
        first, second = inputs[..., :half], inputs[..., half:]
        return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def compute_output_shape(self, inputs_shape):
        """Return the shape of the inputs."""
        return inputs_shape

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "max_wavelength": self.max_wavelength}
