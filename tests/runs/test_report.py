import json
import re
import signal

import pytest
from test_execute import files, started, wait_for

from conftest import write_notebook
from kerasaid.runs import record
from kerasaid.runs.__main__ import main

WAITS = """
import pathlib, time
place = pathlib.Path({folder!r})
(place / {mine!r}).touch()
end = time.monotonic() + 60
while not (place / {other!r}).exists() and time.monotonic() < end:
    time.sleep(0.05)
print((place / {other!r}).exists())
"""


def test_jobs_run_at_once_and_share_the_threads(collection, tmp_path, capsys):
    meet = tmp_path / "meet"
    meet.mkdir()
    for number, mine, other in (("04", "a", "b"), ("05", "b", "a")):
        source = WAITS.format(folder=str(meet), mine=mine, other=other)
        write_notebook(collection, f"{number}_{mine}", source)
    assert main(["report", "04", "05", "--jobs", "2", "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[:2])[0].startswith("04_a: complete in")
    assert [line.split()[0] for line in lines[3:5]] == ["04_a", "05_b"]  # in their order
    for name in ("04_a", "05_b"):
        assert '"True\\n"' in (tmp_path / "out" / name / f"{name}.ipynb").read_text("utf-8")


def test_ctrl_c_ends_all_jobs_with_a_record_each(command, tmp_path):
    folder = tmp_path / "out"
    again = ("report", "00", "02", "02_slow", "03", "--out", folder)
    process = command(*again, "--jobs", "2")
    wait_for(lambda: (folder / "02_slow").exists() and started(folder / "02_slow"))
    wait_for(lambda: (record.read(folder / "00_tiny") or {}).get("status") == "complete")
    wait_for(lambda: (record.read(folder / "03_dying") or {}).get("status") == "failed")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "02_slow: interrupted in code cell 3 of 3; go on with the same command" in err
    assert record.read(folder / "02_slow")["status"] == "interrupted"
    page = (folder / "index.html").read_text("utf-8")
    assert "interrupted" in page and "00_tiny" in page
    assert [name for name in files(folder) if name.startswith(".")] == []


def test_two_reports_do_not_mix_in_one_folder(command, tmp_path):
    folder = tmp_path / "out"
    first = command("report", "02", "--out", folder)
    wait_for(lambda: (folder / "02_slow").exists() and started(folder / "02_slow"))
    second = command("report", "00", "--out", folder)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 2 and "another run writes into" in err and err.count("\n") == 1
    assert files(folder) == [".lock", "02_slow"]
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode == 130


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda entry: entry.pop("version"), "its record is of version 1, not 2"),
        (lambda entry: entry.update(version=3), "its record is of version 3, not 2"),
        (lambda entry: entry.update(status="failed"), "it was failed"),
        (lambda entry: entry["environment"].update(keras="2.0"), "its keras was 2.0, here it is"),
        (lambda entry: entry["environment"].update(backend="jax"), "its backend was jax, here it"),
        (lambda entry: entry.clear(), "record.json is damaged"),
    ],
)
def test_resume_says_why_a_run_is_done_again(collection, tmp_path, capsys, change, reason):
    write_notebook(collection, "04_quick", "print(1)")
    arguments = ["report", "04", "--out", str(tmp_path / "out"), "--resume"]
    main(arguments)
    path = tmp_path / "out" / "04_quick" / "record.json"
    entry = json.loads(path.read_text())
    change(entry)
    path.write_text(json.dumps(entry))
    capsys.readouterr()
    assert main(arguments) == 0
    assert f"04_quick: runs again, {reason}" in capsys.readouterr().out
    assert record.read(path.parent)["version"] == 2


def test_one_notebook_takes_parameters_a_file_and_a_profile(collection, tmp_path, capsys):
    write_notebook(
        collection,
        "04_values",
        "print(a, b, c, text)",
        parameters="a: int = 0\nb: int = 0\nc: int = 0\ntext: str = ''\n"
        "# profile long: a=1, b=1, c=1",
    )
    path = tmp_path / "p ü.yaml"
    path.write_text('b: 2\nc: 2\ntext: "it\'s ü {x} \\"y\\""\n', encoding="utf-8")
    arguments = ["report", "04", "--profile", "long", "-f", str(path), "-p", "c=3"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    found = record.read(tmp_path / "out" / "04_values")
    assert found["parameters"] == {"a": 1, "b": 2, "c": 3, "text": 'it\'s ü {x} "y"'}
    assert found["profile"] == "long"
    node = json.loads((tmp_path / "out" / "04_values" / "04_values.ipynb").read_text("utf-8"))
    assert node["cells"][-1]["outputs"][0]["text"] == ['1 2 3 it\'s ü {x} "y"\n']
    capsys.readouterr()
    main([*arguments, "--out", str(tmp_path / "out"), "--resume"])
    assert "04_values: kept, complete already" in capsys.readouterr().out
    main([*arguments, "-p", "c=4", "--out", str(tmp_path / "out"), "--resume"])
    assert "04_values: runs again, its parameters were others" in capsys.readouterr().out


def test_of_several_notebooks_those_that_name_a_profile_use_it(collection, tmp_path):
    for number, profile in (("04", "# profile long: a=1"), ("05", "")):
        write_notebook(collection, f"{number}_x", parameters=f"a: int = 0\n{profile}")
    assert main(["report", "4", "5", "--profile", "long", "--out", str(tmp_path / "out")]) == 0
    found = [record.read(tmp_path / "out" / name) for name in ("04_x", "05_x")]
    assert [(f["parameters"], f["profile"]) for f in found] == [({"a": 1}, "long"), ({}, None)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "00", "--profile", "long"], "notebook 00 has no profile 'long'; it has: none"),
        (["report", "00", "01", "--profile", "long"], "has no profile 'long'"),
        (["report", "00", "01", "-p", "epochs=1"], "-p is for one notebook, received 2"),
        (["report", "00", "01", "--vary", "epochs=1"], "--vary is for one notebook, received 2"),
        (["run", "00", "-f", "{file}"], "p.yaml, line 2: parameter rate is a number"),
        (["run", "00", "-f", "missing.yaml"], "missing.yaml cannot be read"),
    ],
)
def test_a_bad_argument_exits_2_before_anything_runs(
    collection, tmp_path, capsys, arguments, message
):
    (tmp_path / "p.yaml").write_text("epochs: 1\nrate: quick\n")
    arguments = [text.replace("{file}", str(tmp_path / "p.yaml")) for text in arguments]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert re.match("kerasaid: ", err) and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_list_shows_profiles(collection, capsys):
    write_notebook(collection, "04_x", parameters="a: int = 0  # it\n# profile long: a=1")
    main(["list"])
    assert "      --profile long: a=1\n" in capsys.readouterr().out
