"""A gated recurrent layer that computes all time steps of a sequence in parallel."""

import keras
from keras import ops

from kerasaid.errors import require_at_least

_CHUNK = 16  # steps; 8 to 32 take about the same time, forward and backward


@keras.saving.register_keras_serializable(package="kerasaid")
class MinGRU(keras.layers.Layer):
    """Minimal gated recurrent unit: gate and candidate see the input, not the last state.

    For each time step t, with W_z, b_z, W_h and b_h learned:

    - gate: z_t = sigmoid(x_t W_z + b_z)
    - candidate: c_t = x_t W_h + b_h
    - state and output: h_t = (1 - z_t) * h_{t-1} + z_t * c_t

    Since no product with the last state is left, the inputs of all steps are multiplied at once,
    and the states follow from a parallel scan. One layer alone weighs each input by itself; stack
    two or more, so that gates can depend on what came before.

    The scan only multiplies by 1 - z_t, which is in (0, 1), and adds; each state is a weighted
    mean of candidates. So nothing overflows and nothing is divided. The paper also has a form in
    logarithms, which needs positive candidates; it divides by products of many decays, and logs
    keep that from overflowing. Here that is not needed. Under a mixed dtype policy the scan runs
    in float32, because a decay near 1 would be rounded to 1.

    Example:

    >>> import numpy as np
    >>> layer = MinGRU(4, return_sequences=True, return_state=True)
    >>> sequence, state = layer(np.ones((2, 10, 8), "float32"))
    >>> tuple(sequence.shape), tuple(state.shape)
    ((2, 10, 4), (2, 4))
    >>> tuple(layer.step(np.ones((2, 8), "float32"), state).shape)
    (2, 4)

    Args:
        units: size of the state and of the output.
        use_bias: whether gate and candidate have a bias.
        kernel_initializer: for the input weights, (features, 2 * units), gate first.
        bias_initializer: for the biases, (2 * units,), gate first.
        return_sequences: return the states of all steps rather than the last.
        return_state: also return the last state.
        **kwargs: `name`, `dtype` and what else a `keras.layers.Layer` takes.

    Call arguments:
        sequence: (batch, length, features).
        initial_state: (batch, units), or a list with that one tensor; zeros if not given.
        mask: (batch, length), booleans. At a masked step the state is carried over.
        training: not used.

    Returns:
        (batch, units), or (batch, length, units) with `return_sequences`; with `return_state` a
        tuple of that and the last state, (batch, units).

    Raises:
        InputError: when units is not a whole number of at least 1.

    Source: Feng, Tung, Ahmed, Bengio and Hajimirsadeghi (2024), "Were RNNs All We Needed?",
    arXiv 2410.01201.
    """

    def __init__(
        self,
        units,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        return_sequences=False,
        return_state=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_at_least(1, units=units)
        self.units = units
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, sequence_shape, initial_state_shape=None):
        """Create the weights."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(sequence_shape[-1], 2 * self.units),
            initializer=self.kernel_initializer,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(2 * self.units,), initializer=self.bias_initializer
            )

    def call(self, sequence, initial_state=None, mask=None, training=False):
        """Return the states of all steps or the last; see the class."""
        if mask is None:  # Keras does not look for it when initial_state is given
            mask = getattr(sequence, "_keras_mask", None)
        decay, update = self._decay_and_update(sequence)
        if mask is not None:
            mask = ops.expand_dims(ops.cast(mask, "bool"), -1)
            decay, update = ops.where(mask, decay, 1.0), ops.where(mask, update, 0.0)
        if initial_state is None:
            initial_state = self.get_initial_state(ops.shape(sequence)[0])
        if isinstance(initial_state, (list, tuple)):
            (initial_state,) = initial_state
        states = _scan(decay, update, ops.cast(initial_state, decay.dtype))
        states = ops.cast(states, self.compute_dtype)
        output = states if self.return_sequences else states[:, -1]
        return (output, states[:, -1]) if self.return_state else output

    def step(self, inputs, state):
        """Return the state after one more time step, with the same weights as `call`.

        Args:
            inputs: (batch, features).
            state: (batch, units), the last state, which is also the last output.

        Returns:
            The new state, (batch, units).
        """
        decay, update = self._decay_and_update(inputs)
        return ops.cast(decay * ops.cast(state, decay.dtype) + update, self.compute_dtype)

    def get_initial_state(self, batch_size):
        """Return a list of the one state to start from: zeros, (batch_size, units)."""
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype)]

    def _decay_and_update(self, inputs):
        """Return 1 - z and z * c, so that a step is h = decay * h + update."""
        dtype = self.compute_dtype
        both = ops.matmul(ops.cast(inputs, dtype), ops.cast(self.kernel, dtype))
        if self.use_bias:
            both = both + ops.cast(self.bias, dtype)
        both = ops.cast(both, keras.backend.result_type(dtype, "float32"))
        gate, candidate = ops.split(both, 2, axis=-1)
        # sigmoid(-x) is 1 - sigmoid(x) without the rounding error of the difference.
        return ops.sigmoid(-gate), ops.sigmoid(gate) * candidate

    def compute_output_shape(self, sequence_shape, initial_state_shape=None):
        """Return the shape of what `call` returns."""
        state = (sequence_shape[0], self.units)
        output = (*sequence_shape[:2], self.units) if self.return_sequences else state
        return (output, state) if self.return_state else output

    def compute_mask(self, sequence, mask):
        """Return the mask for a sequence that is returned, None for a state."""
        output = mask if self.return_sequences else None
        return [output, None] if self.return_state else output

    def get_config(self):
        """Return the arguments of the constructor, serialised."""
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
        }


def _scan(decay, update, state):
    """Return all h_t = decay_t * h_{t-1} + update_t, (batch, length, units), from h_0 = state.

    The sequence is cut into chunks, and all chunks take their steps at the same time. Composing
    two steps gives a step again, so each chunk first becomes one step. A short loop over these
    gives the state before each chunk; then all chunks run once more from there.
    """
    batch, length, units = ops.shape(update)
    chunks = (length + _CHUNK - 1) // _CHUNK  # a tensor where the length is not known beforehand
    padding = [[0, 0], [0, chunks * _CHUNK - length], [0, 0]]

    def cut(x):
        return ops.unstack(
            ops.reshape(ops.pad(x, padding), (batch, chunks, _CHUNK, units)), _CHUNK, axis=2
        )

    steps = list(zip(cut(decay), cut(update)))
    decays, updates = steps[0]
    for d, u in steps[1:]:
        decays, updates = d * decays, d * updates + u
    _, before = ops.scan(
        lambda h, step: (step[0] * h + step[1], h),
        state,
        (ops.swapaxes(decays, 0, 1), ops.swapaxes(updates, 0, 1)),
    )
    h, states = ops.swapaxes(before, 0, 1), []
    for d, u in steps:
        h = d * h + u
        states.append(h)
    return ops.reshape(ops.stack(states, axis=2), (batch, chunks * _CHUNK, units))[:, :length]
