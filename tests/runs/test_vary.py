import json
import re

import pytest

from kerasaid.errors import InputError
from kerasaid.runs import notebooks, vary
from kerasaid.runs.__main__ import main


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"batch_size": 32, "rate": 0.1}, "batch_size-32__rate-0.1"),
        ({"rate": 1e-05}, "rate-1e-05"),
        ({"corpus": "CON"}, None),
        ({"corpus": 'a/b\\c:d*?"<>|.'}, None),
        ({"corpus": "ü 語 x "}, None),
        ({"corpus": "x" * 300}, None),
        ({"corpus": "../.."}, None),
        ({"sizes": [1, 2]}, None),
    ],
)
def test_a_folder_name_is_safe_on_every_system(values, name):
    found = vary.folder_name(values)
    assert name is None or found == name
    assert re.fullmatch(r"[\w.+-]{3,120}", found) and not found.endswith(".")
    assert found.partition("-")[0] in values


def test_different_values_have_different_folders_also_where_case_does_not_count():
    texts = ["a", "A", "a b", "a_b", "a/b", "a ", "", None, "None", 1, "x" * 300, "x" * 301]
    names = [vary.folder_name({"corpus": text}).casefold() for text in texts if text != 1]
    names.remove(vary.folder_name({"corpus": None}).casefold())  # folds with the text "None"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["epochs"], "--vary expects name=a,b,c, received 'epochs'"),
        (["epochs=1,2", "speed=3"], "no parameter 'speed'; it has: epochs"),
        (["epochs=1", "epochs=2"], "--vary names epochs twice"),
        (["epochs=1,two"], "epochs is a whole number"),
        ([f"epochs={','.join(map(str, range(2000)))}"], "asks for 2000 runs; at most 1000"),
    ],
)
def test_what_cannot_be_varied_is_refused_before_anything_runs(
    collection, tmp_path, capsys, texts, message
):
    arguments = [item for text in texts for item in ("--vary", text)]
    assert main(["report", "00", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError):
        vary.read(notebooks.find("00"), texts)


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """A report over two values of one parameter and one of another, of a tiny notebook."""
    import conftest

    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("vary")
        conftest.write_notebook(
            root / "notebooks",
            "00_tiny",
            conftest.TINY,
            parameters="epochs: int = 2  # passes\nrate: float = 0.5  # step",
        )
        patch.setattr(notebooks, "FOLDER", root / "notebooks")
        arguments = ["report", "00", "--vary", "epochs=1,3", "--vary", "rate=0.1", "--jobs", "2"]
        assert main([*arguments, "--out", str(root / "out")]) == 0
        yield root / "out", arguments


def test_each_combination_is_a_run_of_its_own(varied):
    folder, _ = varied
    assert sorted(path.name for path in folder.iterdir()) == [
        *("epochs-1__rate-0.1", "epochs-3__rate-0.1", "index.html"),
    ]
    found = json.loads((folder / "epochs-3__rate-0.1" / "record.json").read_text())
    assert found["parameters"] == {"epochs": 3, "rate": 0.1} and found["status"] == "complete"
    assert found["environment"]["threads"] >= 1


def test_the_page_leads_to_the_runs(varied):
    folder, _ = varied
    links = re.findall(r'href="([^"#:]+)"', (folder / "index.html").read_text("utf-8"))
    assert len(links) == 6 and all((folder / link).exists() for link in links)


def record_of(parameters, value, holds, seeds=None):
    claim = {"statement": "it is large", "value": value, "unit": "", "seeds": seeds, "bound": 0.6}
    claim |= {"direction": "at_least", "margin": 0.0, "margin_unit": "", "holds": holds}
    metric = {"name": "accuracy", "value": value, "unit": "%", "seeds": seeds}
    same = {**metric, "name": "parameters", "value": 7, "seeds": None}
    environment = dict.fromkeys(("cpu", "threads", "python", "keras", "backend", "numpy", "commit"))
    return {
        **{"version": 2, "notebook": "00_tiny", "title": "T", "status": "complete", "error": None},
        **{"parameters": parameters, "seconds": 1.0, "peak_memory_mb": 5},
        **{"environment": environment, "metrics": [same, metric], "claims": [claim]},
    }


def test_the_page_shows_which_claims_stop_holding_and_how_metrics_change():
    records = [
        record_of({"epochs": 1, "mode": "<a>"}, 0.9, True, [0.8, 1.0]),
        record_of({"epochs": 3, "mode": "<a>"}, 0.5, False, [0.4, 0.6]),
        {**record_of({"epochs": 9, "mode": "<a>"}, "nan", False), "claims": []},
    ]
    page = vary.what_if_page(records, {"epochs": [1, 3, 9], "mode": ["<a>"]})
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert "1 of 1 claims do not hold everywhere" in text
    assert re.search(r"✓ holds ≈ 0\.90 ± 0\.14 ✗ does not hold ≈ 0\.50 ± 0\.14 –", text)
    alts = re.findall(r'<img src="data:image/svg[^"]*" alt="([^"]*)"', page)
    assert alts == ["accuracy (%) over epochs: 0.9 at 1, 0.5 at 3"]  # what is the same is left out
    assert text.index("accuracy≈") < text.index("parameters= 7")  # and comes last
    assert "<a>" not in page.replace("<a href", "")


def test_resume_keeps_what_is_complete_and_says_why_the_rest_runs(varied, capsys):
    folder, arguments = varied
    path = folder / "epochs-3__rate-0.1" / "record.json"
    whole = path.read_text()
    path.write_text(whole.replace('"complete"', '"interrupted"'))
    assert main([*arguments, "--out", str(folder), "--resume"]) == 0
    out = capsys.readouterr().out
    assert "epochs-1__rate-0.1: kept, complete already" in out
    assert "epochs-3__rate-0.1: runs again, it was interrupted" in out
    assert re.findall(r"^(epochs-\S+) +[\d.]+ ", out, re.MULTILINE) == [
        *("epochs-1__rate-0.1", "epochs-3__rate-0.1"),
    ]
