import pytest

from kerasaid.errors import InputError
from kerasaid.runs import notebooks
from kerasaid.runs.parameters import describe


@pytest.mark.parametrize("name", ["00", "0", "00_tiny", "tiny", "notebooks/00_tiny.ipynb"])
def test_a_notebook_is_found_by_number_or_name(collection, name):
    assert notebooks.find(name).slug == "00_tiny"


def test_an_unknown_notebook_is_named_with_those_there_are(collection):
    with pytest.raises(InputError, match=r"no notebook '7'; there are: 00_tiny, 01_broken"):
        notebooks.find("7")
    with pytest.raises(InputError, match=r"Did you mean 00_tiny\?"):
        notebooks.find("00_tyni")


def test_without_notebooks_it_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="no notebooks in"):
        notebooks.all_notebooks()


def test_title_and_parameters_are_read_from_the_notebook(collection):
    notebook = notebooks.find("00")
    assert notebook.title == "The 00_tiny"
    assert list(notebook.parameters) == ["epochs", "rate", "data", "fast", "sizes"]
    assert notebook.parameters["epochs"].help == "passes"


def test_values_are_parsed_by_their_type(collection):
    given = ["epochs=7", "rate=1e-3", "data=a=b c.npz", "fast=false", "sizes=[3, 4]"]
    assert notebooks.find("00").parse(given) == {
        "epochs": 7,
        "rate": 0.001,
        "data": "a=b c.npz",
        "fast": False,
        "sizes": [3, 4],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=many", r"epochs is a whole number \(default 2\), received 'many'"),
        ("epochs=2.5", "received '2.5'"),
        ("epochs=", "received ''"),
        ("rate=quick", "rate is a number"),
        ("fast=maybe", "fast is true or false"),
        ("sizes=3", r"sizes is a list such as \[1, 2\]"),
        ("epoch=3", "has no parameter 'epoch'; it has: epochs, rate, data, fast, sizes"),
        ("epochs", "-p expects name=value, received 'epochs'"),
    ],
)
def test_a_wrong_assignment_is_refused(collection, text, message):
    with pytest.raises(InputError, match=message):
        notebooks.find("00").parse([text])


def test_the_real_notebooks_have_typed_parameters():
    for notebook in notebooks.all_notebooks():
        for parameter in notebook.parameters.values():
            assert "a value" not in describe(parameter.type) and parameter.help
    assert {"data", "epochs", "batch_size", "units", "seeds"} <= set(
        notebooks.find("01").parameters
    )
