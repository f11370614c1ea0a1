"""The data that ships, checked by its SHA-256, and one's own in the same form."""

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from kerasaid.errors import InputError

FOLDER = Path(__file__).resolve().parent.parent / "data"

_KEYS = ("x_train", "y_train", "x_test", "y_test")
# More than any task that a dense network on pixels would be given; labels such as 2,000 are ids.
_MAX_CLASSES = 1_000


def load_mnist(data=""):
    """Return the digits of MNIST, or images of one's own in the same form.

    Example:

    >>> (x_train, y_train), (x_test, y_test) = load_mnist()
    >>> x_train.shape, x_train.dtype, y_train.shape, x_test.shape
    ((60000, 28, 28), dtype('uint8'), (60000,), (10000, 28, 28))

    Args:
        data: empty for the digits that ship with the project, or the path of an `.npz` file
            with the keys x_train, y_train, x_test and y_test: images of dtype uint8 and shape
            (images, height, width), labels of an integer dtype and shape (images,), counted
            from 0, each class present in y_train.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images as uint8, from 0 (black) to 255, and
        labels as int32, as `keras.datasets.mnist.load_data` orders them.

    Raises:
        InputError: when a file of one's own is missing or does not have this form.
        ValueError: when the shipped file is damaged; the message says how to restore it.

    Source: LeCun and Cortes, CC BY-SA 3.0; see `data/README.md`.
    """
    own = Path(data).expanduser() if data else None
    arrays = _read_own(own) if own else _read_npz(read_shipped("mnist.npz"))
    return (
        (arrays["x_train"], arrays["y_train"].astype("int32")),
        (arrays["x_test"], arrays["y_test"].astype("int32")),
    )


def read_shipped(name):
    """Return the bytes of a file in `data/`, after comparing their SHA-256 with the manifest.

    Args:
        name: a file name that `data/manifest.json` lists.

    Raises:
        ValueError: when the file is missing or damaged, with how to restore it.
    """
    path = FOLDER / name
    expected = manifest()[name]["sha256"]
    restore = f"restore it with: git checkout -- data/{name}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {restore}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is damaged (SHA-256 {found[:12]}…, expected {expected[:12]}…); {restore}"
        )
    return content


def manifest():
    """Return `data/manifest.json`: for each shipped file its SHA-256, licence and origin."""
    return json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


def _read_npz(content):
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _read_own(path):
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"data={str(path)!r} cannot be read: {error.strerror}.") from None
    try:
        arrays = _read_npz(content)
    except (ValueError, RuntimeError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        raise InputError(
            f"data={str(path)!r} is not an .npz archive of plain arrays that NumPy can read."
        ) from None
    problem = _problem(arrays)
    if problem:
        raise InputError(f"data={str(path)!r}: {problem}")
    return arrays


def _problem(arrays):
    """Return what is wrong with the arrays, or None."""
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        return (
            f"expected the keys {', '.join(_KEYS)}; received {', '.join(arrays) or 'none'}, "
            f"so {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
        )
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8:
            return f"x_{part} must have dtype uint8 (0 to 255), received {x.dtype}."
        if x.ndim != 3 or 0 in x.shape:
            return f"x_{part} must have the shape (images, height, width), received {x.shape}."
        if y.dtype.kind not in "iu":
            return f"y_{part} must have an integer dtype, received {y.dtype}."
        if y.shape != x.shape[:1]:
            return f"y_{part} must have the shape {x.shape[:1]}, as x_{part}, received {y.shape}."
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        return (
            f"training and test images must have one size, received "
            f"{arrays['x_train'].shape[1:]} and {arrays['x_test'].shape[1:]}."
        )
    present = np.unique(arrays["y_train"])
    if present[0] != 0 or present[-1] != len(present) - 1 or len(present) > _MAX_CLASSES:
        return (
            f"labels must count the classes from 0 without a gap, at most {_MAX_CLASSES}; "
            f"y_train has {len(present)} classes from {present[0]} to {present[-1]}."
        )
    if len(present) < 2:
        return "y_train has a single class; at least two are needed."
    unknown = np.setdiff1d(arrays["y_test"], present)
    if len(unknown):
        return (
            f"y_test has labels out of range: {', '.join(map(str, unknown[:5]))}; "
            f"y_train goes from 0 to {present[-1]}."
        )
    return None
