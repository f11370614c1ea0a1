"""The lock, environment.yml, the imports and the notebooks' kernels belong together.

Each check is a function that takes what it looks at and returns the faults, one a line. The tests
apply it to the project, where there has to be none, and to broken inputs, where it has to see them.
"""

import ast
import importlib.metadata
import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import kerasaid

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")
CONDA = (ROOT / "environment.yml").read_text(encoding="utf-8")
NOTEBOOKS = sorted(
    path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
MODULES = sorted(
    path
    for folder in ("kerasaid", "benchmarks", "tests", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
KERNEL = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def name_of(path):
    """Return a file's path as the tests show it."""
    return path.relative_to(ROOT).as_posix()


def load_tool(name):
    """Import a script from tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# --- The lock ----------------------------------------------------------------------------------


def direct_dependencies(pyproject):
    """Return what pyproject.toml asks for to run and to test, by canonical name."""
    project = pyproject["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def optional_dependencies(pyproject):
    """Return the canonical names of what only the extras other than test ask for."""
    extras = pyproject["project"]["optional-dependencies"]
    lines = [line for extra, lines in extras.items() if extra != "test" for line in lines]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def locked_versions(lock):
    """Return the versions that the lock pins, by canonical name, whatever their markers say."""
    pins = (Requirement(line) for line in lock.splitlines() if line.strip())
    return {canonicalize_name(p.name): str(p.specifier).removeprefix("==") for p in pins}


def pin_faults(lock):
    """Name the lines of a lock that are no exact pins of packages from whatever index pip uses."""
    faults, seen = [], set()
    for line in lock.splitlines():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            faults.append(f"{line!r} is no requirement")
            continue
        if requirement.url or "://" in line:
            faults.append(f"{line!r} has an address")
        elif not re.fullmatch(r"==[^=*,]+", str(requirement.specifier)):
            faults.append(f"{line!r} is no exact pin")
        if canonicalize_name(requirement.name) in seen:
            faults.append(f"{line!r} is there twice")
        seen.add(canonicalize_name(requirement.name))
    return faults


def lock_faults(direct, locked):
    """Name the direct dependencies that the lock lacks or has at a version they do not accept."""
    faults = []
    for name, requirement in direct.items():
        if name not in locked:
            faults.append(f"{requirement} is not in the lock")
        elif not requirement.specifier.contains(locked[name]):
            faults.append(f"{requirement} does not accept the lock's {locked[name]}")
    return faults


def installed_faults(lock, installed, environment):
    """Name what is not installed as the lock has it for an environment."""
    faults = []
    for requirement in map(Requirement, lock.splitlines()):
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        version = installed(requirement.name)
        if version is None:
            faults.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(version, prereleases=True):
            faults.append(f"{requirement} is locked, but {version} is installed")
    return faults


def installed_version(name):
    """Return the version of an installed package, None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_lock_pins_exactly():
    faults = pin_faults(LOCK)
    assert faults == []


@pytest.mark.parametrize(
    "line",
    [
        "numpy>=2.0",
        "numpy==2.*",
        "numpy",
        "numpy===2.4.6",
        "numpy==2.4.6,<3",
        "numpy @ https://example.org/numpy-2.4.6-py3-none-any.whl",
        "--index-url https://example.org/simple",
        "--find-links wheels",
        "-e .",
        "absl-py==2.5.1",
        "Absl_Py==2.5.1",
    ],
)
def test_lock_pins_exactly_sees(line):
    assert pin_faults("absl-py==2.5.1\nattrs==26.1.0 ; os_name == 'nt'\n") == []
    assert len(pin_faults(f"absl-py==2.5.1\n{line}\n")) == 1


def test_lock_has_all_direct_dependencies():
    faults = lock_faults(direct_dependencies(PYPROJECT), locked_versions(LOCK))
    assert faults == []


def test_lock_has_all_direct_dependencies_sees():
    direct = {"numpy": Requirement("numpy>=2.0"), "pyyaml": Requirement("PyYAML<7")}
    assert lock_faults(direct, {"numpy": "2.4.6", "pyyaml": "6.0.3"}) == []
    assert lock_faults(direct, {"numpy": "1.26.4", "pyyaml": "6.0.3"}) == [
        "numpy>=2.0 does not accept the lock's 1.26.4"
    ]
    assert lock_faults(direct, {"numpy": "2.4.6"}) == ["PyYAML<7 is not in the lock"]


def test_installed_is_what_is_locked():
    faults = installed_faults(LOCK, installed_version, default_environment())
    assert faults == []


def test_installed_is_what_is_locked_sees():
    lock = "six==1.17.0\ncolorama==0.4.6 ; sys_platform == 'win32'\n"
    linux, windows = {"sys_platform": "linux"}, {"sys_platform": "win32"}
    assert installed_faults(lock, {"six": "1.17.0"}.get, linux) == []
    assert installed_faults(lock, {"six": "1.16.0"}.get, linux) == [
        "six==1.17.0 is locked, but 1.16.0 is installed"
    ]
    assert installed_faults(lock, {"six": "1.17.0"}.get, windows) == ["colorama is not installed"]


# --- environment.yml ---------------------------------------------------------------------------


def conda_faults(conda, direct, locked, requires_python):
    """Name what environment.yml has other than the lock and pyproject.toml."""
    faults = []
    for line in conda.splitlines():
        if line.lstrip().startswith("- ") and not re.search(r"\s# \S+ \S+", line):
            faults.append(f"no reason given: {line.strip()}")
        if "://" in line or "index-url" in line or "find-links" in line:
            faults.append(f"an address: {line.strip()}")
    tables = yaml.safe_load(conda)
    *plain, sections = tables["dependencies"]
    pips = sections["pip"]
    python = dict(line.split("=") for line in plain if "=" in line).get("python", "0")
    if "pip" not in plain:
        faults.append("no pip")
    if not SpecifierSet(requires_python).contains(python):
        faults.append(f"Python {python} is not within {requires_python}")
    if tables["name"] != "kerasaid" or tables["channels"] != ["conda-forge", "nodefaults"]:
        faults.append("another name, or other channels")
    if pips[0] != "--constraint requirements.txt" or pips[-1] != "-e .":
        faults.append("the lock is not first, or the project not last")

    pins = {}
    for line in pips[1:-1]:
        name, _, version = line.partition("==")
        pins[canonicalize_name(name)] = version
        if locked.get(canonicalize_name(name)) != version:
            faults.append(f"{line} is not what the lock has")
    faults += [f"{name} is missing" for name in sorted(direct - pins.keys())]
    faults += [f"{name} is no direct dependency" for name in sorted(pins.keys() - direct)]
    return faults


def check_conda(conda):
    """Check a text against the project's own files."""
    return conda_faults(
        conda,
        direct_dependencies(PYPROJECT).keys(),
        locked_versions(LOCK),
        PYPROJECT["project"]["requires-python"],
    )


def test_conda_environment_is_the_lock():
    faults = check_conda(CONDA)
    assert faults == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (r"- keras==(\S+)", r"- keras==0.0.1", "keras==0.0.1 is not what the lock has"),
        (r"- keras==\S+ .*", "# no Keras", "keras is missing"),
        (r"- keras==(\S+)", r"- keras>=\1", "keras is missing"),
        (r"(- keras==.*)", r"\1\n      - six==1.17.0  # a reason", "six is no direct dependency"),
        (r"- keras==(\S+) .*", r"- keras==\1", "no reason given: - keras=="),
        (r"- -e \. .*", "- -e .", "no reason given: - -e ."),
        (r"- python=3\.\d+", "- python=3.10", "Python 3.10 is not within"),
        (r"- python=3\.\d+", "- python=3.14", "Python 3.14 is not within"),
        (r"- python=3\.\d+", "- python", "Python 0 is not within"),
        (r"- pip  #", "- six  #", "no pip"),
        (r"- nodefaults", "- defaults", "other channels"),
        (r"- --constraint", "- --requirement", "the lock is not first"),
        (r"- -e \.", "- .", "the project not last"),
        (r"- pip  #", "- pip  # https://example.org", "an address"),
    ],
)
def test_conda_environment_is_the_lock_sees(old, new, fault):
    changed, count = re.subn(old, new, CONDA, count=1)
    assert count == 1
    assert any(fault in line for line in check_conda(changed)), check_conda(changed)


# --- Which Pythons -----------------------------------------------------------------------------


def test_tools_know_the_supported_pythons():
    accepted = SpecifierSet(PYPROJECT["project"]["requires-python"])
    versions = tuple(f"3.{minor}" for minor in range(30) if f"3.{minor}" in accepted)
    assert len(versions) >= 1
    assert versions == load_tool("setup").SUPPORTED
    assert versions == load_tool("check_lock").PYTHONS


def test_version_is_that_of_pyproject():
    said = getattr(kerasaid, "__version__", None) or installed_version("kerasaid")
    assert said == PYPROJECT["project"]["version"]


# --- Imports -----------------------------------------------------------------------------------


def find_imports(source):
    """Return (module, guarded) for each absolute import in Python code, by top-level name.

    An import is guarded when the code also works without the module: it stands in a function, or
    `pytest.importorskip` asks for the module first.
    """
    tree = ast.parse(source)
    skipped = {
        node.args[0].value.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"pytest.importorskip", "importorskip"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    found = {(name, True) for name in skipped}

    def visit(node, in_function):
        for child in ast.iter_child_nodes(node):
            names = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom) and not child.level:
                names = [child.module]
            for name in names:
                top = name.partition(".")[0]
                found.add((top, in_function or top in skipped))
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            visit(child, in_function or function)

    visit(tree, False)
    return sorted(found)


def cells_source(notebook):
    """Return the Python code of a notebook's cells, IPython's own syntax turned into Python."""
    manager = TransformerManager()
    sources = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        magic, _, rest = source.partition("\n")
        if magic.startswith("%%"):
            # These run the cell's Python; the others have another language, or write a file.
            source = rest if magic.split()[0] in {"%%time", "%%timeit", "%%capture"} else ""
        sources.append(manager.transform_cell(source))
    return "\n".join(sources)


def import_faults(source, direct, optional, own, distributions):
    """Name the imports of what is neither in the standard library, nor own, nor asked for.

    ``optional`` are the distributions that guarded imports may use, too; ``distributions`` tells
    by a module's name which distributions have it.
    """
    faults = []
    for module, guarded in find_imports(source):
        if module in sys.stdlib_module_names or module in own:
            continue
        owners = {canonicalize_name(name) for name in distributions.get(module, [module])}
        if owners & direct or (guarded and owners & optional):
            continue
        if owners & optional:
            faults.append(f"{module} is optional: import it in a function, or with importorskip")
        else:
            faults.append(f"{module} ({', '.join(sorted(owners))}) is no direct dependency")
    return faults


def own_modules(path):
    """Return the names that a module imports from the project itself."""
    own = {"kerasaid", "benchmarks"}
    if ROOT / "kerasaid" not in path.parents:  # scripts and tests see their neighbours, too
        own |= {sibling.stem for sibling in path.parent.iterdir()} | {"conftest"}
    return own


@pytest.fixture(scope="module")
def distributions():
    """Which distributions have which modules, among all that are installed."""
    return importlib.metadata.packages_distributions()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_import_direct_dependencies(path, distributions):
    in_tools = path.parent == ROOT / "tools"
    optional = set() if in_tools else optional_dependencies(PYPROJECT)
    faults = import_faults(
        path.read_text(encoding="utf-8"),
        direct_dependencies(PYPROJECT).keys(),
        optional,
        own_modules(path),
        distributions,
    )
    assert faults == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_import_direct_dependencies(path, distributions):
    source = cells_source(json.loads(path.read_text(encoding="utf-8")))
    direct = direct_dependencies(PYPROJECT).keys()
    faults = import_faults(source, direct, set(), {"kerasaid"}, distributions)
    assert faults == []


def test_there_are_imports_to_check():
    assert NOTEBOOKS
    assert {path.parent.name for path in MODULES} >= {"kerasaid", "tests", "tools"}
    modules = "\n".join(path.read_text(encoding="utf-8") for path in MODULES)
    cells = "\n".join(cells_source(json.loads(p.read_text(encoding="utf-8"))) for p in NOTEBOOKS)
    assert ("numpy", False) in find_imports(modules)
    assert ("keras", False) in find_imports(cells)


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("import os, numpy as np\nfrom sklearn.svm import SVC\nfrom . import plots", 0),
        ("import kerasaid.runs\nimport helper", 0),
        ("import six", 1),
        ("from six.moves import range\nimport PIL.Image", 2),
        ("def f():\n    import six", 1),
        ("def f():\n    import jax.numpy as jnp", 0),
        ("class A:\n    def f(self):\n        if True:\n            from jax import jit", 0),
        ("import jax", 1),
        ("if True:\n    from jax import jit", 1),
        ("class A:\n    import jax", 1),
        ("import pytest\njax = pytest.importorskip('jax')\nimport jax.numpy", 0),
        ("import pytest\npytest.importorskip('torch')\nimport jax", 2),
        ("import pytest\npytest.importorskip('six')", 1),
    ],
)
def test_imports_of_others_are_seen(source, faults):
    distributions = {"sklearn": ["scikit-learn"], "PIL": ["pillow"], "six": ["six"]}
    direct = {"numpy", "scikit-learn", "pytest"}
    own = {"kerasaid", "helper"}
    assert len(import_faults(source, direct, {"jax"}, own, distributions)) == faults


@pytest.mark.parametrize(
    ("cell", "imports"),
    [
        ("%matplotlib inline\nimport numpy", ["numpy"]),
        ("!ls\nfiles = !ls\nimport numpy\nnumpy?", ["numpy"]),
        ("%%time\nimport numpy", ["numpy"]),
        ("%%bash\nimport numpy", []),
        ("%%writefile script.py\nimport numpy", []),
    ],
)
def test_imports_in_cells_are_seen(cell, imports):
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": ["import this"]},
            {"cell_type": "code", "source": cell.splitlines(keepends=True)},
        ]
    }
    assert [name for name, _ in find_imports(cells_source(notebook))] == imports


# --- Kernels -----------------------------------------------------------------------------------


def kernel_faults(notebook):
    """Name what a notebook says of its kernel other than what every notebook here says."""
    found = notebook["metadata"]
    return [f"{key} is {found.get(key)}" for key in KERNEL if found.get(key) != KERNEL[key]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_name_the_same_kernel(path):
    faults = kernel_faults(json.loads(path.read_text(encoding="utf-8")))
    assert faults == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernelspec", {**KERNEL["kernelspec"], "name": "conda-env-kerasaid"}),
        ("kernelspec", {**KERNEL["kernelspec"], "display_name": ".venv (3.11.7)"}),
        ("kernelspec", {"name": "python3", "display_name": "Python 3 (ipykernel)"}),
        ("language_info", {"name": "python", "version": "3.11.7"}),
        ("language_info", None),
    ],
)
def test_another_kernel_is_seen(key, value):
    assert kernel_faults({"metadata": KERNEL}) == []
    assert kernel_faults({"metadata": KERNEL | {key: value}}) == [f"{key} is {value}"]


# --- tools/check_lock.py -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def check_lock():
    """The script that asks pip, of which only what needs no index is tested here."""
    return load_tool("check_lock")


@pytest.fixture
def linux(check_lock):
    """The first of its targets: Linux, Python 3.11."""
    return check_lock.TARGETS[0]


def test_lock_check_has_nine_targets(check_lock):
    systems = ("linux", "macos", "windows")
    expected = [f"{system}-3.{minor}" for system in systems for minor in (11, 12, 13)]
    assert [target.key for target in check_lock.TARGETS] == expected


def test_lock_check_evaluates_markers_for_the_target(check_lock):
    lock = check_lock.read_lock(
        "# a comment\nsix==1.17.0  # why\n"
        "colorama==0.4.6 ; sys_platform == 'win32' and platform_machine == 'AMD64'\n"
        "appnope==1.0.0 ; platform_system == 'Darwin'\n"
        "overrides==7.7.0 ; python_full_version < '3.12'\n"
        "yarl==1.25.1 ; python_full_version == '3.12.*'\n"
    )
    pins = {target.key: check_lock.pins_for(lock, target)[0] for target in check_lock.TARGETS}
    assert {key: sorted(found) for key, found in pins.items()} == {
        "linux-3.11": ["overrides", "six"],
        "linux-3.12": ["six", "yarl"],
        "linux-3.13": ["six"],
        "macos-3.11": ["appnope", "overrides", "six"],
        "macos-3.12": ["appnope", "six", "yarl"],
        "macos-3.13": ["appnope", "six"],
        "windows-3.11": ["colorama", "overrides", "six"],
        "windows-3.12": ["colorama", "six", "yarl"],
        "windows-3.13": ["colorama", "six"],
    }


def test_lock_check_wants_exact_pins(check_lock, linux):
    lock = check_lock.read_lock("six>=1.17\nnumpy==2.*\nidna==3.20\nidna==3.10\n")
    pins, faults = check_lock.pins_for(lock, linux)
    assert pins == {"idna": Version("3.20")}
    assert faults == [
        "six>=1.17 is no exact pin",
        "numpy==2.* is no exact pin",
        "idna is pinned twice",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"a": None}, "the project needs a[x]>=1, which is not pinned"),
        ({"a": "0.9"}, "the project needs a[x]>=1, but 0.9 is pinned"),
        ({"b": None}, "a needs B_b<3, which is not pinned"),
        ({"b": "3.0"}, "a needs B_b<3, but 3.0 is pinned"),
        ({"c": None}, 'a[x] needs c; extra == "x", which is not pinned'),
        ({"d": None}, 'c[y-z] needs d; extra == "y-z", which is not pinned'),
        ({"d": "9"}, "d 9 wants Python >=3.12"),
    ],
)
def test_lock_check_follows_requirements(check_lock, linux, change, fault):
    names = {"a": "a", "b": "b-b", "c": "c", "d": "d"}
    versions = {"a": "1.0", "b": "2.0", "c": "1.0", "d": "1.0"} | change
    pins = {names[key]: Version(version) for key, version in versions.items() if version}
    metadata = {
        "a": {
            "requires_dist": [
                "B_b<3",
                'c[y_z]; extra == "x"',
                'c; extra == "x"',
                'never; extra == "unasked"',
                'never; sys_platform == "win32"',
            ],
            "requires_python": ">=3.11",
        },
        "b-b": {},
        "c": {"requires_dist": ['d; extra == "y_z"']},
        "d": {"requires_python": ">=3.12" if versions["d"] == "9" else None},
    }
    metadata = {name: metadata[name] for name in pins}
    roots = [Requirement("a[x]>=1"), Requirement("never; os_name == 'nt'")]
    faults = check_lock.missing_requirements(roots, pins, metadata, linux)
    if fault is None:
        assert faults == []
    else:
        assert fault in faults
        # What a package needs anyway is not asked for once more by its extras.
        assert not any(line.startswith("a[x] needs B_b") for line in faults)


def test_lock_check_names_all_without_a_wheel(check_lock, linux, monkeypatch):
    def ask_pip(pins, target):
        for name in ("numpy", "scipy"):
            if name in pins:
                return {}, f"ERROR: No matching distribution found for {name}=={pins[name]}"
        return {name: {} for name in pins}, ""

    monkeypatch.setattr(check_lock, "ask_pip", ask_pip)
    lock = check_lock.read_lock("numpy==2.4.6\nscipy==1.17.1\nsix==1.17.0\n")
    wheels, faults = check_lock.check(linux, lock, [Requirement("numpy")])
    assert wheels == 1
    assert faults == ["numpy 2.4.6 has no wheel there", "scipy 1.17.1 has no wheel there"]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (
            "WARNING: Retrying (Retry(...\nERROR: No matching distribution found for six==1",
            "no package index",
        ),
        ("ERROR: No space left on device", "pip failed: No space left on device"),
        ("Traceback ...\nValueError: why", "pip failed: ValueError: why"),
    ],
)
def test_lock_check_stops_where_pip_does(check_lock, linux, monkeypatch, error, fault):
    monkeypatch.setattr(check_lock, "ask_pip", lambda pins, target: ({}, error))
    wheels, faults = check_lock.check(linux, check_lock.read_lock("six==1.17.0"), [])
    assert wheels == 0
    assert len(faults) == 1
    assert fault in faults[0]


def test_lock_check_refuses_unknown_targets(check_lock, capsys):
    with pytest.raises(SystemExit):
        check_lock.main(["--only", "amiga-3.11"])
    assert "no target amiga-3.11; there are linux-3.11, " in capsys.readouterr().err
