"""What holds for every test: notebooks run without network, and without a progress line."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent

# Kernels inherit these. `sitecustomize.py` in that folder closes the network for every Python.
_CLOSED = str(ROOT / "tests" / "no_network")
os.environ["KERASAID_PROGRESS"] = "off"
if _CLOSED not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [_CLOSED, os.environ.get("PYTHONPATH")])
    )
