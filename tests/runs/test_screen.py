import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kerasaid.runs.screen import Screen, seconds_left


def test_time_left_follows_the_pace_of_what_is_done():
    expected = {"a": 9.0, "b": 10.0, "c": 20.0}
    assert seconds_left(expected, [], ("a", 0.0), 0.0) == pytest.approx(39)
    assert seconds_left(expected, ["a"], ("b", 0.0), 9.0) == pytest.approx(30)
    assert seconds_left(expected, ["a"], ("b", 4.0), 23.0) == pytest.approx(2 * 30 - 4)
    assert seconds_left(expected, ["a", "b"], ("c", 99.0), 118.0) == 0.0
    assert seconds_left(expected, [], ("new", 5.0), 5.0) == pytest.approx(39)


def test_the_log_names_each_cell_and_shows_its_text(capsys):
    cells = [new_markdown_cell("# T\n\n## Part [bold]"), new_code_cell("fit()\nx"), new_code_cell()]
    with Screen(verbose=True, live=False) as screen:
        line = screen.line("01")
        line.begin(new_notebook(cells=cells))
        line.cell(0)
        line.cell_done(0)
        line.cell(1)
        line.output(new_output("stream", text="one\ntw"))
        line.output(new_output("stream", text="\x1b[31mo\x1b[0m\nend"))
        line.output(new_output("display_data", {"text/plain": "✓ it"}))
        line.output(new_output("error", ename="E", evalue="bad", traceback=[]))
        line.cell_done(1)
        line.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    *lines, seconds = captured.err.splitlines()
    assert lines == [
        "01 [1/2] Part [bold] · fit()",
        *("01     one", "01     two", "01     end✓ it", "01     E: bad"),
    ]
    assert seconds.endswith(" s")


def test_without_v_nothing_is_logged(capsys):
    with Screen(live=False) as screen:
        line = screen.line("01")
        line.begin(new_notebook(cells=[new_code_cell("1")]))
        line.cell(0)
        assert line.note.startswith("cell 1 of 1")
        line.cell_done(0)
        line.close()
    assert capsys.readouterr() == ("", "")


def test_time_left_is_told_by_cells_or_by_the_whole(capsys):
    with Screen(live=False) as screen:
        for expected, seconds, text in (({"x": 30.0}, None, "30 s"), (None, 60, "60 s")):
            line = screen.line("01", expected, seconds)
            line.begin(new_notebook(cells=[new_code_cell("1", id="x")]))
            line.cell(0)
            assert line.note.endswith(f"about {text} left")
