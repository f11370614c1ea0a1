"""A notebook's parameters: what its cell declares, and values from a person, checked.

The cell tagged `parameters` is Python that is read, never executed:

    epochs: int = 5  # passes over the training images
    sizes: list[int] = [64, 32]  # units in the hidden layers
    corpus: str | None = None  # a text of your own
    # profile long: epochs=20, sizes=[256, 128]

A value comes as text (`-p name=value`), from a YAML file or from a profile; all of them meet
`Parameter.accept`, so a type means the same everywhere.
"""

import ast
import csv
import io
import json
import math
import re
import reprlib
import tokenize
from dataclasses import dataclass
from pathlib import Path

import yaml

from kerasaid.errors import InputError

_UNREADABLE = (
    ValueError,
    SyntaxError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
)
_PROFILE = re.compile(r"#\s*profile\s+([\w-]+)\s*:\s*(.*)")


@dataclass(frozen=True)
class Parameter:
    """A name from a notebook's parameters cell, with its type, default and comment."""

    name: str
    type: str
    default: str
    help: str = ""

    def parse(self, text):
        """Return the value that a text on the command line means.

        Text is taken as it is, quotes and spaces included; a list is written as in Python. Where
        None is allowed, `None` means it.

        Raises:
            InputError: when the text is not of the parameter's type.
        """
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError(f"parameter {self.name} is not UTF-8 text, received {text!r}.")
        kinds = _kinds(self.type)
        if "None" in kinds and text.strip() == "None":
            return None
        for kind in kinds:
            try:
                return _as(kind, _read(kind, text))
            except _UNREADABLE:
                continue
        raise self._refusal(text)

    def accept(self, value):
        """Return a value from a file or a profile, if it is of the parameter's type.

        A whole number serves as a float. A text serves where it reads as a number, because YAML
        takes `1e-3` for text.

        Raises:
            InputError: when the value is of another type.
        """
        kinds = _kinds(self.type)
        if isinstance(value, str) and not {"str", "any"} & set(kinds):
            return self.parse(value)
        for kind in kinds:
            try:
                return _as(kind, value)
            except (ValueError, OverflowError):
                continue
        hint = " Put it in quotes." if "str" in kinds and value is not None else ""
        raise InputError(f"{self._refusal(value)}{hint}")

    def split(self, text):
        """Return the values of a text with several of them: `32,64`, `[1],[2, 3]`, `"a, b",c`.

        Raises:
            InputError: when there is none, one is there twice, or one is of another type.
        """
        if any(kind.startswith("list") for kind in _kinds(self.type)):
            try:
                parts = list(ast.literal_eval(f"[{text}]"))
            except (ValueError, SyntaxError):
                parts = [text]
            if not all(isinstance(part, list) or part is None for part in parts):
                raise InputError(
                    f"{self.name} is {describe(self.type)}: to vary it, write lists with commas "
                    f"between them, as {self.name}=[1],[2,3]; received {text!r}."
                )
            values = [self.accept(part) for part in parts]
        else:
            (parts,) = list(csv.reader([text], skipinitialspace=True)) or [[]]
            values = [self.parse(part) for part in parts]
        if not values:
            raise InputError(f"{self.name} is varied over no value, received {text!r}.")
        for number, value in enumerate(values):
            if any(type(value) is type(other) and value == other for other in values[:number]):
                raise InputError(f"{self.name} is varied over {value!r} twice.")
        return values

    def _refusal(self, received):
        return InputError(
            f"parameter {self.name} is {describe(self.type)} "
            f"(default {self.default}), received {reprlib.repr(received)}."
        )


def read_parameters(source):
    """Return the parameters that a cell declares, by name.

    One without a type has that of its default, where it is a plain value.

    Raises:
        SyntaxError: when the cell is no Python.
    """
    comments = _comments(source)
    found = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, kind = statement.target, ast.unparse(statement.annotation).strip("'\"")
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, kind = statement.targets[0], _type_of(statement.value)
        else:
            continue
        if isinstance(target, ast.Name):
            default = ast.get_source_segment(source, statement.value)
            comment = comments.get(statement.end_lineno, "").lstrip("# ")
            found[target.id] = Parameter(target.id, kind, default, comment)
    return found


def read_profiles(source, parameters):
    """Return the profiles that a cell names: by name, values by parameter.

    Raises:
        InputError: for a line that cannot be read, an unknown parameter or a wrong type.
    """
    profiles = {}
    for comment in _comments(source).values():
        match = _PROFILE.fullmatch(comment.strip())
        if match is None:
            continue
        name, text = match.groups()
        try:
            call = ast.parse(f"f({text})", mode="eval").body
            given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
            if call.args or not given:
                raise ValueError
        except (SyntaxError, ValueError, AttributeError):
            raise InputError(
                f"profile {name} expects name=value, name=value, received {text!r}."
            ) from None
        for key, value in given.items():
            if key not in parameters:
                raise InputError(
                    f"profile {name} names {key!r}; the parameters are: {', '.join(parameters)}."
                )
            profiles.setdefault(name, {})[key] = parameters[key].accept(value)
    return profiles


def yaml_entries(path):
    """Return (name, value, line) for each entry of a YAML file that is a mapping.

    Raises:
        InputError: naming file and line, when it cannot be read, or is no mapping.
    """
    path = Path(path)
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
        node = loader.get_single_node()
        if node is None:
            return []
        if not isinstance(node, yaml.MappingNode):
            line = node.start_mark.line + 1
            raise InputError(
                f"{path}, line {line}: expected a mapping such as `epochs: 5`, "
                f"received a {node.id.replace('sequence', 'list').replace('scalar', 'value')}."
            )
        entries = []
        for key, value in node.value:
            line = key.start_mark.line + 1
            try:
                name, found = (loader.construct_object(part, deep=True) for part in (key, value))
            except ValueError as error:  # a date that is none
                raise InputError(f"{path}, line {line}: no valid YAML: {error}.") from None
            entries.append((name, found, line))
        return entries
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"-f {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: this is not UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(
            f"{path}, line {mark.line + 1}: no valid YAML: {error.problem or error.context}."
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # a control character
        message = " ".join(str(error).split())
        raise InputError(f"{path}: no valid YAML: {message}.") from None


def describe(kind):
    """Return a type in words, as "a whole number or None"."""
    return " or ".join(_WORDS[each] for each in _kinds(kind))


_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "list[bool]": "a list of true or false such as [True, False]",
    "list[int]": "a list of whole numbers such as [1, 2]",
    "list[float]": "a list of numbers such as [0.5, 1]",
    "list[str]": 'a list of texts such as ["a", "b"]',
    "list": "a list such as [1, 2]",
    "any": "a value",
    "str": "text",
    "None": "None",
}
_ORDER = list(_WORDS)  # in which a text is tried, where several types are allowed


def _kinds(text):
    """Return what an annotation allows, as ["int", "None"] for `int | None`, in one order."""

    def walk(node):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return walk(node.left) | walk(node.right)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Optional":
            return walk(node.slice) | {"None"}
        name = ast.unparse(node)
        return {name} if name in _WORDS and name != "any" else {"any"}

    return sorted(walk(ast.parse(text, mode="eval").body), key=_ORDER.index)


def _read(kind, text):
    """Return what a text says as one kind of value; many kinds of error where it cannot be."""
    if kind == "bool":
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return words[text.strip().lower()]
    if kind == "any":  # what reads as a JSON value is one; all else is text
        try:
            return json.loads(text)
        except ValueError:
            return text
    if kind.startswith("list"):
        return ast.literal_eval(text.strip())
    return {"int": int, "float": float, "str": str, "None": {"None": None}.__getitem__}[kind](text)


def _as(kind, value):
    """Return a value as one kind holds it.

    Raises:
        ValueError: when it is none of that kind.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "float" and number:
        value = float(value)  # OverflowError, an ArithmeticError, for an integer too large
        good = math.isfinite(value)
    elif kind.startswith("list[") and isinstance(value, list):
        return [_as(kind[5:-1], item) for item in value]
    elif kind in ("list", "any"):
        good = _is_plain(value) and (kind == "any" or isinstance(value, list))
    else:
        good = type(value).__name__ == {"None": "NoneType"}.get(kind, kind)
    if not good:
        raise ValueError(value)
    return value


def _is_plain(value):
    """Whether a value can be written as JSON: text, number, boolean, None, and lists of them."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, int))


def _type_of(node):
    """Return the type of a default that is a plain value, otherwise "any"."""
    try:
        name = type(ast.literal_eval(node)).__name__
    except ValueError:
        return "any"
    return name if name in _WORDS else "any"


def _comments(source):
    """Return the comments of some code by line."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return {}
    return {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}
