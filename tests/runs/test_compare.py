import copy
import json

import pytest

from conftest import write_notebook
from kerasaid.errors import InputError
from kerasaid.runs import compare
from kerasaid.runs.__main__ import main

RECORD = {
    "version": 2,
    "notebook": "00_tiny",
    "title": "The tiny",
    "parameters": {},
    "profile": None,
    "source_sha256": "x",
    "started": "2026-01-31T12:00:00+00:00",
    "seconds": 10.0,
    "peak_memory_mb": 1000,
    "environment": {"python": "3.12.1", "numpy": "2.4.6", "commit": "abc"},
    "status": "complete",
    "error": None,
    "metrics": [
        {"name": "accuracy", "value": 0.6, "unit": "%", "seeds": [0.5, 0.6, 0.7]},
        {"name": "parameters", "value": 100, "unit": "", "seeds": None},
        {"name": "loss", "value": 0.5, "unit": "nats", "seeds": None},
        {"name": "loss", "value": 0.25, "unit": "nats", "seeds": None},
    ],
    "claims": [
        {
            "statement": "it is large",
            "value": 0.6,
            "unit": "",
            "seeds": None,
            "bound": 0.5,
            "direction": "at_least",
            "margin": 0.1,
            "margin_unit": "",
            "holds": True,
        }
    ],
    "cells": [{"id": "train", "seconds": 4.0}, {"id": "draw", "seconds": 1.0}],
    "figures": [],
}


def write_run(folder, change=None, notebook=True):
    """Write a run folder whose record is changed by a function."""
    found = copy.deepcopy(RECORD)
    if change:
        change(found)
    if notebook:
        parameters = "epochs: int = 5  # passes\nseeds: int = 3"
        write_notebook(folder, found["notebook"], parameters=parameters)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(found), "utf-8")
    return folder


def better(entry):
    entry["parameters"] = {"epochs": 10}
    entry["metrics"][0].update(value=0.71, seeds=[0.6, 0.71, 0.82])
    entry["metrics"][1]["value"] = 120
    entry["metrics"][3]["value"] = 0.2
    entry["claims"][0].update(value=0.4, holds=False)
    entry.update(seconds=20.0, peak_memory_mb=1500)
    entry["cells"][0]["seconds"] = 12.0
    entry["environment"]["numpy"] = "2.5.0"


@pytest.fixture
def two(tmp_path):
    return [
        compare.load(write_run(tmp_path / "a")),
        compare.load(write_run(tmp_path / "b", better) / "record.json"),
    ]


def rows(runs, title):
    return {row.name: row for row in compare.compare(runs)[title]}


def test_parameters_that_differ_are_shown_with_their_defaults(two):
    assert [r.values for r in compare.compare(two)["Parameters"]] == [["5", "10"]]


def test_differences_over_the_same_seeds_are_paired(two):
    row = rows(two, "Metrics")["accuracy"]
    assert row.values == ["≈ 0.60 ± 0.10 %", "≈ 0.71 ± 0.11 %"]
    assert row.differences == ["+0.11 [+0.0852, +0.135]"] and row.moved


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["metrics"][0].update(seeds=[0.6, 0.71, 0.82, 0.7]),
        lambda entry: entry["metrics"][0].update(seeds=[0.6, 0.71, "nan"]),
        lambda entry: entry["parameters"].update(seeds=4),
    ],
)
def test_without_the_same_seeds_there_is_no_interval(two, tmp_path, change):
    other = compare.load(write_run(tmp_path / "c", lambda e: (better(e), change(e))))
    row = rows([two[0], other], "Metrics")["accuracy"]
    assert row.differences == ["+0.11"] and not row.moved


def test_an_interval_that_holds_zero_is_not_marked(two, tmp_path):
    noisy = {"value": 0.61, "seeds": [0.4, 0.73, 0.7]}
    other = compare.load(write_run(tmp_path / "c", lambda e: e["metrics"][0].update(noisy)))
    row = rows([two[0], other], "Metrics")["accuracy"]
    assert "[-" in row.differences[0] and not row.moved


def test_exact_metrics_and_metrics_of_one_name(two):
    found = compare.compare(two)["Metrics"]
    assert [(r.name, r.differences, r.moved) for r in found[1:]] == [
        ("parameters", ["+20"], True),
        ("loss", ["the same"], False),
        ("loss", ["-0.05"], False),
    ]


def test_a_metric_that_one_run_lacks_or_that_diverged(two, tmp_path):
    def change(entry):
        del entry["metrics"][0]
        entry["metrics"][1]["value"] = "nan"

    found = rows([two[0], compare.load(write_run(tmp_path / "c", change))], "Metrics")
    assert found["accuracy"].values[1] == "–" and found["accuracy"].moved
    runs = [compare.load(write_run(tmp_path / name, change)) for name in "cd"]
    assert compare.compare(runs)["Metrics"][1].differences == ["the same"]


def test_claims_cost_and_environment(two):
    (claim,) = compare.compare(two)["Claims"]
    assert claim.values == ["✓ ≈ 0.600", "✗ ≈ 0.400"] and claim.moved
    cost = rows(two, "Cost")
    assert cost["time"].values == ["10.0 s", "20.0 s"] and cost["time"].differences == ["× 2.00"]
    assert cost["peak memory"].values == ["1,000 MB", "1,500 MB"]
    assert cost["cell train"].differences == ["× 3.00"] and "cell draw" not in cost
    assert [(r.name, r.values) for r in compare.compare(two)["Environment"]] == [
        ("numpy", ["2.4.6", "2.5.0"])
    ]


def test_a_record_of_version_1_and_a_run_that_was_killed_can_be_compared(two, tmp_path):
    def old(entry):
        for key in ("version", "profile", "cells", "figures"):
            del entry[key]
        entry.update(seconds=None, peak_memory_mb=None, metrics=[], claims=[], status="interrupted")

    runs = [compare.load(write_run(tmp_path / "c", old, notebook=False)), two[0]]
    sections = compare.compare(runs)
    assert sections["Parameters"][0].values == ["?", "5"]
    assert sections["Cost"][0].values == ["–", "10.0 s"]
    assert "interrupted" in "\n".join(compare.as_lines(runs, sections))
    assert "interrupted" in compare.page(runs, sections)


def test_the_command_prints_a_table_and_writes_a_page(tmp_path, capsys):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", better)
    page = tmp_path / "page.html"
    assert main(["compare", str(a), str(b), str(a), "--out", str(page)]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "00 · The tiny" and lines[-1] == str(page)
    assert any(line.split() == ["*", "epochs", "5", "10", "5"] for line in lines)
    assert any("it is large" in line and "✓" in line and "✗" in line for line in lines)
    assert "1 more: the same" in out
    text = page.read_text("utf-8")
    assert "3 runs compared" in text and "[+0.0852,\u00a0+0.135]" in text
    assert "<script" not in text and "src=" not in text


def damage(text):
    return lambda folder: (folder / "record.json").write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "record.json").unlink(), "holds no record.json"),
        (damage('{"notebook": "00_ti'), "is damaged"),
        (damage("[]"), "is damaged"),
        (damage('{"notebook": "00_tiny"}'), "of an older version, without claims, environment"),
        (damage(json.dumps({**RECORD, "version": 99})), "is of version 99; this kerasaid reads up"),
        (damage(json.dumps({**RECORD, "notebook": "01_x"})), "received 00_tiny and 01_x"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(tmp_path, capsys, spoil, message):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b", notebook=False)
    spoil(b)
    assert main(["compare", str(a), str(b)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err


def test_bad_arguments_are_said_in_one_line(tmp_path, capsys):
    a = write_run(tmp_path / "a")
    for arguments, message in [
        ([str(a)], "at least two runs, received 1"),
        ([str(a), str(tmp_path / "none")], "there is no such run folder"),
        ([str(a), str(a), "--out", str(tmp_path / "x.txt")], "a file ending in .html"),
        ([str(a), str(a), "--out", str(tmp_path / "no" / "x.html")], "cannot be written"),
    ]:
        assert main(["compare", *arguments]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and message in err


def test_a_run_is_loaded_with_its_error_class(tmp_path):
    with pytest.raises(InputError):
        compare.load(tmp_path)
