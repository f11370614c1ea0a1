"""The lock, environment.yml, the imports and the notebooks' kernels belong together.

Each check is a function that returns the faults it sees. The tests apply it to the project, where
there has to be none, and to broken inputs, where it has to see them.
"""

import ast
import json
import re
import sys
import tomllib
from importlib import metadata, util
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import kerasaid

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")
CONDA = (ROOT / "environment.yml").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOTEBOOKS = [p for p in sorted(ROOT.glob("notebooks/**/*.ipynb")) if "checkpoints" not in str(p)]
FOLDERS = ("kerasaid", "benchmarks", "tests", "tools")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
NAMES = {distribution.name for distribution in metadata.distributions()}
INSTALLED = {canonicalize_name(name): metadata.version(name) for name in NAMES}
OWNERS = metadata.packages_distributions()
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def read_requirements(lines):
    """Return requirements by the canonical names of their packages."""
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def locked_versions(lock):
    """Return the versions that the lock pins, whatever their markers say."""
    locked = read_requirements(lock.splitlines())
    return {name: str(pin.specifier).removeprefix("==") for name, pin in locked.items()}


def load_tool(name):
    """Import a script from tools/, which is no package."""
    spec = util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXTRAS = PROJECT["optional-dependencies"]
DIRECT = read_requirements(PROJECT["dependencies"] + EXTRAS["test"])
OPTIONAL = frozenset(read_requirements(EXTRAS["jax"] + EXTRAS["torch"] + EXTRAS["dask"]))
CHECK_LOCK = load_tool("check_lock")


# --- The lock ----------------------------------------------------------------------------------


def pin_faults(lock):
    """Return the lines of a lock that are no exact pins, or pin a package again."""
    lines = lock.splitlines()
    names = [canonicalize_name(line.partition("==")[0]) for line in lines]
    exact = re.compile(r"[\w.-]+==[\w.!+]+( ; .+)?")  # without an index or an address
    return [s for i, s in enumerate(lines) if not exact.fullmatch(s) or names[i] in names[:i]]


def version_faults(requirements, versions):
    """Name the requirements that versions do not meet; what a marker excludes may be missing."""
    return [
        f"{requirement}: {versions.get(name)}"
        for name, requirement in requirements.items()
        if not requirement.marker or requirement.marker.evaluate()
        if name not in versions or not requirement.specifier.contains(versions[name])
    ]


def test_lock_pins_exactly():
    assert pin_faults(LOCK) == []


@pytest.mark.parametrize(
    "line",
    [
        *("numpy>=2.0", "numpy==2.*", "numpy", "numpy==2.4.6,<3", "Absl_Py==2.5.1", "-e ."),
        *("numpy @ https://a.org/b.whl", "--index-url https://a.org", "--find-links a"),
    ],
)
def test_lock_pins_exactly_sees(line):
    assert pin_faults(f"absl-py==2.5.1\nattrs==26.1.0 ; os_name == 'nt'\n{line}") == [line]


def test_lock_has_all_direct_dependencies():
    assert version_faults(DIRECT, locked_versions(LOCK)) == []


def test_installed_is_what_is_locked():
    assert version_faults(read_requirements(LOCK.splitlines()), INSTALLED) == []


def test_version_faults_are_seen():
    wanted = read_requirements(["numpy>=2.0", "PyYAML<7", "six==1; python_version < '3'"])
    assert version_faults(wanted, {"numpy": "2.4.6", "pyyaml": "6.0.3"}) == []
    assert version_faults(wanted, {"numpy": "1.26"}) == ["numpy>=2.0: 1.26", "PyYAML<7: None"]


# --- environment.yml and the versions of Python ------------------------------------------------


def conda_faults(conda):
    """Name what environment.yml has other than the lock and pyproject.toml."""
    lines = [line.strip() for line in conda.splitlines() if line.lstrip().startswith("- ")]
    faults = [f"no reason given: {line}" for line in lines if not re.search(r"\s# \S+ ", line)]
    tables = yaml.safe_load(conda)
    python, *plain, section = tables["dependencies"]
    first, *pins, last = section["pip"]
    if python.removeprefix("python=") not in SpecifierSet(PROJECT["requires-python"]):
        faults.append(f"not within requires-python: {python}")
    around = (tables["channels"], plain, first, last)
    if around != (["conda-forge", "nodefaults"], ["pip"], "--constraint requirements.txt", "-e ."):
        faults.append(f"other channels or options: {around}")
    locked = locked_versions(LOCK)
    wanted = {f"{name}=={locked.get(name)}" for name in DIRECT}
    return faults + [f"other pin: {pin}" for pin in sorted(wanted ^ set(pins))]


def test_conda_environment_is_the_lock():
    assert conda_faults(CONDA) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (r"- keras==(\S+)", r"- keras==0.0.1", "other pin: keras==0.0.1"),
        (r"- keras==\S+ .*", r"# no Keras", "other pin: keras=="),
        (r"(- keras==.*)", r"\1\n      - six==1.17.0  # a reason", "other pin: six==1.17.0"),
        (r"- keras==(\S+) .*", r"- keras==\1", "no reason given: - keras=="),
        (r"- python=3\.\d+", "- python=3.14", "not within requires-python: python=3.14"),
        (r"- nodefaults", "- defaults", "other channels"),
        (r"- --constraint", "- --extra-index-url https://a.org  # why not?\n      - -c", "options"),
        (r"- -e \.", "- .", "options"),
    ],
)
def test_conda_environment_is_the_lock_sees(old, new, fault):
    changed, count = re.subn(old, new, CONDA, count=1)
    assert count == 1
    assert fault in "\n".join(conda_faults(changed))


def test_supported_pythons_agree():
    accepted = SpecifierSet(PROJECT["requires-python"])
    versions = tuple(f"3.{minor}" for minor in range(30) if f"3.{minor}" in accepted)
    assert versions == load_tool("setup").SUPPORTED == CHECK_LOCK.PYTHONS != ()


def test_versions_agree():
    assert kerasaid.__version__ == INSTALLED["kerasaid"] == PROJECT["version"]


# --- Imports and kernels -----------------------------------------------------------------------


def find_imports(source):
    """Return (top-level module, in a function?) for each absolute import in Python code."""
    nodes = list(ast.walk(ast.parse(source)))
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {node for function in functions for node in ast.walk(function)}
    found = set()
    for node in nodes:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        found |= {(name.partition(".")[0], node in inside) for name in names}
    return sorted(found)


def cells_source(notebook):
    """Return the Python code of a notebook's cells; tests/hygiene.py keeps magics out of them."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def import_faults(source, own, optional=OPTIONAL):
    """Return the imports of what is neither Python's, nor own, nor a direct dependency.

    Functions may import the optional distributions, too.
    """
    faults = []
    for module, guarded in find_imports(source):
        owners = {canonicalize_name(name) for name in OWNERS.get(module, [module])}
        allowed = DIRECT.keys() | (optional if guarded else set())
        if module not in sys.stdlib_module_names | own and not owners & allowed:
            faults.append(module)
    return faults


def kernel_faults(notebook):
    """Return what a notebook says of its kernel, if that is not what all say here."""
    found = [notebook["metadata"].get(key) for key in ("kernelspec", "language_info")]
    return [] if found == [KERNEL, {"name": "python"}] else found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_import_direct_dependencies(path):
    own = {"kerasaid", "benchmarks"}
    if "kerasaid" not in path.relative_to(ROOT).parts:  # the others see their neighbours, too
        folder = ROOT / path.relative_to(ROOT).parts[0]
        own |= {neighbour.stem for neighbour in folder.rglob("*.py")} | {"conftest"}
    assert import_faults(path.read_text(encoding="utf-8"), own) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_import_direct_dependencies_and_name_the_kernel(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert import_faults(cells_source(notebook), {"kerasaid"}, set()) == []
    assert kernel_faults(notebook) == []


def test_there_are_imports_to_check():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(FOLDERS)
    cells = [cells_source(json.loads(path.read_text(encoding="utf-8"))) for path in NOTEBOOKS]
    assert ("keras", False) in find_imports("\n".join(cells))


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("import os, numpy as np\nfrom sklearn.svm import SVC\nfrom . import plots", []),
        ("import kerasaid.runs\nimport helper", []),
        ("from six.moves import range\nimport kiwisolver.exceptions", ["kiwisolver", "six"]),
        ("def f():\n    import six", ["six"]),
        ("class A:\n    def f(self):\n        if True:\n            from jax import jit", []),
        ("if True:\n    from jax import jit", ["jax"]),
        ("class A:\n    import torch", ["torch"]),
    ],
)
def test_imports_of_others_are_seen(source, faults):
    assert import_faults(source, {"kerasaid", "helper"}) == faults


@pytest.mark.parametrize("change", [{"name": "conda"}, {"display_name": ".venv (3.11.7)"}])
def test_another_kernel_is_seen(change):
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    assert kernel_faults({"metadata": metadata}) == []
    assert kernel_faults({"metadata": metadata | {"kernelspec": KERNEL | change}})
    assert kernel_faults({"metadata": metadata | {"language_info": {"version": "3.11.7"}}})


# --- tools/check_lock.py, without an index -----------------------------------------------------


def test_lock_check_evaluates_markers_for_the_target():
    lock = "a==1 ; platform_machine == 'AMD64'\nb==2 ; python_full_version == '3.12.*'\nC_c==3"
    pins = {key: CHECK_LOCK.pins_for(lock, target) for key, target in CHECK_LOCK.TARGETS.items()}
    assert len(pins) == 9
    assert pins["linux-3.11"] == {"c-c": "3"}
    assert pins["macos-3.12"] == {"b": "2", "c-c": "3"}
    assert pins["windows-3.13"] == {"a": "1", "c-c": "3"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"a": None}, "the project needs a[x]>=1, which is not pinned"),
        ({"a": "0.9"}, "the project needs a[x]>=1, but 0.9 is pinned"),
        ({"b-b": None}, "a needs B_b<3, which is not pinned"),
        ({"c": None}, 'a needs c[y_z]; extra == "x", which is not pinned'),
        ({"d": None}, 'c needs d; extra == "y-z", which is not pinned'),
        ({"d": "9"}, "d 9 wants Python >=3.12"),
    ],
)
def test_lock_check_follows_requirements(change, fault):
    pins = {"a": "1.0", "b-b": "2.0", "c": "1.0", "d": "1.0"} | change
    pins = {name: version for name, version in pins.items() if version}
    never = ['never; extra == "unasked"', 'never; sys_platform == "win32"']
    metadata = {
        "a": {"requires_dist": ["B_b<3", 'c[y_z]; extra == "x"', *never]},
        "b-b": {},
        "c": {"requires_dist": ['d; extra == "y_z"']},
        "d": {"requires_python": ">=3.12" if pins.get("d") == "9" else None},
    }
    metadata = {name: metadata[name] for name in pins}
    faults = CHECK_LOCK.unmet(["a[x]>=1"], pins, metadata, CHECK_LOCK.TARGETS["linux-3.11"])
    assert fault in faults if fault else faults == []


def test_lock_check_names_all_without_a_wheel(monkeypatch):
    def ask_pip(pins, target):
        missing = [name for name in ("numpy", "scipy") if name in pins]
        errors = [f"ERROR: No matching distribution found for {name}==1" for name in missing]
        return {name: {} for name in pins}, "\n".join(errors)

    monkeypatch.setattr(CHECK_LOCK, "ask_pip", ask_pip)
    target = CHECK_LOCK.TARGETS["linux-3.11"]
    faults = ["numpy 1 has no wheel there", "scipy 1 has no wheel there"]
    assert CHECK_LOCK.check("numpy==1\nscipy==1\nsix==1", [], target) == (1, faults)
