"""Which notebooks there are, their titles and their parameters."""

import ast
import difflib
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from kerasaid.environment import ROOT
from kerasaid.errors import InputError

FOLDER = ROOT / "notebooks"


@dataclass(frozen=True)
class Parameter:
    """A name from a notebook's parameters cell, with its type, default and comment."""

    name: str
    type: str
    default: str
    help: str = ""

    def parse(self, text):
        """Return the value that a text on the command line means.

        Raises:
            InputError: when the text is not of the parameter's type.
        """
        try:
            return _PARSERS[self.type](text)
        except (ValueError, SyntaxError, KeyError, TypeError):
            raise InputError(
                f"parameter {self.name} is {_article(self.type)} "
                f"(default {self.default}), received {text!r}."
            ) from None


@dataclass(frozen=True)
class Notebook:
    """One numbered notebook of the collection."""

    path: Path

    @property
    def slug(self):
        """Its file name without ending, as `01_mnist_dense`."""
        return self.path.stem

    @property
    def number(self):
        """Its number as text, as `01`."""
        return self.slug.partition("_")[0]

    @cached_property
    def node(self):
        """Its content, as nbformat reads it."""
        try:
            return nbformat.read(self.path, as_version=4)
        except Exception as error:  # nbformat raises many kinds
            raise InputError(f"{self.path} is no notebook that can be read: {error}") from None

    @property
    def title(self):
        """Its first heading."""
        for cell in self.node.cells:
            match = re.search(r"^# (.+)$", cell.source, re.MULTILINE)
            if cell.cell_type == "markdown" and match:
                return match[1].strip()
        return self.slug

    @property
    def seconds(self):
        """The last measured time of a whole run, or None."""
        return self.node.metadata.get("kerasaid", {}).get("seconds")

    @property
    def peak_memory_mb(self):
        """The last measured peak memory, in MB, or None."""
        return self.node.metadata.get("kerasaid", {}).get("peak_memory_mb")

    @cached_property
    def parameters(self):
        """The parameters by name, read from the cell tagged `parameters`."""
        import papermill  # slow to import, so only where it is needed

        return {
            name: Parameter(name, found["inferred_type_name"], found["default"], found["help"])
            for name, found in papermill.inspect_notebook(as_template(self.path)).items()
        }

    def parse(self, assignments):
        """Return the values of `name=value` texts.

        Raises:
            InputError: for a text without `=`, an unknown name, or a value of another type.
        """
        values = {}
        for text in assignments:
            name, equals, value = text.partition("=")
            name = name.strip()
            if not equals:
                raise InputError(f"-p expects name=value, received {text!r}.")
            if name not in self.parameters:
                valid = ", ".join(self.parameters) or "none"
                raise InputError(
                    f"notebook {self.number} has no parameter {name!r}; it has: {valid}."
                )
            values[name] = self.parameters[name].parse(value)
        return values


def all_notebooks():
    """Return the notebooks of the collection, in order.

    Raises:
        InputError: when there are none, as in an installation without the repository.
    """
    found = [Notebook(path) for path in sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))]
    if not found:
        raise InputError(f"there are no notebooks in {FOLDER}; run it from a clone of the project.")
    return found


def find(name):
    """Return the notebook with a number such as "01" or "1", or with a slug.

    Raises:
        InputError: when there is none; the message lists those there are.
    """
    notebooks = all_notebooks()
    wanted = Path(name).stem if name.endswith(".ipynb") else name
    for notebook in notebooks:
        if wanted in (notebook.number, notebook.slug, notebook.slug.partition("_")[2]):
            return notebook
        if wanted.isdecimal() and int(wanted) == int(notebook.number):
            return notebook
    near = difflib.get_close_matches(wanted, [n.slug for n in notebooks], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    there = ", ".join(n.slug for n in notebooks)
    raise InputError(f"there is no notebook {name!r}; there are: {there}.{hint}")


def as_template(path):
    """Return a path that papermill, which fills in braces, leaves as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _parse_float(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _parse_bool(text):
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
        text.strip().lower()
    ]


def _parse_list(text):
    value = ast.literal_eval(text)
    if not isinstance(value, list):
        raise ValueError(text)
    return value


def _parse_any(text):
    """Without a declared type, what reads as a JSON value is one; all else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_PARSERS = {
    "int": int,
    "float": _parse_float,
    "str": str,
    "bool": _parse_bool,
    "list": _parse_list,
    "None": _parse_any,
}


def _article(type_name):
    words = {
        "int": "a whole number",
        "float": "a number",
        "str": "text",
        "bool": "true or false",
        "list": "a list such as [1, 2]",
    }
    return words.get(type_name, f"of type {type_name}")
