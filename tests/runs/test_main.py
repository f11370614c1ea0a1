import json

import numpy as np
import pytest

from kerasaid.runs import execute, notebooks
from kerasaid.runs.__main__ import main


def test_list_names_every_notebook_with_its_parameters(collection, capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "00  The 00_tiny  (not measured)" in out
    assert "      rate: float = 0.5  # step" in out


def test_run_prints_the_table_and_the_page(collection, tmp_path, capsys):
    assert main(["run", "00", "-p", "epochs=1", "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["notebook", "seconds", "peak", "memory", "claims", "held"]
    assert lines[1].startswith("00_tiny") and lines[1].endswith("1 of 1")
    assert lines[-1] == str(tmp_path / "out" / "00_tiny.html")


def test_a_claim_that_fails_is_named_and_exits_0(collection, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(execute, "run", lambda *a, **k: RECORD)
    assert main(["run", "00", "--out", str(tmp_path / "out")]) == 0
    assert "✗ it is large (≈ 0.500, at least 0.6)" in capsys.readouterr().out


RECORD = {
    "notebook": "00_tiny",
    "seconds": 1.0,
    "peak_memory_mb": 5,
    "status": "complete",
    "error": None,
    "claims": [
        {
            "statement": "it is large",
            "value": 0.5,
            "unit": "",
            "seeds": None,
            "bound": 0.6,
            "direction": "at_least",
            "holds": False,
        }
    ],
}


def test_a_failed_notebook_exits_1_with_one_line(collection, tmp_path, capsys):
    assert main(["run", "01", "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert err == "kerasaid: 01_broken: code cell 3 of 4: ZeroDivisionError: division by zero\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "42"], "there is no notebook '42'; there are: 00_tiny"),
        (["run", "00", "-p", "speed=3"], "has no parameter 'speed'; it has: epochs, rate"),
        (["run", "00", "-p", "epochs=x"], "epochs is a whole number (default 2), received 'x'"),
        (["run", "00", "-p", "epochs=0"], "epochs must be at least 1, received 0."),
        (["run", "00", "-p", "rate=nan"], "rate is a number"),
        (["run", "00", "--out", "/dev/null/x"], "cannot be written"),
        (["run", "00", "--out", "/tmp/" + 300 * "x"], "cannot be written"),
        (["run", "00", "--out", "~nobody-of-this-name/x"], "there is no such user"),
        (["report", "00", "42"], "there is no notebook '42'"),
        (["report", "--out", "/dev/null/x"], "cannot be written"),
    ],
)
def test_a_bad_argument_exits_2_with_one_line(
    collection, capsys, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.setattr("kerasaid.runs.__main__.ROOT", tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("kerasaid: ") and err.count("\n") == 1 and message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebooks"]


@pytest.mark.parametrize("arguments", [[], ["dance"], ["run"], ["list", "--loud"]])
def test_a_wrong_command_exits_2_with_one_line(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_report_writes_a_page_over_all_its_runs(collection, tmp_path, capsys):
    folder = tmp_path / "report"
    assert main(["report", "00", "01", "--out", str(folder)]) == 1  # one of them fails
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(folder / "index.html")
    assert "01_broken: code cell 3 of 4: ZeroDivisionError" in captured.err
    page = (folder / "index.html").read_text("utf-8")
    assert 'href="00_tiny/00_tiny.html"' in page and 'href="01_broken/01_broken.html"' in page
    assert sorted(p.name for p in folder.iterdir()) == ["00_tiny", "01_broken", "index.html"]


def test_report_resume_keeps_what_is_complete(collection, tmp_path, capsys):
    folder = tmp_path / "report"
    main(["report", "00", "01", "--out", str(folder)])
    before = json.loads((folder / "00_tiny" / "record.json").read_text())
    capsys.readouterr()
    main(["report", "00", "01", "--out", str(folder), "--resume"])
    out = capsys.readouterr().out
    assert "00_tiny: kept, complete already" in out and "01_broken: failed" in out
    assert json.loads((folder / "00_tiny" / "record.json").read_text()) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "00_tiny.html").unlink(),
        lambda place: (place / "record.json").write_text("[]"),
        lambda place: (place / "record.json").write_text(
            (place / "record.json")
            .read_text()
            .replace('"parameters": {}', '"parameters": {"x": 1}')
        ),
    ],
)
def test_report_resume_runs_again_what_is_not_whole(collection, tmp_path, capsys, damage):
    folder = tmp_path / "report"
    main(["report", "00", "--out", str(folder)])
    damage(folder / "00_tiny")
    capsys.readouterr()
    assert main(["report", "00", "--out", str(folder), "--resume"]) == 0
    assert "00_tiny: complete in" in capsys.readouterr().out


def test_report_resume_runs_a_notebook_again_whose_source_changed(collection, tmp_path, capsys):
    folder = tmp_path / "report"
    main(["report", "00", "--out", str(folder)])
    path = collection / "00_tiny.ipynb"
    path.write_text(path.read_text("utf-8").replace("after the exercise", "later"), "utf-8")
    capsys.readouterr()
    main(["report", "00", "--out", str(folder), "--resume"])
    assert "00_tiny: complete in" in capsys.readouterr().out


def test_notebook_01_runs_on_other_data_of_another_size_and_number_of_classes(tmp_path):
    """Fashion-like data of one's own: 12 × 10 pixels, 4 classes."""
    rng = np.random.default_rng(0)
    prototypes = rng.integers(0, 200, (4, 12, 10))

    def draw(count):
        labels = np.arange(count) % 4
        noise = rng.integers(-55, 56, (count, 12, 10))
        return np.clip(prototypes[labels] + noise, 0, 255).astype("uint8"), labels

    x_train, y_train = draw(1200)
    x_test, y_test = draw(200)
    path = tmp_path / "my own.npz"
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    given = [f"data={path}", "epochs=1", "seeds=2", "batch_size=32", "units=16"]
    notebook = notebooks.find("01")
    found = execute.run(notebook, notebook.parse(given), tmp_path / "out")
    assert found["status"] == "complete", found["error"]
    assert found["environment"]["backend"] == "tensorflow"
    assert len(found["metrics"]) > 10


@pytest.mark.parametrize("given", ["epochs=0", "seeds=1", "batch_size=-1", "data=missing.npz"])
def test_notebook_01_refuses_what_it_cannot_use(tmp_path, capsys, given):
    assert main(["run", "01", "-p", given, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and given.partition("=")[0] in err
    assert not (tmp_path / "out").exists()
