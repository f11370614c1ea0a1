import pytest
from test_compare import better, write_run

from kerasaid.runs import history
from kerasaid.runs.__main__ import main


@pytest.fixture
def reports(tmp_path, collection):
    """Three runs of a notebook in different places, one of another, and a damaged one."""
    folder = tmp_path / "my reports"

    def second(entry):
        better(entry)
        entry.update(started="2026-03-01T10:00:00+00:00", profile="long")

    def third(entry):
        entry.update(started="2026-02-01T10:00:00+00:00", metrics=[], status="interrupted")
        entry.update(seconds=None, peak_memory_mb=None)

    write_run(folder / "b" / "00_tiny", second)
    write_run(folder / "a")
    write_run(folder / "c", third)
    write_run(folder / "d", lambda entry: entry.update(notebook="01_broken"))
    write_run(folder / ".hidden")
    (folder / "e").mkdir()
    (folder / "e" / "record.json").write_text("{", "utf-8")
    return folder


def test_runs_are_found_at_any_depth_and_come_oldest_first(reports, capsys):
    assert main(["history", "0", "--in", str(reports)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split()[1] for line in lines[3:6]] == ["2026-01-31", "2026-02-01", "2026-03-01"]
    assert lines[4].split()[3:5] == ["interrupted", "–"]
    assert lines[5].endswith("0 of 1  (long) epochs=10")
    assert any(line.startswith("accuracy") and "▁·█" in line for line in lines)
    assert captured.err.count("\n") == 1 and "is damaged" in captured.err


def test_the_page_draws_what_changed_with_a_description(reports, tmp_path):
    assert main(["history", "00", "--in", str(reports), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "index.html").read_text("utf-8")
    assert 'alt="accuracy (%): 0.6 in run 1, 0.71 in run 3"' in text
    assert text.count("<img") == 3  # accuracy, parameters, the second loss
    assert "<li>loss ≈ 0.500 nats</li>" in text
    assert "<script" not in text and "3 runs" in text


def test_no_run_is_said_in_one_line(reports, tmp_path, capsys):
    for arguments, message in [
        (["02", "--in", str(reports)], "holds no run of 02_slow"),
        (["00", "--in", str(tmp_path / "none")], "there is no such folder"),
        (["77", "--in", str(reports)], "there is no notebook '77'"),
    ]:
        assert main(["history", *arguments]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and message in err


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 8], "▁▂▃█"),
        ([5.0, 5.0], "▄▄"),
        ([1, None, "nan", 2], "▁··█"),
        (["text", None], ""),
    ],
)
def test_sparklines(values, expected):
    found = [None if value is None else {"value": value} for value in values]
    assert history.sparkline(found) == expected
