"""Every check passes with the solution, and refuses the stub and plausible wrong answers."""

import re
from pathlib import Path

import nbformat
import pytest
from wrong_answers import WRONG

from kerasaid.exercises import CheckFailed, check

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"


def cells_of(path):
    """Return the code cells of a notebook as (source, tags)."""
    node = nbformat.read(path, as_version=4)
    return [(c.source, c.metadata.get("tags", [])) for c in node.cells if c.cell_type == "code"]


def found(path, kind):
    """Return the sources of a notebook's exercise or check cells, by number."""
    return {
        int(match[1]): source
        for source, tags in cells_of(path)
        for tag in tags
        if (match := re.fullmatch(rf"{kind}-(\d+)", tag))
    }


EXERCISES = [
    (path.stem, number)
    for path in sorted(FOLDER.glob("[0-9]*.ipynb"))
    for number in found(path, "exercise")
]


def attempt(slug, number, answer):
    """Run the solutions notebook up to an exercise, then an answer to it, then its check."""
    names = {}
    for source, tags in cells_of(FOLDER / "solutions" / f"{slug}.ipynb"):
        if f"exercise-{number}" in tags:
            exec(answer, names)
        elif f"check-{number}" in tags:
            exec(source, names)
            return
        elif not any(tag.startswith("check-") for tag in tags):
            exec(source, names)
    raise AssertionError(f"no check {number} in the solutions of {slug}")


@pytest.mark.parametrize(("slug", "number"), EXERCISES)
def test_the_solution_passes(slug, number, capsys):
    attempt(slug, number, found(FOLDER / "solutions" / f"{slug}.ipynb", "exercise")[number])
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(("slug", "number"), EXERCISES)
def test_the_stub_fails(slug, number):
    with pytest.raises(CheckFailed):
        attempt(slug, number, found(FOLDER / f"{slug}.ipynb", "exercise")[number])


@pytest.mark.parametrize(
    ("slug", "number", "answer"),
    [
        pytest.param(*key, answer, id=f"{key[0]}-{key[1]}-{name}")
        for key, answers in WRONG.items()
        for name, answer in answers.items()
    ],
)
def test_a_wrong_answer_fails(slug, number, answer):
    compile(answer, "answer", "exec")
    with pytest.raises(CheckFailed) as failure:
        attempt(slug, number, answer)
    assert "NameError" not in str(failure.value) and "SyntaxError" not in str(failure.value)


def test_every_exercise_has_at_least_two_wrong_answers():
    assert set(EXERCISES) == set(WRONG)
    assert all(len(answers) >= 2 for answers in WRONG.values())


def test_check_says_what_to_look_at():
    with pytest.raises(CheckFailed, match=r"^✗ it adds up: divide by the sum$"):
        check("it adds up", lambda: False, "divide by the sum")
    with pytest.raises(CheckFailed, match=r"divide .*your code raised ZeroDivisionError: "):
        check("it adds up", lambda: 1 / 0, "divide by the sum")


def test_a_failed_check_is_one_line_in_a_notebook():
    assert CheckFailed("✗ no")._render_traceback_() == ["CheckFailed: ✗ no"]


def test_a_stub_is_not_called_a_mistake():
    def answer():
        return ...

    with pytest.raises(CheckFailed, match=r"^✗ a sum: not solved yet, replace the ... by your ans"):
        check("a sum", lambda: answer() - 1 == 0, "hint")
