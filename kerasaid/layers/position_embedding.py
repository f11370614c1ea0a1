"""Positions as learned vectors."""

import keras
from keras import ops

from kerasaid.errors import InputError, require_at_least


@keras.saving.register_keras_serializable(package="kerasaid")
class PositionEmbedding(keras.layers.Layer):
    """A learned vector for each position, to be added to what stands there.

    Attention sees a set: without positions, a sentence and its words in another order are the
    same to it. A table of vectors is the simplest remedy. It knows no position beyond its last.

    Example:

    >>> import numpy as np
    >>> x = np.zeros((2, 5, 8), "float32")
    >>> layer = PositionEmbedding(sequence_length=10)
    >>> tuple(layer(x).shape)
    (2, 5, 8)

    Args:
        sequence_length: number of positions.
        initializer: for the table, (sequence_length, features).
        **kwargs: `name`, `dtype` and what else a `keras.layers.Layer` takes.

    Call arguments:
        inputs: (batch, length, features); only the shape is used.
        start_index: position of the first one: 0, or how many came before.

    Returns:
        The vectors of the positions, (batch, length, features).

    Raises:
        InputError: when sequence_length is not a whole number of at least 1, or inputs are longer.

    Source: Gehring et al. (2017), "Convolutional Sequence to Sequence Learning", arXiv 1705.03122.
    """

    def __init__(self, sequence_length, initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        require_at_least(1, sequence_length=sequence_length)
        self.sequence_length = int(sequence_length)
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, inputs_shape):
        """Create the table."""
        self.position_embeddings = self.add_weight(
            name="embeddings",
            shape=(self.sequence_length, inputs_shape[-1]),
            initializer=self.initializer,
        )

    def call(self, inputs, start_index=0):
        """Return the vectors of the positions; see the class."""
        length = inputs.shape[1]
        before = start_index if isinstance(start_index, int) else 0
        if length is not None and before + length > self.sequence_length:
            behind = f" behind {before}" if before else ""
            raise InputError(
                f"{self.name!r} knows {self.sequence_length} positions, received {length}{behind}."
            )
        shape = ops.shape(inputs)
        table = ops.cast(self.position_embeddings, self.compute_dtype)
        rows = ops.slice(table, (start_index, 0), (shape[1], table.shape[1]))
        return ops.broadcast_to(rows, shape)

    def compute_output_shape(self, inputs_shape):
        """Return the shape of the inputs."""
        return inputs_shape

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "sequence_length": self.sequence_length,
            "initializer": keras.initializers.serialize(self.initializer),
        }
