"""Keeps TensorFlow's start-up lines off stderr.

TensorFlow 2.21 writes about oneDNN, CUDA and CPU instructions from C++ while it is imported,
before any log level is read, so `TF_CPP_MIN_LOG_LEVEL` cannot stop those lines. Here file
descriptor 2 is held back during that one import; every line that is not a start-up line is then
passed on. oneDNN stays on. What TensorFlow's C++ code writes later is limited to fatal errors;
set `TF_CPP_MIN_LOG_LEVEL` yourself to see more.
"""

import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile
from contextlib import contextmanager, suppress

_STARTUP_LINE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|I\d{4} .*(port|cudart_stub|cpu_feature_guard|computation_placer)\.cc:\d+\]"
    rb"|To enable the following instructions: "
)


@contextmanager
def hold_back_startup_lines():
    """Pass on what is written to file descriptor 2 at the end, less the start-up lines."""
    try:
        held = tempfile.TemporaryFile()  # noqa: SIM115, closed below
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, AttributeError):  # no temporary folder, or no stderr, as under pythonw
        yield
        return
    with held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not _STARTUP_LINE.match(line):
                    os.write(2, line)


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Wraps the first import of `tensorflow`, whoever asks for it, then steps aside."""

    searching = False

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow" or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module):
                with suppress(ValueError):
                    sys.meta_path.remove(self)
                with hold_back_startup_lines():
                    execute(module)

            spec.loader.exec_module = execute_quietly
        return spec


def install():
    """Make TensorFlow's import quiet; a level that the user has set stays."""
    # Level 3 hides "failed call to cuInit" on machines without a GPU; errors still raise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    finders = sys.meta_path
    if "tensorflow" not in sys.modules and not any(
        isinstance(f, _QuietTensorFlow) for f in finders
    ):
        finders.insert(0, _QuietTensorFlow())
