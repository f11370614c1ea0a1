"""Several runs, one folder each, and the page over them."""

from pathlib import Path

import nbformat

from kerasaid import environment
from kerasaid.environment import ROOT
from kerasaid.runs import execute, pages, record

DEFAULT = ROOT / "reports" / "latest"


def report(notebooks, folder=DEFAULT, resume=False, say=print):
    """Run notebooks one after another and write `index.html`.

    Args:
        notebooks: the notebooks to run.
        folder: where the report goes, one folder a notebook in it.
        resume: keep the runs in it that are complete and whose source has not changed.
        say: called with each line of text for the person who waits.

    Returns:
        (path of the index page, list of records).

    Raises:
        InputError: when the folder cannot be used.
        Interrupted: after the page has been written with what there is.
    """
    folder = Path(folder).absolute()
    entries = []
    try:
        for notebook in notebooks:
            place = folder / notebook.slug
            entry = record.read(place) if resume else None
            if _is_done(entry, notebook, place):
                say(f"{notebook.slug}: kept, complete already")
            else:
                entry = execute.run(notebook, {}, place, in_report=True)
                say(f"{notebook.slug}: {entry['status']} in {entry['seconds']:.0f} s")
            entries.append((entry, _read_node(place, notebook)))
    except (execute.Interrupted, KeyboardInterrupt) as stop:
        entry = record.read(place)
        if entry is not None:
            entries.append((entry, _read_node(place, notebook)))
        raise execute.Interrupted(str(stop) or f"{notebook.slug}: interrupted") from None
    finally:
        if entries:
            record.write_atomically(folder / "index.html", pages.index_page(entries))
    return folder / "index.html", [entry for entry, _ in entries]


def _is_done(entry, notebook, place):
    """Whether a run can be kept: whole, with no parameters, of this source and environment."""
    if entry is None or entry["status"] != "complete" or entry["parameters"]:
        return False
    here = environment.describe()
    same = all(entry["environment"].get(key) == here[key] for key in ("keras", "numpy", "commit"))
    files = [place / f"{notebook.slug}{ending}" for ending in (".ipynb", ".html")]
    return (
        same
        and all(path.exists() for path in files)
        and entry["source_sha256"] == execute.source_hash(notebook)
    )


def _read_node(place, notebook):
    try:
        return nbformat.read(place / f"{notebook.slug}.ipynb", as_version=4)
    except Exception:  # damaged: the page goes without its figures
        return None
