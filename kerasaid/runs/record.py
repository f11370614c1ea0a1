"""What a run leaves for a program to read: `record.json`."""

import json
import os
import tempfile
from pathlib import Path

from kerasaid.results import finite

NAME = "record.json"

KEYS = {
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
    """Return the record of a run folder, or None where there is none that can be read."""
    try:
        found = json.loads((Path(folder) / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.keys() >= KEYS
    return found if whole else None


def write_atomically(path, text):
    """Write a UTF-8 text file beside its place and move it there in one step."""
    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes it private; a report is not
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
