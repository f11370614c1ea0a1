"""What every layer of this project must do. Keras' own layer test is private: only this file
knows where it is.
"""

import keras
import numpy as np
from keras.src.testing import TestCase


def check_layer(layer_class, arguments, input_shape, output_shape, **expected):
    """Raise an AssertionError unless the layer keeps the contract.

    Keras' test: build, symbolic and eager call, shapes, dtypes, configuration round trip, masks
    if `expected` names them, one training step, mixed_float16. Ours: dtype policies, the archive
    and the weights file, an unknown length, and the training of every weight.

    Args:
        layer_class, arguments: the class, and a dict of arguments for its constructor.
        input_shape, output_shape: with a batch size; the length, if any, is axis 1.
        **expected: more arguments of Keras' `run_layer_test`, for example `supports_masking`.
    """
    expected = {
        "expected_output_shape": output_shape,
        "expected_output_dtype": "float32",
    } | expected
    case = TestCase()
    case.setUp()
    try:
        case.run_layer_test(layer_class, arguments, input_shape=input_shape, **expected)
        _check_dtypes(layer_class, arguments, input_shape)
        _check_files(layer_class, arguments, input_shape, case.get_temp_dir())
        _check_that_every_weight_learns(layer_class, arguments, input_shape)
    finally:
        case.doCleanups()
        keras.config.enable_traceback_filtering()  # which setUp turns off


def _data(shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _flat(outputs):
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


def _check_dtypes(layer_class, arguments, input_shape):
    exact = layer_class(**arguments, dtype="float64", name="exact")
    revived = layer_class.from_config(exact.get_config())
    assert (revived.name, revived.dtype) == ("exact", "float64")
    expected = _flat(exact(_data(input_shape)))
    for policy, compute, tolerance in [
        ("float32", "float32", 1e-5),
        ("mixed_bfloat16", "bfloat16", 0.05),
        ("mixed_float16", "float16", 0.005),
    ]:
        layer = layer_class(**arguments, dtype=policy)
        layer.build(input_shape)
        layer.set_weights(exact.get_weights())
        outputs = layer(_data(input_shape))
        for output, right in zip(keras.tree.flatten(outputs), expected):
            assert keras.backend.standardize_dtype(output.dtype) == compute
            output = keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))
            np.testing.assert_allclose(output, right, rtol=tolerance, atol=tolerance)


def _check_files(layer_class, arguments, input_shape, folder):
    for shape in (input_shape[1:], (None, *input_shape[2:])):  # a length known, and not
        inputs = keras.Input(shape)
        model = keras.Model(inputs, layer_class(**arguments)(inputs))
        x = _data(input_shape)
        expected = _flat(model(x))
        model.save(f"{folder}/model.keras")
        model.save_weights(f"{folder}/model.weights.h5")
        loaded = keras.saving.load_model(f"{folder}/model.keras")
        other = keras.Model.from_config(model.get_config())
        other.load_weights(f"{folder}/model.weights.h5")
        for revived in (loaded, other):
            for output, right in zip(_flat(revived(x)), expected):
                np.testing.assert_array_equal(output, right)
        for output, right in zip(_flat(model.predict(x, verbose=0)), expected):
            np.testing.assert_allclose(output, right, atol=1e-5)  # compiled


def _check_that_every_weight_learns(layer_class, arguments, input_shape):
    inputs = keras.Input(input_shape[1:])
    outputs = layer_class(**arguments)(inputs)
    model = keras.Model(inputs, keras.tree.flatten(outputs)[0])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = model.get_weights()
    x = _data(input_shape)
    model.fit(x, 1 + np.zeros(model.output_shape[1:], "float32") * _flat(model(x))[0], verbose=0)
    for variable, old in zip(model.trainable_variables, before):
        new = keras.ops.convert_to_numpy(variable)
        assert np.isfinite(new).all(), f"{variable.path} is not finite after a training step"
        assert (new != old).any(), f"{variable.path} did not learn"
