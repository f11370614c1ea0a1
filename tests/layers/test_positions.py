import keras
import numpy as np
import pytest
from contract import check_layer

from kerasaid.errors import InputError
from kerasaid.layers import PositionEmbedding, RotaryEmbedding, SinePositionEncoding

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 8)).astype("float32")


def test_the_learned_ones_keep_the_contract():
    check_layer(
        *(PositionEmbedding, {"sequence_length": 6}, (2, 6, 8), (2, 6, 8)),
        expected_num_trainable_weights=1,
        supports_masking=True,
    )


def test_learned_positions_are_the_rows_of_their_table():
    layer = PositionEmbedding(10)
    found = layer(X, start_index=3)
    table = layer.get_weights()[0]
    np.testing.assert_array_equal(found, np.broadcast_to(table[3:9], X.shape))
    assert not np.any(PositionEmbedding(10, initializer="zeros")(X))


def test_more_than_the_learned_positions_are_refused():
    with pytest.raises(InputError, match="knows 5 positions, received 6"):
        PositionEmbedding(5)(X)
    with pytest.raises(InputError, match="knows 7 positions, received 6 behind 2"):
        PositionEmbedding(7)(X, start_index=2)


@pytest.mark.parametrize("features", [8, 7])
@pytest.mark.parametrize("start", [0, 11])
def test_sines_by_the_papers_equation(features, start):
    found = SinePositionEncoding(100)(X[..., :features], start_index=start)
    for p in range(6):
        for feature in range(features):
            angle = (p + start) / 100 ** (2 * (feature // 2) / features)
            expected = np.cos(angle) if feature % 2 else np.sin(angle)
            np.testing.assert_allclose(found[:, p, feature], expected, atol=1e-5)


def test_a_distance_is_the_same_rotation_everywhere():
    code = np.array(SinePositionEncoding()(np.zeros((1, 50, 16), "float32")))[0]
    products = code @ code.T
    for distance in (1, 5, 20):
        same = np.diagonal(products, distance)
        np.testing.assert_allclose(same, same[0], atol=1e-5)


@pytest.mark.parametrize("layer", [SinePositionEncoding, RotaryEmbedding])
def test_those_without_weights_are_saved_and_say_what_they_need(layer):
    made = layer.from_config(layer(max_wavelength=50, dtype="mixed_bfloat16").get_config())
    assert made.max_wavelength == 50
    assert keras.backend.standardize_dtype(made(X).dtype) == "bfloat16"
    assert tuple(keras.Input((None, 8)).shape) == tuple(made(keras.Input((None, 8))).shape)
    with pytest.raises(InputError, match="max_wavelength must be above 1, received 1"):
        layer(max_wavelength=1)


@pytest.mark.parametrize("options", [{}, {"max_wavelength": 50}])
def test_rotated_pairs_are_complex_numbers_that_turn(options):
    x = RNG.normal(size=(2, 6, 3, 8)).astype("float32")
    found = np.array(RotaryEmbedding(**options)(x, start_index=4))
    points = x[..., :4] + 1j * x[..., 4:]
    speeds = options.get("max_wavelength", 10_000.0) ** (-np.arange(4) / 4)
    turns = np.exp(1j * (4 + np.arange(6))[:, None] * speeds)
    expected = points * turns[:, None]
    np.testing.assert_allclose(found[..., :4], expected.real, atol=1e-5)
    np.testing.assert_allclose(found[..., 4:], expected.imag, atol=1e-5)


def test_only_the_distance_of_query_and_key_counts():
    query, key = RNG.normal(size=(2, 1, 1, 8)).astype("float32")
    rotate = RotaryEmbedding()

    def product(i, j):
        turned = rotate(query[None], start_index=i), rotate(key[None], start_index=j)
        return float(np.sum(np.array(turned[0]) * np.array(turned[1])))

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert abs(product(7, 3) - product(3, 7)) > 1e-2


def test_an_odd_number_of_features_cannot_be_paired():
    with pytest.raises(InputError, match="rotates pairs, received 7 features"):
        RotaryEmbedding()(X[..., :7])
