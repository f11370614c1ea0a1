import json
import signal
import time

import nbformat
import papermill
import psutil
import pytest

from conftest import write_notebook
from kerasaid.errors import InputError
from kerasaid.runs import engine, execute, notebooks, record, refresh

KEYS = {
    "python",
    "keras",
    "backend",
    "tensorflow",
    "numpy",
    "cpu",
    "threads",
    "commit",
}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def sources():
    """The bytes of the real notebooks, which no run may touch."""
    before = {path: path.read_bytes() for path in notebooks.FOLDER.rglob("*.ipynb")}
    yield
    assert {path: path.read_bytes() for path in notebooks.FOLDER.rglob("*.ipynb")} == before


def test_a_run_leaves_record_notebook_and_page(collection, tmp_path, sources):
    before = (collection / "00_tiny.ipynb").read_bytes()
    folder = tmp_path / "a b" / "ü"
    found = execute.run(notebooks.find("00"), {"epochs": 1}, folder)
    assert files(folder) == ["00_tiny.html", "00_tiny.ipynb", "record.json"]
    assert json.loads((folder / "record.json").read_text()) == found
    assert found["status"] == "complete" and found["error"] is None
    assert found["parameters"] == {"epochs": 1}
    assert found["seconds"] > 0 and found["peak_memory_mb"] > 10
    assert set(found["environment"]) == KEYS
    assert found["metrics"] == [
        {"name": "accuracy", "value": 0.6, "unit": "%", "seeds": [0.5, 0.7]}
    ]
    (claim,) = found["claims"]
    assert (claim["statement"], claim["value"], claim["bound"]) == ("it is large", 0.6, 0.6)
    assert claim["holds"] is True and claim["margin"] == 0
    assert (collection / "00_tiny.ipynb").read_bytes() == before


def test_an_unsolved_exercise_does_not_stop_a_run(collection, tmp_path):
    execute.run(notebooks.find("00"), {}, tmp_path / "out")
    node = nbformat.read(tmp_path / "out" / "00_tiny.ipynb", as_version=4)
    texts = [o.text for c in node.cells if c.cell_type == "code" for o in c.outputs if "text" in o]
    assert texts[-2:] == ["✗ solved: think\n", "after the exercise\n"]


def test_a_cell_that_raises_makes_a_failed_record(collection, tmp_path):
    found = execute.run(notebooks.find("01"), {}, tmp_path)
    assert found["status"] == "failed"
    assert found["error"] == "code cell 3 of 4: ZeroDivisionError: division by zero"
    assert record.read(tmp_path) == found
    node = nbformat.read(tmp_path / "01_broken.ipynb", as_version=4)
    assert any("before" in o.get("text", "") for c in node.cells for o in c.get("outputs", []))


def test_cells_do_not_wait_for_the_file_to_be_saved(collection, tmp_path, monkeypatch):
    """papermill saves before and after each cell, which costs seconds where there are figures."""
    saved, save = [], papermill.engines.NotebookExecutionManager.save

    def counted(manager, **options):
        saved.append(sum(bool(cell.get("outputs")) for cell in manager.nb.cells))
        save(manager, **options)

    monkeypatch.setattr(papermill.engines.NotebookExecutionManager, "save", counted)
    monkeypatch.setattr(engine, "SAVE_EVERY", 1000.0)
    found = execute.run(notebooks.find("01"), {}, tmp_path)
    assert len(saved) <= 3  # at the start, and at the end of a notebook that failed
    assert saved[-1] > 0 and found["status"] == "failed"


def test_a_kernel_that_dies_makes_a_failed_record(collection, tmp_path):
    found = execute.run(notebooks.find("03"), {}, tmp_path)
    assert found["status"] == "failed"
    assert "the kernel died" in found["error"]


def test_a_refused_parameter_leaves_nothing_behind(collection, tmp_path):
    with pytest.raises(InputError, match=r"epochs must be at least 1, received 0\.$"):
        execute.run(notebooks.find("00"), {"epochs": 0}, tmp_path / "new" / "out")
    assert files(tmp_path) == ["notebooks"]


def test_a_refused_parameter_leaves_an_earlier_run_as_it_was(collection, tmp_path):
    folder = tmp_path / "out"
    execute.run(notebooks.find("00"), {}, folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError):
        execute.run(notebooks.find("00"), {"epochs": -1}, folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_among_the_sources_is_refused(collection):
    for folder in (collection, collection / "solutions"):
        with pytest.raises(InputError, match="lies among the sources"):
            execute.run(notebooks.find("00"), {}, folder)


def test_a_folder_that_cannot_be_written_is_refused(collection, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        execute.run(notebooks.find("00"), {}, tmp_path / "file" / "out")
    assert files(tmp_path) == ["file", "notebooks"]


def wait_for(condition, seconds=60, pause=0.1):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause)


def started(folder):
    """Whether the slow notebook has passed the cell that prints, and now sleeps."""
    for path in folder.glob(".running-*/*.ipynb"):
        try:
            cells = json.loads(path.read_text("utf-8"))["cells"]
        except ValueError:  # just being written
            continue
        return any(cell.get("outputs") for cell in cells)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so(command, tmp_path, number):
    folder = tmp_path / "out"
    process = command("run", "02", "--out", folder)
    wait_for(lambda: started(folder))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().count("\n") == 0 and "02_slow: interrupted in code cell 3 of 3" in err
    assert record.read(folder)["status"] == "interrupted"
    assert files(folder) == ["02_slow.html", "02_slow.ipynb", "record.json"]


@pytest.mark.parametrize("delay", [0, 0.03, 0.1, 0.3])  # importing, waiting, starting a kernel
def test_a_run_interrupted_before_its_kernel_starts_stops_too(command, tmp_path, delay):
    folder = tmp_path / "out"
    process = command("run", "02", "--out", folder)
    wait_for(lambda: (folder / "record.json").exists(), pause=0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - begun < 30
    assert err.count("\n") == 1 and "interrupted" in err
    found = record.read(folder)
    assert found["status"] == "interrupted" and found["metrics"] == []


def test_a_run_that_never_started_reports_no_stored_results(collection, tmp_path, monkeypatch):
    refresh.refresh(collection / "00_tiny.ipynb")  # now the source holds outputs

    def broken(*arguments):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(engine, "execute", broken)
    found = execute.run(notebooks.find("00"), {}, tmp_path / "out")
    assert found["status"] == "failed" and "no kernel" in found["error"]
    assert found["metrics"] == found["claims"] == []


def test_braces_and_quotes_in_a_path_are_only_letters(collection, tmp_path):
    folder = tmp_path / "a{b}' \"c"
    found = execute.run(notebooks.find("00"), {"epochs": 1, "data": "ü {x} 'y'"}, folder)
    assert found["status"] == "complete"
    assert files(folder) == ["00_tiny.html", "00_tiny.ipynb", "record.json"]


def test_a_killed_run_leaves_a_whole_record_that_says_interrupted(command, tmp_path):
    folder = tmp_path / "out"
    process = command("run", "02", "--out", folder)
    wait_for(lambda: started(folder))
    process.kill()
    process.communicate()
    found = json.loads((folder / "record.json").read_text())
    assert found["status"] == "interrupted" and found["notebook"] == "02_slow"


def test_a_killed_parent_leaves_no_kernel_and_no_lock(command, tmp_path):
    folder = tmp_path / "out"
    process = command("run", "02", "--out", folder)
    wait_for(lambda: started(folder))
    kernels = psutil.Process(process.pid).children(recursive=True)
    assert kernels
    process.kill()
    process.communicate()
    wait_for(lambda: not any(kernel.is_running() for kernel in kernels))
    assert execute.run(notebooks.find("00"), {}, folder)["status"] == "complete"
    assert not [name for name in files(folder) if name.startswith(".")]  # of the killed one


def test_two_runs_do_not_mix_in_one_folder(command, collection, tmp_path):
    folder = tmp_path / "out"
    process = command("run", "02", "--out", folder)
    wait_for(lambda: started(folder))
    before = files(folder)
    with pytest.raises(InputError, match="another run writes into"):
        execute.run(notebooks.find("00"), {}, folder)
    assert files(folder) == before
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert files(folder) == ["02_slow.html", "02_slow.ipynb", "record.json"]


def test_a_refused_parameter_leaves_also_a_damaged_record_as_it_was(collection, tmp_path):
    (tmp_path / "record.json").write_bytes(b'{"status": \xff')
    with pytest.raises(InputError):
        execute.run(notebooks.find("00"), {"epochs": -1}, tmp_path)
    assert (tmp_path / "record.json").read_bytes() == b'{"status": \xff'


def test_a_full_disk_leaves_a_record_that_says_interrupted(collection, tmp_path, monkeypatch):
    write = record.write_atomically

    def full(path, text):
        if path.suffix == ".html":
            raise OSError(28, "No space left on device", str(path))
        write(path, text)

    monkeypatch.setattr(record, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        execute.run(notebooks.find("00"), {}, tmp_path / "out")
    assert record.read(tmp_path / "out")["status"] == "interrupted"
    assert files(tmp_path / "out") == ["00_tiny.ipynb", "record.json"]


@pytest.fixture
def drawing(collection):
    """A notebook with a figure of `plots.show`, one of another kind, and a profile."""
    write_notebook(
        collection,
        "04_drawing",
        """
        from kerasaid import plots
        from kerasaid.results import show
        from matplotlib.figure import Figure
        plots.show(Figure().subplots(), alt="An empty picture.")
        """,
        "show('A dot.', {'figure': 1}, png=b'\\x89PNG')",
        parameters="epochs: int = 2  # passes\n# profile long: epochs=9",
    )
    return notebooks.find("04")


def test_figures_and_seconds_by_cell_are_kept(drawing, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "01-of-an-earlier-run.png").write_bytes(b"")
    found = execute.run(drawing, {}, tmp_path, profile="long")
    assert found["status"] == "complete", found["error"]
    first, second = found["figures"]
    cells = [cell.id for cell in drawing.node.cells if cell.cell_type == "code"]
    assert first == {
        "png": f"figures/01-{cells[1]}.png",
        "svg": f"figures/01-{cells[1]}.svg",
        "alt": "An empty picture.",
    }
    assert second == {"png": f"figures/02-{cells[2]}.png", "svg": None, "alt": "A dot."}
    assert len(files(tmp_path / "figures")) == 3
    assert "<svg" in (tmp_path / first["svg"]).read_text("utf-8")
    assert (tmp_path / first["png"]).read_bytes().startswith(b"\x89PNG")
    assert [cell["id"] for cell in found["cells"]] == cells
    assert all(cell["seconds"] >= 0 for cell in found["cells"])
    assert found["version"] == record.VERSION and found["profile"] == "long"
    node = nbformat.read(tmp_path / "04_drawing.ipynb", as_version=4)
    assert node.cells[2].outputs[0].metadata["kerasaid"]["svg"] == first["svg"]


def test_the_share_of_threads_reaches_the_kernel(collection, tmp_path):
    names = ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"]
    write_notebook(collection, "04_env", f"import os\nprint([os.environ[n] for n in {names}])")
    control = execute.Control(threads=3)
    found = execute.run(notebooks.find("04"), {}, tmp_path, control=control)
    assert found["environment"]["threads"] == 3
    assert "['3', '3', '3']" in (tmp_path / "04_env.ipynb").read_text("utf-8")
