"""Training that is limited by arithmetic, for data that fits in memory."""

import numpy as np


def fit_in_memory(
    model, x, y, *, batch_size=32, epochs=1, shuffle=True, validation_data=None, callbacks=()
):
    """Train as `model.fit` does, with each epoch compiled as one graph.

    `fit` fetches every batch through an input pipeline and returns to Python between steps. For
    a small network that costs more than the arithmetic. Here the data is put next to the model
    once, and one compiled loop gathers the batches and calls Keras' own `train_step`. Losses,
    metrics, optimizers and schedules work as they do under `fit`, and on the same batches the
    numbers are the same. With `jit_compile=True` the step is made by XLA. The history holds the
    model's metrics, whatever a `train_step` of your own returns.

    On other backends than TensorFlow, and with `run_eagerly`, it calls `fit`.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> history = fit_in_memory(model, np.ones((8, 4)), np.ones((8, 1)), batch_size=4, epochs=3)
    >>> len(history.history["loss"])
    3

    Args:
        model: a built and compiled Keras model with one input and one output.
        x, y: arrays of one length, small enough for memory.
        batch_size: examples in a step; the last step of an epoch takes what is left.
        epochs: passes over the data.
        shuffle: draw a new order for each epoch, from NumPy's global generator, which
            `kerasaid.setup` seeds.
        validation_data: `(x, y)`, evaluated after each epoch in one batch.
        callbacks: Keras callbacks. Those of epochs are called, those of batches are not;
            BackupAndRestore and TerminateOnNaN, which live on batches, are refused.

    Returns:
        The `keras.callbacks.History`, as `fit`.

    Raises:
        ValueError: for a callback that is refused, when the model is not compiled or not built,
            when x and y differ in length or are empty, or when batch_size or epochs is below 1.
    """
    import keras

    x, y = np.asarray(x), np.asarray(y)
    if not model.compiled or not model.built:
        raise ValueError(f"Model {model.name!r} must be built and compiled before training.")
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"x and y must have one length above 0, received {len(x)} and {len(y)}.")
    if batch_size < 1 or epochs < 1:
        raise ValueError(
            f"batch_size and epochs must be at least 1, received {batch_size} and {epochs}."
        )
    needs_batches = (keras.callbacks.BackupAndRestore, keras.callbacks.TerminateOnNaN)
    for callback in callbacks:
        if isinstance(callback, needs_batches):
            raise ValueError(f"{type(callback).__name__} works between batches: use model.fit.")
    if keras.backend.backend() != "tensorflow" or model.run_eagerly:
        return model.fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            shuffle=shuffle,
            validation_data=validation_data,
            callbacks=list(callbacks),
            verbose=0,
        )
    return _fit_on_tensorflow(
        keras, model, x, y, batch_size, epochs, shuffle, validation_data, callbacks
    )


def _fit_on_tensorflow(keras, model, x, y, batch_size, epochs, shuffle, validation_data, callbacks):
    import tensorflow as tf

    # As `fit` does: a model's own code is traced as it stands, which is quicker.
    train_step, test_step = map(
        tf.autograph.experimental.do_not_convert, (model.train_step, model.test_step)
    )
    if model.jit_compile:  # the step alone, as `fit` does
        train_step, test_step = (
            tf.function(step, jit_compile=True, reduce_retracing=True)
            for step in (train_step, test_step)
        )

    # The data comes in as arguments: a graph that held it would keep it alive.
    # reduce_retracing: a new model is a new function, which TensorFlow would soon warn about.
    @tf.function(reduce_retracing=True)
    def train_epoch(order, x, y):
        for start in tf.range(0, tf.size(order), batch_size):
            rows = order[start : start + batch_size]
            train_step((tf.gather(x, rows), tf.gather(y, rows)))

    @tf.function(reduce_retracing=True)
    def evaluate(x, y):
        test_step((x, y))

    count = len(x)
    x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    if validation_data is not None:
        validation_data = [tf.convert_to_tensor(np.asarray(part)) for part in validation_data]
    callbacks = keras.callbacks.CallbackList(
        list(callbacks), add_history=True, model=model, epochs=epochs, verbose=0
    )
    model.stop_training = False
    model.optimizer.build(model.trainable_variables)
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        # The global generator, so that one seed decides everything, as under `fit`.
        order = np.random.permutation(count) if shuffle else np.arange(count)  # noqa: NPY002
        model.reset_metrics()
        train_epoch(tf.constant(order, "int32"), x, y)
        logs = _metrics(model)
        if validation_data is not None:
            callbacks.on_test_begin()
            model.reset_metrics()
            evaluate(*validation_data)
            callbacks.on_test_end()
            logs.update({f"val_{name}": value for name, value in _metrics(model).items()})
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    model.optimizer.finalize_variable_values(model.trainable_weights)  # EMA, as `fit` does
    callbacks.on_train_end(logs)
    return model.history


def _metrics(model):
    return {name: float(value) for name, value in model.get_metrics_result().items()}
