"""The data that ships, checked by its SHA-256, and one's own in the same form."""

import ast
import functools
import hashlib
import importlib.util
import io
import itertools
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from kerasaid.errors import InputError, require_at_least
from kerasaid.grammar import Grammar

FOLDER = Path(__file__).resolve().parent.parent / "data"

_KEYS = ("x_train", "y_train", "x_test", "y_test")
# More than any task that a dense network on pixels would be given; labels such as 2,000 are ids.
_MAX_CLASSES = 1_000
_LANGUAGES = ("en", "zh")
_FEWEST_DOCUMENTS = 5  # to split into training, validation and test


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
    arrays = _read_own(data) if data else _read_npz(read_shipped("mnist.npz"))
    return (
        (arrays["x_train"], arrays["y_train"].astype("int32")),
        (arrays["x_test"], arrays["y_test"].astype("int32")),
    )


def load_corpus(corpus="startups", language="en", count=None, seed=0):
    """Return the documents of a corpus, each a string.

    Example:

    >>> documents = load_corpus("startups", language="en")
    >>> len(documents)
    1200

    Args:
        corpus: "startups" (`load_startups`), "keras_docs" (`load_keras_docs`), or the path of a
            UTF-8 text file, of which each line that is not blank is a document.
        language: "en" or "zh", for startups.
        count: how many documents: drawn for startups, the first ones for others. None for all.
        seed: seeds the draw for startups.

    Raises:
        InputError: for a language that is not offered, a file that is missing, empty or not
            UTF-8, and for fewer documents than count, or than a split needs.
    """
    if count is not None:
        require_at_least(_FEWEST_DOCUMENTS, count=count)
    if corpus == "startups":
        return load_startups(language, count, seed)
    documents = load_keras_docs() if corpus == "keras_docs" else stream_lines(corpus)
    documents = list(itertools.islice(documents, count))
    if count is not None and len(documents) < count:
        raise InputError(
            f"corpus={str(corpus)!r} holds {len(documents):,} documents, received count={count:,}."
        )
    if len(documents) < _FEWEST_DOCUMENTS:
        raise InputError(
            f"corpus={str(corpus)!r} holds {len(documents)} document"
            f"{'s' * (len(documents) > 1)} (lines that are not blank); at least "
            f"{_FEWEST_DOCUMENTS} are needed to split them into training, validation and test."
        )
    return documents


def load_startups(language="en", count=None, seed=0):
    """Return sentences about young companies, whose entropy `startups_grammar` knows.

    Example:

    >>> load_startups("zh")[0], len(load_startups("en", count=20_000, seed=1))
    ('学橡已经为很多小镇的两千名年轻老师服务。', 20000)

    Args:
        language: "en" or "zh".
        count: None for the 1,200 sentences that ship, all different; otherwise how many to draw
            from the grammar, independently, so that some may be equal.
        seed: seeds the draw.

    Raises:
        InputError: for a language that is not offered, or a count below 1.
    """
    if count is not None:
        return [sentence.text for sentence in startups_grammar(language).sample(count, seed)]
    return _read_startups(language, "txt").splitlines()


def startups_grammar(language="en"):
    """Return the `Grammar` that writes the sentences of `load_startups`.

    Example:

    >>> grammar = startups_grammar("en")
    >>> round(grammar.entropy(), 2)  # bits per sentence
    20.05
    """
    return Grammar.parse(_read_startups(language, "grammar"))


def _read_startups(language, suffix):
    if language not in _LANGUAGES:
        raise InputError(f"language must be one of {', '.join(_LANGUAGES)}, received {language!r}.")
    return read_shipped(f"startups.{language}.{suffix}").decode("utf-8")


def load_keras_docs():
    """Return the docstrings of the installed Keras: real technical English.

    Those of the classes and functions at the top of each file and of their methods, tests left
    out, in the order of files and places; one that is there twice counts once. Keras itself is
    not imported.

    Example:

    >>> documents = load_keras_docs()
    >>> sum(map(len, documents)) > 1_000_000
    True

    Source: the Keras authors, Apache License 2.0.
    """
    return list(_keras_docs())


@functools.cache
def _keras_docs():
    folder = Path(importlib.util.find_spec("keras").origin).parent / "src"
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    documents = {}  # keeps the order and drops what comes again
    for name in sorted(files):
        if not name.endswith("_test.py"):
            documents.update(dict.fromkeys(_docstrings(ast.parse(files[name].read_bytes()))))
    return tuple(filter(None, documents))


def _docstrings(node):
    """Yield the docstrings of the classes and functions in a module or class, in their order."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(child) or ""
        if isinstance(child, ast.ClassDef):
            yield from _docstrings(child)


def stream_lines(path):
    """Yield the lines of a UTF-8 text file that are not blank, without their line ends.

    Only one line at a time is in memory. A byte order mark is dropped.

    Raises:
        InputError: when the file is missing or empty, and at the first byte that is not UTF-8,
            with its offset.
    """
    offset = found = 0
    try:
        with _own_path("corpus", path).open("rb") as file:
            for raw in file:
                line = raw.removeprefix(b"\xef\xbb\xbf" if offset == 0 else b"")
                try:
                    text = line.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    at = offset + len(raw) - len(line) + error.start
                    raise InputError(
                        f"corpus={str(path)!r} is not UTF-8: byte {at} is "
                        f"0x{line[error.start]:02x}; save it as UTF-8."
                    ) from None
                offset += len(raw)
                if text.strip():
                    found += 1
                    yield text
    except OSError as error:
        raise InputError(
            f"corpus={str(path)!r} cannot be read: {error.strerror}; possible are startups, "
            f"keras_docs and the path of a UTF-8 text file."
        ) from None
    if not found:
        raise InputError(f"corpus={str(path)!r} is empty; a text file with some lines is needed.")


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


def _own_path(name, path):
    try:
        path = Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{name}={str(path)!r}: there is no such user.") from None
    if "\0" in str(path):
        raise InputError(f"{name}={str(path)!r}: a path cannot hold a zero character.")
    return path


def _read_own(path):
    path = _own_path("data", path)
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
