import sys

import pytest
from test_execute import files

from conftest import write_notebook
from kerasaid.runs import record
from kerasaid.runs.__main__ import main


def test_without_distributed_it_says_what_to_install(collection, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["report", "00", "--dask", "tcp://127.0.0.1:1", "--out", str(tmp_path / "o")]) == 2
    assert 'run: pip install -e ".[dask]"' in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.fixture
def cluster():
    """A scheduler and two workers on the loopback, in this process."""
    distributed = pytest.importorskip(
        "distributed", reason='needs the extra dask: pip install -e ".[dask]"'
    )
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None,
        protocol="tcp", host="127.0.0.1",
    ) as found:  # fmt: skip
        yield found.scheduler_address


def test_runs_on_a_cluster_come_back_with_their_files(cluster, collection, tmp_path, capsys):
    write_notebook(
        collection,
        "04_drawing",
        "from kerasaid.results import show\nshow('A dot.', {'figure': 1}, png=b'\\x89PNG')",
    )
    out = tmp_path / "out"
    arguments = ["report", "04", "--vary", "epochs=1,2", "--dask", cluster, "--out", str(out)]
    assert main(arguments) == 0
    assert files(out) == ["epochs-1", "epochs-2", "index.html"]
    for number in (1, 2):
        place = out / f"epochs-{number}"
        assert files(place) == ["04_drawing.html", "04_drawing.ipynb", "figures", "record.json"]
        found = record.read(place)
        assert found["status"] == "complete" and found["parameters"] == {"epochs": number}
        assert (place / found["figures"][0]["png"]).exists()
    capsys.readouterr()
    assert main([*arguments, "--resume"]) == 0
    assert capsys.readouterr().out.count("kept, complete already") == 2


def test_a_worker_with_another_commit_is_named(cluster, collection, tmp_path, capsys, monkeypatch):
    from kerasaid.runs import cluster as clusters

    found = clusters.describe_project()
    commits = iter("aab")  # of the two workers, then of this side
    monkeypatch.setattr(clusters, "describe_project", lambda: {**found, "commit": next(commits)})
    assert main(["report", "00", "--dask", cluster, "--out", str(tmp_path / "o")]) == 2
    err = capsys.readouterr().err
    assert "the worker tcp://127.0.0.1" in err and "another commit: a, here it is b" in err


def test_a_refused_parameter_leaves_nothing(cluster, collection, tmp_path, capsys):
    out = str(tmp_path / "o")
    assert main(["report", "00", "-p", "epochs=0", "--dask", cluster, "--out", out]) == 2
    assert "epochs must be at least 1, received 0" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_scheduler_that_does_not_answer_is_named(collection, tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed", reason='needs the extra dask: pip install -e ".[dask]"')
    monkeypatch.setattr("kerasaid.runs.cluster._CONNECT", 1)
    assert main(["report", "00", "--dask", "tcp://127.0.0.1:1", "--out", str(tmp_path / "o")]) == 2
    err = capsys.readouterr().err
    assert "--dask tcp://127.0.0.1:1: no scheduler answers" in err and err.count("\n") == 1
