import hashlib

import numpy as np
import pytest

from kerasaid import datasets
from kerasaid.datasets import load_mnist
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
