"""What a run leaves for a program to read: `record.json`.

| key | holds |
|---|---|
| `version` | the form of the record: 2 |
| `notebook`, `title` | the notebook's slug, as `01_mnist_dense`, and its title |
| `parameters` | the values that differ from the notebook's own, by name; a profile's included |
| `profile` | the name of the profile they began with, or null |
| `source_sha256` | of the notebook's source cells |
| `started` | when, in UTC, as `2026-01-31T12:00:00+00:00` |
| `seconds`, `peak_memory_mb` | of the whole run; null while it runs, and after it was killed |
| `environment` | python, keras, backend, tensorflow, numpy, cpu, threads, commit |
| `status` | `complete`, `failed` or `interrupted`; the last one also while it runs |
| `error` | where and why it failed, a line; null otherwise |
| `metrics` | a list of name, value, unit, seeds (one value for each, or null) |
| `claims` | a list of statement, value, unit, seeds, bound, direction, margin, margin_unit, holds |
| `cells` | a list of id and seconds, one for each code cell that was executed |
| `figures` | a list of png, svg (paths in the run's folder; svg may be null) and alt |

A claim's direction is `at_least` or `at_most`, its margin_unit a unit or `sd`: standard deviations.
nan and infinity are the texts `"nan"`, `"inf"` and `"-inf"`. Version 1, of records without the key
`version`, had no profile, cells and figures: `read` gives such a record null and empty lists for
them, and leaves the file as it is.
"""

import json
import os
import tempfile
from pathlib import Path

from kerasaid.results import finite

NAME = "record.json"
VERSION = 2

_UMASK = os.umask(0)  # it can be read by setting it only; once, before there are threads
os.umask(_UMASK)

KEYS = {  # of every version
    *("notebook", "title", "parameters", "source_sha256", "started", "seconds", "peak_memory_mb"),
    *("environment", "status", "error", "metrics", "claims"),
}


def results_of(node):
    """Return (metrics, claims, environment) that an executed notebook holds.

    They stand in the outputs' metadata, where `kerasaid.results` and `kerasaid.setup` put them.
    """
    metrics, claims, environment = [], [], None
    for cell in node.cells:
        for output in cell.get("outputs", []):
            record = output.get("metadata", {}).get("kerasaid", {})
            if "metric" in record:
                metrics.append(dict(record["metric"]))
            if "claim" in record:
                claims.append(dict(record["claim"]))
            environment = record.get("environment", environment)
    return metrics, claims, environment


def write(folder, record):
    """Write `record.json` so that a reader finds the old one or the new one, never a part."""
    write_atomically(Path(folder) / NAME, json.dumps(finite(record), indent=2) + "\n")


def read(folder):
    """Return the record of a run folder, or None where there is none that can be read.

    One of an older version is given the keys that it lacks; its `version` says what it was.
    """
    try:
        found = json.loads((Path(folder) / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found.keys() >= KEYS:
        return None
    return {"version": 1, "profile": None, "cells": [], "figures": [], **found}


def write_atomically(path, text):
    """Write a file beside its place and move it there in one step; text becomes UTF-8.

    Raises:
        OSError: as when the disk is full; it names the file, which is as it was before.
    """
    path = Path(path)
    try:
        _write_beside(path, text)
    except OSError as error:  # a full disk names no file by itself
        raise OSError(error.errno, error.strerror, str(path)) from None


def _write_beside(path, text):
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text if isinstance(text, bytes) else text.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)  # mkstemp makes it private; a report is not
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
