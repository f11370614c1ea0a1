"""Several runs, one folder each, and the page over them."""

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import nbformat

from kerasaid import environment
from kerasaid.environment import ROOT
from kerasaid.errors import InputError
from kerasaid.runs import execute, pages, record
from kerasaid.runs.notebooks import Notebook
from kerasaid.runs.screen import Screen

DEFAULT = ROOT / "reports" / "latest"


@dataclass(frozen=True, eq=False)
class Plan:
    """One run that is wanted.

    Args:
        notebook: the notebook.
        label: what the run is called on the screen.
        place: the run's folder.
        parameters: values by name; those of the profile included.
        profile: the name of the profile that they began with, or None.
        in_report: link the page to the index page in the folder above.
    """

    notebook: Notebook
    label: str
    place: Path
    parameters: dict
    profile: str | None = None
    in_report: bool = False


def run(plan, screen):
    """Carry out one run; return its record. Errors are those of `kerasaid.runs.execute.run`."""
    watch = screen.line(plan.label, _expected(plan), plan.notebook.seconds)
    return execute.run(
        plan.notebook,
        plan.parameters,
        plan.place,
        plan.profile,
        plan.in_report,
        execute.Control(watch),
    )


def report(plans, folder, resume=False, jobs=1, cluster=None, screen=None, say=print):
    """Carry out runs and write `index.html` over them.

    Args:
        plans: a list of `Plan`, whose places lie in the folder.
        folder: where the report goes.
        resume: keep the runs in it that are complete and would come out the same.
        jobs: how many run at once; they share the processors.
        cluster: a `kerasaid.runs.cluster.Cluster` that runs them instead of this machine.
        screen: a `Screen`, for progress and log.
        say: called with each line of text for the person who waits.

    Returns:
        (path of the index page, list of records).

    Raises:
        InputError: when a folder cannot be used, or a notebook refuses its parameters.
        Interrupted: after the page has been written with what there is.
    """

    def index(entries):
        record.write_atomically(folder / "index.html", pages.index_page(entries))

    with execute.writing_into(folder) as folder:
        entries = carry_out(plans, index, resume, jobs, cluster, screen, say)
    return folder / "index.html", [entry for entry, _ in entries]


def carry_out(plans, conclude, resume=False, jobs=1, cluster=None, screen=None, say=print):
    """Carry out runs; arguments and errors are those of `report`.

    Args:
        conclude: called at the end with the list of (record, notebook), in the order of the
            plans, also when not all could be carried out.

    Returns:
        The list of (record, notebook); a notebook may be None.
    """
    entries = {}
    problem = None
    waiting = []
    for plan in plans:
        entry = record.read(plan.place) if resume else None
        reason = _why_again(entry, plan) if resume else None
        if resume and reason is None:
            say(f"{plan.label}: kept, complete already")
            entries[plan] = entry
        else:
            if reason:
                say(f"{plan.label}: runs again, {reason}")
            waiting.append(plan)
    jobs = cluster.slots if cluster else min(jobs, max(1, len(waiting)))
    threads = max(1, environment.usable_threads() // jobs) if jobs > 1 else None
    with (
        execute.stop_requests() as stop,
        screen or nullcontext(Screen(live=False)) as screen,
        ThreadPoolExecutor(jobs) as pool,
    ):
        halt = threading.Event()  # no further run begins

        def carry(plan):
            if halt.is_set() or stop.is_set():
                return None
            watch = screen.line(plan.label, _expected(plan), plan.notebook.seconds)
            control = execute.Control(watch, stop, threads)
            run = cluster.run if cluster else execute.run
            return run(
                plan.notebook, plan.parameters, plan.place, plan.profile, plan.in_report, control
            )

        running = {pool.submit(carry, plan): plan for plan in waiting}
        while running:
            # Woken up now and then: only then does this thread, the main one, hear Ctrl-C.
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                plan = running.pop(future)
                failure = future.exception()
                if isinstance(failure, execute.Interrupted):
                    problem = problem or failure
                elif failure is not None:
                    halt.set()
                    problem = failure if problem is None else problem
                if isinstance(failure, InputError):  # what is there is of an earlier run
                    continue
                entry = record.read(plan.place) if failure else future.result()
                if entry is None:  # it never began
                    continue
                entries[plan] = entry
                if failure is None:
                    took = f" in {entry['seconds']:.0f} s" if entry["seconds"] else ""
                    say(f"{plan.label}: {entry['status']}{took}")
    if stop.is_set() and problem is None and len(entries) < len(plans):
        problem = execute.Interrupted("interrupted")
    found = [(entries[plan], _read_node(plan)) for plan in plans if plan in entries]
    try:
        if found:
            conclude(found)
    except OSError:
        if problem is None:
            raise
    if problem is not None:
        raise problem
    return found


def _why_again(entry, plan):
    """Return in words why a run cannot be kept; None where it can, "" where there is none yet."""
    place, slug = plan.place, plan.notebook.slug
    if entry is None:
        return f"{record.NAME} is damaged" if (place / record.NAME).exists() else ""
    if entry["version"] != record.VERSION:
        return f"its record is of version {entry['version']}, not {record.VERSION}"
    if entry["status"] != "complete":
        return f"it was {entry['status']}"
    if entry["parameters"] != plan.parameters:
        return "its parameters were others"
    here = environment.describe()
    for key in ("python", "keras", "backend", "tensorflow", "numpy", "commit"):
        if entry["environment"].get(key) != here[key]:
            return f"its {key} was {entry['environment'].get(key)}, here it is {here[key]}"
    if entry["source_sha256"] != execute.source_hash(plan.notebook):
        return "the notebook has changed"
    names = [f"{slug}.ipynb", f"{slug}.html"]
    names += [figure[kind] for figure in entry["figures"] or [] for kind in ("png", "svg")]
    missing = [name for name in names if name and not (place / name).exists()]
    return f"{missing[0]} is missing" if missing else None


def _expected(plan):
    """Return seconds by cell id, as an earlier run of the notebook took them."""
    for place in (plan.place, DEFAULT / plan.notebook.slug):
        entry = record.read(place)
        if entry and entry["notebook"] == plan.notebook.slug and entry["status"] == "complete":
            return {cell["id"]: cell["seconds"] for cell in entry["cells"]}
    return None


def _read_node(plan):
    try:
        return nbformat.read(plan.place / f"{plan.notebook.slug}.ipynb", as_version=4)
    except Exception:  # damaged: the page goes without its figures
        return None
