import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from kerasaid.errors import InputError
from kerasaid.language_models import RecurrentLanguageModel, score
from kerasaid.text import train_tokenizer

TOKENIZER = train_tokenizer(["abcdef"], "character")
TOKENS = np.random.default_rng(0).integers(0, 50, (3, 9)).astype("int32")


@pytest.mark.parametrize(
    ("cell", "layer"), [("lstm", keras.layers.LSTM), ("gru", keras.layers.GRU)]
)
def test_it_equals_keras_layers_with_copied_weights(cell, layer):
    model = RecurrentLanguageModel(50, units=8, embedding_dim=6, num_layers=2, cell=cell)
    reference = keras.Sequential(
        [
            keras.layers.Embedding(50, 6),
            layer(8, return_sequences=True),
            layer(8, return_sequences=True),
            keras.layers.Dense(50),
        ]
    )
    reference.build((None, None))
    parts = [model.embedding, *model.recurrent, model.output_layer]
    for theirs, ours in zip(reference.layers, parts):
        theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(model(TOKENS), reference(TOKENS), atol=1e-6)


def test_parameters_are_counted_from_the_equations():
    size, width, units = 50, 6, 8
    lstm = 4 * (width * units + units * units + units)
    model = RecurrentLanguageModel(size, units, width)
    assert model.count_params() == size * width + lstm + units * size + size
    tied = RecurrentLanguageModel(size, units, tied=True)
    lstm = 4 * (units * units + units * units + units)
    assert tied.count_params() == size * units + lstm + size


def test_a_tied_output_uses_the_embedding():
    model = RecurrentLanguageModel(50, units=8, tied=True)
    hidden = model.recurrent[0](model.embedding(TOKENS))
    wanted = np.array(hidden) @ model.embedding.get_weights()[0].T + np.array(model.bias)
    np.testing.assert_allclose(model(TOKENS), wanted, atol=1e-6)


def test_dropout_only_in_training():
    model = RecurrentLanguageModel(50, units=8, dropout=0.5)
    np.testing.assert_array_equal(model(TOKENS), model(TOKENS, training=False))
    assert np.abs(np.array(model(TOKENS, training=True)) - np.array(model(TOKENS))).max() > 1e-3


@pytest.mark.parametrize("options", [{}, {"cell": "gru", "tied": True}, {"cell": "min_gru"}])
def test_save_and_load(tmp_path, options):
    model = RecurrentLanguageModel(50, units=8, num_layers=2, dropout=0.1, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded(TOKENS), model(TOKENS))


def test_padding_on_the_right_changes_nothing_before_it():
    model = RecurrentLanguageModel(50, units=8)
    padded = np.pad(TOKENS, ((0, 0), (0, 4)))
    np.testing.assert_allclose(model(padded)[:, :9], model(TOKENS), atol=1e-6)


def test_it_learns():
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(50, units=16)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    cycle = np.tile(np.arange(7), 40)[: 8 * 20].reshape(8, 20)
    history = model.fit(cycle[:, :-1], cycle[:, 1:], epochs=80, verbose=0).history["loss"]
    assert history[0] > 3 and history[-1] < 0.2


def test_score_is_the_sum_over_steps():
    model = RecurrentLanguageModel(TOKENIZER.vocabulary_size, units=8)
    documents = ["abc", "f", "abcdefabcdef", "", "cab"]
    found = score(model, TOKENIZER, documents)
    for document, nats in zip(documents, found):
        state, total = model.initial_state(1), 0
        before = TOKENIZER.bos_id
        for token in [*TOKENIZER.encode(document), TOKENIZER.eos_id]:
            logits, state = model.step(np.array([before]), state)
            total -= log_softmax(np.array(logits)[0].astype("float64"))[token]
            before = token
        assert nats == pytest.approx(total, rel=1e-5)


def test_score_of_a_uniform_model_in_groups_of_any_size(monkeypatch):
    from kerasaid import language_models

    model = RecurrentLanguageModel(TOKENIZER.vocabulary_size, units=4)
    model.output_layer.kernel.assign(model.output_layer.kernel * 0)
    documents = ["a" * (7 * k % 23) for k in range(40)]
    wanted = [(len(text) + 1) * np.log(TOKENIZER.vocabulary_size) for text in documents]
    for limit in (1, 50, 16_384):
        monkeypatch.setattr(language_models, "_SCORED_AT_ONCE", limit)
        np.testing.assert_allclose(score(model, TOKENIZER, documents), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cell": "elman"}, "lstm, gru, min_gru, received 'elman'"),
        ({"units": 0}, "units must be a whole number of at least 1, received 0"),
        ({"num_layers": 0}, "num_layers"),
        ({"dropout": 1.0}, "below 1, received 1.0"),
        ({"tied": True, "embedding_dim": 3}, "received 3 and 128"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(InputError, match=said):
        RecurrentLanguageModel(50, **options)


def test_nothing_to_score():
    with pytest.raises(InputError, match="documents must not be empty"):
        score(RecurrentLanguageModel(TOKENIZER.vocabulary_size, 4), TOKENIZER, [])


def test_padding_that_is_impossible_costs_nothing():
    model = RecurrentLanguageModel(TOKENIZER.vocabulary_size, units=4)
    model.output_layer.bias.assign(np.where(np.arange(TOKENIZER.vocabulary_size) < 3, -np.inf, 0))
    together = score(model, TOKENIZER, ["a", "abab"])
    assert np.isfinite(together).all()
    assert together[0] == pytest.approx(score(model, TOKENIZER, ["a"])[0], rel=1e-5)


def test_another_tokenizer_is_refused():
    with pytest.raises(InputError, match="not the tokenizer that the model was trained with"):
        score(RecurrentLanguageModel(5, 4), TOKENIZER, ["a"])
