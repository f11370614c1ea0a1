"""The rules that every notebook of the collection keeps, each as a function.

A rule takes a notebook and yields what is wrong with it, in words. `Page` gives it the parts it
needs. The tests hold every rule against every notebook, and against a copy that breaks it.
"""

import ast
import configparser
import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from kerasaid.errors import InputError
from kerasaid.runs.parameters import read_parameters, read_profiles

MOST_LINES = 20
RARELY_OVER = 12
LEAST_COMPARED = {"notebook": 5, "solution": 1}

_sanitizer = configparser.ConfigParser(interpolation=None)
_sanitizer.read(Path(__file__).parent / "nbval_sanitize.cfg", encoding="ascii")
_ABOUT = _sanitizer["machine dependent"]["regex"]


@dataclass
class Page:
    """A notebook, with the parts that the rules look at."""

    path: Path
    node: nbformat.NotebookNode

    @property
    def is_solution(self):
        return self.path.parent.name == "solutions"

    @cached_property
    def code(self):
        return [c for c in self.node.cells if c.cell_type == "code" and c.source.strip()]

    @cached_property
    def prose(self):
        return [c for c in self.node.cells if c.cell_type == "markdown"]

    @property
    def outputs(self):
        return [(cell, output) for cell in self.code for output in cell.outputs]

    def tagged(self, tag):
        return [cell for cell in self.code if tag in tags(cell)]

    @cached_property
    def trees(self):
        return [(cell, ast.parse(cell.source)) for cell in self.code]

    @property
    def calls(self):
        for cell, tree in self.trees:
            for call in ast.walk(tree):
                if isinstance(call, ast.Call):
                    yield cell, call, ast.unparse(call.func)


def tags(cell):
    return cell.metadata.get("tags", [])


def text_of(output):
    return output.get("text") or output.get("data", {}).get("text/plain") or ""


def headings(page):
    """One H1, first of all; no level skipped."""
    found = [
        len(match[1])
        for cell in page.prose
        for match in re.finditer(
            r"^(#+) ", re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL), re.MULTILINE
        )
    ]
    if not page.node.cells[0].source.startswith("# "):
        yield "the first cell does not start with the title"
    if found.count(1) != 1:
        yield f"{found.count(1)} headings of level 1"
    for before, after in itertools.pairwise(found):
        if after > before + 1:
            yield f"a heading of level {after} follows one of level {before}"


def opening(page):
    """Below the title: the question, what to know first, the time, the neighbours."""
    first = page.node.cells[0].source
    if not re.search(r"^\*\*[^*]+\?\*\*$", first, re.MULTILINE):
        yield "the first cell asks no question in bold"
    if page.is_solution:
        return
    for part in ("*Know first:*", "*Time:*"):
        if part not in first:
            yield f"the first cell lacks {part}"
    if not re.search(r"\*(Next|Previous):\*", first):
        yield "the first cell links to no neighbour"


def links(page):
    """Links between files lead somewhere; pictures come from nowhere else."""
    for cell in page.prose:
        for picture, address in re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", cell.source):
            if picture and re.match(r"https?:", address):
                yield f"a remote image: {address}"
            elif not re.match(r"https?:|#", address) and not _exists(page, address):
                yield f"a link to {address}, which is not there"
        if re.search(r"<(img|script|iframe|style|link)\b", cell.source, re.IGNORECASE):
            yield f"raw HTML in cell {cell.id}"


def _exists(page, address):
    return (page.path.parent / address.partition("#")[0]).exists()


def parameters(page):
    """One cell of typed parameters, before all other code."""
    if page.is_solution:
        return
    cells = page.tagged("parameters")
    if len(cells) != 1 or cells[0] is not page.code[0]:
        yield "the first code cell must be the one tagged parameters"
        return
    for statement in ast.parse(cells[0].source).body:
        if not isinstance(statement, ast.AnnAssign):
            yield f"a parameter without a type: {ast.unparse(statement)}"
        elif "#" not in cells[0].source.splitlines()[statement.lineno - 1]:
            yield f"a parameter without a comment: {ast.unparse(statement)}"
    lines = re.findall(r"^#\s*profile\b.*", cells[0].source, re.MULTILINE)
    try:
        profiles = read_profiles(cells[0].source, read_parameters(cells[0].source))
    except InputError as error:
        yield str(error)
    else:
        if bool(lines) != bool(profiles):
            yield f"a line that is no profile: {lines[0]}"


def start(page):
    """kerasaid is imported first, so that TensorFlow is quiet, and set up in the same cell."""
    imported = [
        name for _, tree in page.trees for node in ast.walk(tree) for name in _imported(node)
    ]
    if not imported or imported[0] != "kerasaid":
        yield "kerasaid is not the first import"
    ignored = page.tagged("nbval-ignore-output")
    if len(ignored) != 1 or "kerasaid.setup(" not in ignored[0].source:
        yield "exactly the cell that calls kerasaid.setup must be tagged nbval-ignore-output"


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module.partition(".")[0]]
    return []


def nothing_skipped(page):
    """No tag or comment keeps a cell from being compared, but the one of the versions."""
    for cell in page.node.cells:
        for tag in tags(cell):
            allowed = (
                "kerasaid.setup(" in cell.source
                if tag == "nbval-ignore-output"
                else not page.is_solution and any(re.fullmatch(r"check-\d+", t) for t in tags(cell))
                if tag == "raises-exception"
                else re.fullmatch(r"parameters|(exercise|check)-\d+", tag)
            )
            if not allowed:
                yield f"the tag {tag} on cell {cell.id}"
        if re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)_", cell.source):
            yield f"an nbval comment in cell {cell.id}"
        if cell.cell_type == "code" and re.search(r"^\s*[%!]", cell.source, re.MULTILINE):
            yield f"a magic or shell command in cell {cell.id}"


def executed(page):
    """Every code cell was executed, in order: nbval passes over those that were not."""
    found = [cell.execution_count for cell in page.code]
    if found != list(range(1, len(found) + 1)):
        yield f"execution counts are {found}, not 1 to {len(found)}"


def compared(page):
    """There is something to compare, and a notebook claims something."""
    texts = [text_of(o) for cell, o in page.outputs if "nbval-ignore-output" not in tags(cell)]
    least = LEAST_COMPARED["solution" if page.is_solution else "notebook"]
    if sum(bool(text.strip()) for text in texts) < least:
        yield f"fewer than {least} compared outputs"
    if not page.is_solution and not any(text.startswith("✓") for text in texts):
        yield "no claim"


def claims_hold(page):
    """Stored claims hold, and not by a hair."""
    for cell, output in page.outputs:
        if "✗" in text_of(output):
            yield f"a claim that does not hold in cell {cell.id}"
        claim = output.get("metadata", {}).get("kerasaid", {}).get("claim")
        if claim and claim["margin_unit"] == "sd" and claim["margin"] < 1:
            yield f"a claim within one standard deviation of failing: {claim['statement']}"


def only_text_and_pictures(page):
    """No HTML, no JavaScript, no widgets, no stderr; errors only from unsolved exercises."""
    for cell, output in page.outputs:
        if output.get("name") == "stderr":
            yield f"stderr in cell {cell.id}"
        if output.output_type == "error":
            if output.ename != "CheckFailed" or "raises-exception" not in tags(cell):
                yield f"{output.ename} in cell {cell.id}"
            if len(output.traceback) != 1:
                yield f"a traceback in cell {cell.id}"
        for kind in output.get("data", {}):
            if kind not in ("text/plain", "image/png"):
                yield f"{kind} in cell {cell.id}"
    if "widgets" in page.node.metadata:
        yield "widget state"


def described(page):
    """Every picture has a description, which is also what is compared."""
    for cell, output in page.outputs:
        if "image/png" not in output.get("data", {}):
            continue
        alt = output.metadata.get("image/png", {}).get("alt", "")
        if len(alt.split()) < 4:
            yield f"a picture without a description in cell {cell.id}"
        if alt != text_of(output):
            yield f"a picture whose text is not its description in cell {cell.id}"


def numbers_marked(page):
    """What depends on the machine stands after ≈: decimals elsewhere are only bounds."""
    for cell, output in page.outputs:
        if "nbval-ignore-output" in tags(cell) or output.output_type == "error":
            continue
        rest = re.sub(_ABOUT, "", text_of(output))
        rest = re.sub(r"at (least|most) -?[\d.e+-]+", "", rest)
        # After a mark comes a statement, which may hold any number, then the value in brackets.
        rest = re.sub(r"^[✓✗] [^(\n]*", "", rest, flags=re.MULTILINE)
        if "ms/step" in rest or re.search(r"\d\.\d", rest):
            yield f"a number without ≈ in cell {cell.id}: {rest.strip()[:60]!r}"


def none_typed(page):
    """No result is typed into the prose."""
    for cell in page.prose:
        text = re.sub(r"```.*?```|`[^`]*`|\$\$?.*?\$\$?", "", cell.source, flags=re.DOTALL)
        for match in re.findall(r"\d+\.\d+ ?%|≈ ?\d|accuracy of \d|\d\.\d\d+", text):
            yield f"a number typed in cell {cell.id}: {match!r}"


def named(page):
    """Layers and models have names, so that running a cell again changes no output."""
    for cell, call, function in page.calls:
        makes = r"(keras\.)?(Input|Sequential|Model)|(keras\.)?layers\.[A-Z]\w+"
        given = {keyword.arg for keyword in call.keywords}
        if re.fullmatch(makes, function) and "name" not in given:
            yield f"{function} without a name in cell {cell.id}"


def quiet_training(page):
    """`fit`, `evaluate` and `predict` print no timings."""
    for cell, call, function in page.calls:
        given = {k.arg: k.value for k in call.keywords}
        trains = "epochs" in given or "batch_size" in given or "validation_data" in given
        silent = "verbose" in given and ast.unparse(given["verbose"]) == "0"
        if re.search(r"\.(fit|evaluate|predict)$", function) and trains and not silent:
            yield f"{function} without verbose=0 in cell {cell.id}"


def small_cells(page):
    """Cells are small: rarely over 12 lines, never over 20."""
    lengths = {
        cell.id: sum(bool(s.strip()) for s in cell.source.splitlines()) for cell in page.code
    }
    for cell, lines in lengths.items():
        if lines > MOST_LINES:
            yield f"{lines} lines in cell {cell}"
    long = sum(lines > RARELY_OVER for lines in lengths.values())
    if long > max(1, len(lengths) // 10):
        yield f"{long} of {len(lengths)} cells have over {RARELY_OVER} lines"


def exercises(page):
    """Each exercise: a stub and a check, a folded hint, the same check in the solution."""
    solution_path = page.path.parent / "solutions" / page.path.name
    if page.is_solution:
        return
    if not solution_path.exists():
        yield "no solutions"
        return
    solution = Page(solution_path, nbformat.read(solution_path, as_version=4))
    numbers = [m[1] for c in page.code for t in tags(c) if (m := re.match(r"check-(\d+)", t))]
    if not numbers or numbers != [str(n) for n in range(1, len(numbers) + 1)]:
        yield f"checks are numbered {numbers}"
    for number in numbers:
        here, there = page.tagged(f"check-{number}")[0], solution.tagged(f"check-{number}")
        if not there or there[0].source != here.source:
            yield f"check {number} differs in the solution"
        if "raises-exception" not in tags(here):
            yield f"check {number} is not tagged raises-exception"
        for kind in (page, solution):
            if len(kind.tagged(f"exercise-{number}")) != 1:
                yield f"exercise {number} is not there once in {kind.path}"
    hints = sum(cell.source.count("<details>") for cell in page.prose)
    if hints < len(numbers):
        yield f"{hints} hints for {len(numbers)} exercises"


def closing(page):
    """At the end: what to remember, then references."""
    text = "\n".join(cell.source for cell in page.prose)
    if not page.is_solution and not re.search(
        r"^## What to remember.*^## References", text, re.MULTILINE | re.DOTALL
    ):
        yield "no 'What to remember' followed by 'References'"


RULES = [
    headings,
    opening,
    links,
    parameters,
    start,
    nothing_skipped,
    executed,
    compared,
    claims_hold,
    only_text_and_pictures,
    described,
    numbers_marked,
    none_typed,
    named,
    quiet_training,
    small_cells,
    exercises,
    closing,
]
