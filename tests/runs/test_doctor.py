import pytest

from kerasaid import datasets
from kerasaid.runs import doctor


@pytest.fixture
def quick(monkeypatch):
    """Without starting Keras in a process of its own."""
    monkeypatch.setattr(doctor, "_backend", lambda: (True, "Keras starts", ""))


def test_here_everything_is_there(capsys):
    assert doctor.doctor() is True
    out = capsys.readouterr().out
    assert out.count("✓") == 8 and "✗" not in out
    assert "Keras starts on tensorflow" in out and out.endswith("everything is here\n")


def test_another_version_than_the_lock_is_named(quick, monkeypatch, capsys):
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda n: "1.0" if n == "keras" else real(n))
    assert doctor.doctor() is False
    assert "✗ packages differ: keras 1.0 (lock: 3.15.1); run: make setup" in capsys.readouterr().out


def test_damaged_data_is_named(quick, monkeypatch, capsys, tmp_path):
    manifest = datasets.manifest()
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    monkeypatch.setattr(datasets, "manifest", lambda: manifest)
    assert doctor.doctor() is False
    assert "restore it with: git checkout -- data/mnist.npz" in capsys.readouterr().out


def test_too_little_memory_is_named(quick, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_MEMORY_GB", 1e6)
    assert doctor.doctor() is False
    assert "close other programs" in capsys.readouterr().out


def test_a_keras_that_does_not_start_is_named(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "nonsense")
    good, line, mend = doctor._backend()
    assert not good and "nonsense" in line and mend == "run: make setup"


def test_the_command_exits_1_when_something_is_missing(monkeypatch):
    from kerasaid.runs.__main__ import main

    monkeypatch.setattr(doctor, "doctor", lambda: False)
    assert main(["doctor"]) == 1
    monkeypatch.setattr(doctor, "doctor", lambda: True)
    assert main(["doctor"]) == 0
