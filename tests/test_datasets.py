import hashlib
import inspect
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from kerasaid import datasets
from kerasaid.datasets import (
    load_corpus,
    load_keras_docs,
    load_mnist,
    load_startups,
    startups_grammar,
    stream_lines,
)
from kerasaid.errors import InputError


def some_images(**changes):
    """Arrays in the right form, 3 classes of 5 × 4 pixels, with some of them changed."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (30, 5, 4), dtype="uint8"),
        "y_train": np.arange(30) % 3,
        "x_test": rng.integers(0, 256, (6, 5, 4), dtype="uint8"),
        "y_test": np.arange(6) % 3,
    }
    return {**arrays, **changes}


@pytest.fixture
def own(tmp_path):
    def save(**changes):
        arrays = {k: v for k, v in some_images(**changes).items() if v is not None}
        np.savez(tmp_path / "own.npz", **arrays)
        return str(tmp_path / "own.npz")

    return save


def test_the_shipped_digits():
    (x_train, y_train), (x_test, y_test) = load_mnist()
    assert (x_train.shape, x_test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert x_train.dtype == np.uint8 and y_train.dtype == np.int32
    assert round(float(x_train.mean() / 255), 4) == 0.1307
    assert round(float(x_train.std() / 255), 4) == 0.3081
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_manifest_describes_the_arrays():
    expected = datasets.manifest()["mnist.npz"]["arrays"]
    with np.load(datasets.FOLDER / "mnist.npz") as archive:
        found = {
            key: {
                "shape": list(archive[key].shape),
                "dtype": str(archive[key].dtype),
                "sha256": hashlib.sha256(archive[key].tobytes()).hexdigest(),
            }
            for key in archive.files
        }
    assert found == expected


def test_every_shipped_file_is_in_the_manifest():
    described = {"README.md", "manifest.json", *datasets.manifest()}
    assert {path.name for path in datasets.FOLDER.iterdir()} == described


@pytest.mark.parametrize("place", [0, 40, 5_000_000, -1])
def test_one_flipped_byte_is_named_with_the_way_back(tmp_path, monkeypatch, place):
    content = bytearray((datasets.FOLDER / "mnist.npz").read_bytes())
    content[place] ^= 1
    (tmp_path / "mnist.npz").write_bytes(content)
    expected = datasets.manifest()
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    monkeypatch.setattr(datasets, "manifest", lambda: expected)
    with pytest.raises(ValueError, match=r"mnist.npz is damaged .* git checkout -- data/mnist.npz"):
        load_mnist()


def test_a_missing_shipped_file_is_named(tmp_path, monkeypatch):
    expected = datasets.manifest()
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    monkeypatch.setattr(datasets, "manifest", lambda: expected)
    with pytest.raises(ValueError, match=r"cannot be read .* git checkout -- data/mnist.npz"):
        load_mnist()


def test_own_data_of_another_size_and_number_of_classes(own):
    (x_train, y_train), (x_test, _) = load_mnist(own())
    assert x_train.shape == (30, 5, 4) and x_test.shape == (6, 5, 4)
    assert y_train.dtype == np.int32 and y_train.max() == 2


IMAGES = some_images()["x_train"]
LABELS = some_images()["y_train"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "so y_test is missing"),
        ({"x_test": None, "y_test": None}, "so x_test, y_test are missing"),
        (
            {"x_train": IMAGES / 255},
            r"x_train must have dtype uint8 \(0 to 255\), received float64",
        ),
        ({"x_train": IMAGES.reshape(30, 20)}, r"\(images, height, width\), received \(30, 20\)"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, r"received \(0, 5, 4\)"),
        ({"x_train": IMAGES[:, :4]}, r"one size, received \(4, 4\) and \(5, 4\)"),
        ({"y_train": LABELS[:-1]}, r"y_train must have the shape \(30,\), as x_train"),
        ({"y_train": LABELS.astype(float)}, "y_train must have an integer dtype"),
        ({"y_train": LABELS + 1}, "count the classes from 0 .* has 3 classes from 1 to 3"),
        ({"y_train": LABELS - 1}, "has 3 classes from -1 to 1"),
        ({"y_train": LABELS * 2}, "has 3 classes from 0 to 4"),
        ({"y_train": LABELS * 0}, "a single class"),
        ({"y_test": np.array([0, 1, 2, 3, 7, 0])}, "labels out of range: 3, 7; y_train goes"),
        ({"y_test": np.array([0, 1, 2, -1, 0, 0])}, "labels out of range: -1"),
    ],
)
def test_own_data_in_another_form_is_refused(own, changes, message):
    with pytest.raises(InputError, match=message):
        load_mnist(own(**changes))


def test_a_missing_file_is_refused():
    with pytest.raises(InputError, match=r"data='nowhere.npz' cannot be read: No such file"):
        load_mnist("nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "own.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not an .npz archive"):
        load_mnist(str(path))


def test_one_array_alone_and_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "one.npy", IMAGES)
    np.savez(tmp_path / "objects.npz", **some_images(x_train=np.array([object()] * 30)))
    for name in ("one.npy", "objects.npz"):
        with pytest.raises(InputError, match=r"is not an .npz archive of plain arrays"):
            load_mnist(str(tmp_path / name))


# --- corpora -------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shipped_sentences_are_what_the_grammar_draws(language):
    sentences, grammar = load_startups(language), startups_grammar(language)
    drawn = [sentence.text for sentence in grammar.sample(2_400, seed=0)]
    assert sentences == list(dict.fromkeys(drawn))[:1_200]
    assert len(sentences) == len(set(sentences)) == 1_200
    assert all(np.isfinite(grammar.log2_probability(text)) for text in sentences)


def test_the_first_sentences_are_known():
    assert load_startups()[0] == (
        "Learnoak already reaches forty thousand young teachers in small villages."
    )
    assert load_startups("zh")[0] == "学橡已经为很多小镇的两千名年轻老师服务。"


def test_any_number_of_sentences_can_be_drawn():
    drawn = load_startups("en", count=3_000, seed=4)
    assert drawn == [sentence.text for sentence in startups_grammar("en").sample(3_000, seed=4)]
    assert load_startups("en", count=10, seed=4) == drawn[:10]
    assert load_corpus("startups", "en", 10, 4) == drawn[:10]
    assert load_corpus(language="zh") == load_startups("zh")


@pytest.mark.parametrize("count", [None, 10])
def test_a_language_that_is_not_offered_is_refused(count):
    with pytest.raises(InputError, match=r"language must be one of en, zh, received 'fr'"):
        load_corpus("startups", "fr", count)
    with pytest.raises(InputError, match=r"language must be one of en, zh, received None"):
        startups_grammar(None)


@pytest.mark.parametrize("count", [0, 4, -1, 2.5, "10"])
def test_a_count_too_small_to_split_is_refused(count):
    with pytest.raises(InputError, match=r"count must be a whole number of at least 5"):
        load_corpus(count=count)
    if count != 4:
        with pytest.raises(InputError, match=r"count must be a whole number of at least 1"):
            load_startups(count=count)


def test_the_docstrings_are_those_of_keras():
    import keras

    documents = load_keras_docs()
    assert 1_000_000 < sum(map(len, documents)) < 3_000_000
    assert len(set(documents)) == len(documents) > 1_500 and "" not in documents
    positions = [
        documents.index(inspect.getdoc(thing))
        for thing in (
            keras.activations.get,
            keras.layers.Dense,
            keras.layers.Layer.add_weight,
            keras.layers.LSTMCell,
            keras.layers.LSTM,
            keras.metrics.Accuracy,
        )
    ]
    assert positions == sorted(positions)
    assert "Test __radd__ method" not in documents  # of keras_tensor_test.py
    assert load_corpus("keras_docs", count=7) == documents[:7]


def test_reading_docstrings_and_sentences_does_not_import_keras():
    code = (
        "import sys; from kerasaid.datasets import load_corpus; load_corpus('keras_docs');"
        "load_corpus(); sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def text_file(tmp_path):
    def save(content):
        path = tmp_path / "own.txt"
        path.write_bytes(content)
        return str(path)

    return save


def test_own_documents_are_the_lines_that_are_not_blank(text_file):
    lines = ["one", "  two  ", "Zürich", "五", "six\u2028still six", "\tseven"]
    path = text_file("\ufeff".encode() + "\r\n\n \t\n".join(lines).encode())
    assert load_corpus(path) == list(stream_lines(path)) == lines
    assert load_corpus(path, count=5) == lines[:5]


def test_own_path_may_start_with_a_tilde(text_file, tmp_path, monkeypatch):
    text_file(b"a\nb\nc\nd\ne\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_corpus("~/own.txt") == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"own.txt' is empty"),
        (b"\xef\xbb\xbf", r"own.txt' is empty"),
        (b"\n \r\n\n", r"own.txt' is empty"),
        (b"alone", r"holds 1 document \(lines that are not blank\); at least 5 are needed"),
        (b"a\nb\n\nc\nd\n", r"holds 4 documents .* at least 5 are needed to split"),
        (b"a\nb\nc\xff\n", r"own.txt' is not UTF-8: byte 5 is 0xff"),
        ("\ufeffa\r\né\r\n".encode() + b"\xe9t\xe9", r"not UTF-8: byte 10 is 0xe9"),
        (b"\xef\xbb\xbf\xfe", r"not UTF-8: byte 3 is 0xfe"),
        ("text".encode("utf-16"), r"not UTF-8: byte 0 is 0xff"),
        (b"a\nb\nc\nd\ne\n\xe4\xb8", r"not UTF-8: byte 10 is 0xe4"),
    ],
)
def test_own_files_that_cannot_be_used_are_refused(text_file, content, message):
    with pytest.raises(InputError, match=message):
        load_corpus(text_file(content))


def test_a_corpus_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'startup' cannot be read: No such .* startups, keras_d"):
        load_corpus("startup")
    with pytest.raises(InputError, match=r"cannot be read"):
        load_corpus(str(tmp_path))
    for load, name in ((load_corpus, "corpus"), (load_mnist, "data")):
        with pytest.raises(InputError, match=f"{name}='~nobody-here/x': there is no such user"):
            load("~nobody-here/x")
        with pytest.raises(InputError, match=f"{name}=.* zero character"):
            load("a\0b")


def test_more_documents_than_there_are_is_said(text_file):
    with pytest.raises(InputError, match=r"own.txt' holds 5 documents, received count=6"):
        load_corpus(text_file(b"a\nb\nc\nd\ne\n"), count=6)


def test_a_count_reads_no_further(text_file):
    assert load_corpus(text_file(b"a\nb\nc\nd\ne\n\xff"), count=5) == list("abcde")


def test_a_file_is_streamed_in_bounded_memory(tmp_path):
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        for _ in range(200):
            file.write(b"some words of a long file\n" * 1_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in stream_lines(path)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 500_000 < path.stat().st_size
    finally:
        tracemalloc.stop()
