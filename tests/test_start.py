"""Importing kerasaid: quick, silent, and without hiding what matters."""

import os
import subprocess
import sys

import pytest


def python(code, **environment):
    """Run code in a new Python; return (stdout, stderr)."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**kept, **environment}
    )
    return answer.stdout, answer.stderr


def test_stderr_is_empty_and_onednn_stays_on():
    out, err = python(
        "import kerasaid, keras, os; keras.ops.ones(3) + 1;"
        "from tensorflow.python.util import _pywrap_util_port as port;"
        "print('TF_ENABLE_ONEDNN_OPTS' in os.environ, port.IsMklEnabled())"
    )
    assert err == ""
    assert out.split()[0] == "False"


def test_without_kerasaid_tensorflow_is_not_silent():
    """Else the test above would test nothing."""
    _, err = python("import tensorflow")
    assert "oneDNN" in err


def test_importing_kerasaid_does_not_import_keras_or_a_backend():
    out, _ = python(
        "import sys, kerasaid, kerasaid.results, kerasaid.datasets;"
        "print([m for m in ('keras', 'tensorflow', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_other_lines_on_stderr_are_passed_on():
    _, err = python(
        "import os, kerasaid._quiet as q\n"
        "with q.hold_back_startup_lines():\n"
        "    os.write(2, b'I0000 00:00:1.2    3 port.cc:153] oneDNN is on.\\n')\n"
        "    os.write(2, b'E0000 something broke\\n')\n"
    )
    assert err == "E0000 something broke\n"


def test_looking_for_tensorflow_first_changes_nothing():
    _, err = python(
        "import kerasaid, importlib.util; importlib.util.find_spec('tensorflow'); import tensorflow"
    )
    assert err == ""


def test_lines_held_back_are_passed_on_when_the_import_fails():
    _, err = python(
        "import os, kerasaid._quiet as q\n"
        "with q.hold_back_startup_lines():\n"
        "    os.write(2, b'the reason\\n'); raise RuntimeError('stop')\n"
    )
    assert err.startswith("the reason\n") and "RuntimeError: stop" in err


def test_a_log_level_of_ones_own_stays():
    out, _ = python("import kerasaid, os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])",
                    TF_CPP_MIN_LOG_LEVEL="0")  # fmt: skip
    assert out.strip() == "0"


@pytest.mark.parametrize("name", ["datasets", "results", "setup", "__version__"])
def test_the_rooms_are_attributes(name):
    import kerasaid

    assert getattr(kerasaid, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'cellar'"):
        _ = kerasaid.cellar


def test_setup_seeds_and_shows_versions(capsys):
    import keras
    import numpy as np

    import kerasaid

    draws = []
    for seed in (7, 7, 8):
        kerasaid.setup(seed=seed)
        draws.append((float(keras.random.uniform(())), float(np.random.rand())))  # noqa: NPY002
    assert draws[0] == draws[1] != draws[2]
    assert f"Keras {keras.__version__}" in capsys.readouterr().out


@pytest.mark.parametrize("value", [0, -3, 2.0, "5", True, None])
def test_a_parameter_below_its_minimum_is_named(value):
    import kerasaid

    kerasaid.require_at_least(1, epochs=1, units=128)
    with pytest.raises(kerasaid.InputError, match=f"epochs must be .* 1, received {value!r}"):
        kerasaid.require_at_least(1, units=3, epochs=value)


@pytest.mark.parametrize(("limit", "told"), [("1", "1 thread,"), ("4096", " threads,")])
def test_setup_tells_the_threads_that_tensorflow_may_use(limit, told):
    out, err = python("import kerasaid; kerasaid.setup()", TF_NUM_INTRAOP_THREADS=limit)
    assert told in out and "4096" not in out, err
