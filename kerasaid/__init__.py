"""What the notebooks share: data, statistics, plots, claims, fast training, and runs.

Import it before Keras, so that TensorFlow starts without printing:

>>> import kerasaid
>>> import keras

Nothing heavy is imported here. `kerasaid.setup`, `kerasaid.require_at_least` and the rooms
(`kerasaid.datasets`, `kerasaid.plots`, ...) load when they are first used.
"""

import importlib

from kerasaid import _quiet

_quiet.install()

_NAMES = {
    "setup": "environment",
    "require_at_least": "errors",
    "InputError": "errors",
}
_ROOMS = (
    "datasets",
    "environment",
    "errors",
    "exercises",
    "generation",
    "grammar",
    "language_models",
    "layers",
    "plots",
    "progress",
    "results",
    "runs",
    "statistics",
    "sweeps",
    "text",
    "training",
    "transformers",
)

__all__ = [*_NAMES, *_ROOMS]


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(f"kerasaid.{_NAMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"kerasaid.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("kerasaid")
    raise AttributeError(f"module 'kerasaid' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
