"""Which notebooks there are, their titles and their parameters."""

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from kerasaid.environment import ROOT
from kerasaid.errors import InputError
from kerasaid.runs.parameters import read_parameters, read_profiles, yaml_entries

FOLDER = ROOT / "notebooks"


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

    @property
    def _parameters_cell(self):
        """The source of the cell tagged `parameters`; empty where there is none."""
        for cell in self.node.cells:
            if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
                return cell.source
        return ""

    @cached_property
    def parameters(self):
        """The parameters by name, read from the cell tagged `parameters`."""
        try:
            return read_parameters(self._parameters_cell)
        except SyntaxError as error:
            raise InputError(f"{self.path}: the parameters cell is no Python: {error}.") from None

    @cached_property
    def profiles(self):
        """Sets of values by name, from the lines `# profile NAME: name=value, ...` of that cell."""
        try:
            return read_profiles(self._parameters_cell, self.parameters)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    def profile(self, name):
        """Return the values that a profile sets.

        Raises:
            InputError: for an unknown name; the message lists those known.
        """
        if name not in self.profiles:
            known = ", ".join(self.profiles) or "none"
            raise InputError(f"notebook {self.number} has no profile {name!r}; it has: {known}.")
        return self.profiles[name]

    def parameter(self, name):
        """Return the parameter with a name.

        Raises:
            InputError: when there is none; the message lists those there are.
        """
        if name not in self.parameters:
            valid = ", ".join(self.parameters) or "none"
            raise InputError(f"notebook {self.number} has no parameter {name!r}; it has: {valid}.")
        return self.parameters[name]

    def parse(self, assignments):
        """Return the values of `name=value` texts.

        Raises:
            InputError: for a text without `=`, an unknown name, or a value of another type.
        """
        values = {}
        for text in assignments:
            name, equals, value = text.partition("=")
            if not equals:
                raise InputError(f"-p expects name=value, received {text!r}.")
            parameter = self.parameter(name.strip())
            values[parameter.name] = parameter.parse(value)
        return values

    def read_file(self, path):
        """Return the values of a YAML file: a mapping from names of parameters to values.

        Raises:
            InputError: naming file and line, when it cannot be read, is no mapping, names a
                parameter twice or one that is not there, or has a value of another type.
        """
        values = {}
        for name, value, line in yaml_entries(path):
            try:
                if name in values:
                    raise InputError(f"{name} is there twice.")
                values[name] = self.parameter(name).accept(value)
            except InputError as error:
                raise InputError(f"{path}, line {line}: {error}") from None
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
