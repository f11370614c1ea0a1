"""The command line: `kerasaid list | run | report | compare | history | doctor`."""

import argparse
import datetime
import sys
from pathlib import Path

from kerasaid.environment import ROOT
from kerasaid.errors import InputError
from kerasaid.results import as_text

COMPLETE, FAILED, BAD_ARGUMENT, INTERRUPTED = 0, 1, 2, 130


def main(arguments=None):
    """Run one command; return its exit code.

    0: done, also when a claim does not hold; 1: a cell raised, or `doctor` misses something;
    2: a bad argument; 130: interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console may not know ✓
            stream.reconfigure(encoding="utf-8", errors="replace")
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except InputError as error:
        print(f"kerasaid: {error}", file=sys.stderr)
        return BAD_ARGUMENT
    except KeyboardInterrupt:
        print("kerasaid: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `kerasaid list | head`
        sys.stdout = None
        return COMPLETE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"kerasaid: {place}{error.strerror or error}", file=sys.stderr)
        return FAILED


def _parser():
    parser = _Parser(prog="kerasaid", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the notebooks, their times and parameters")
    listing.set_defaults(command=_list)

    run = commands.add_parser("run", help="run one notebook with other parameters")
    run.add_argument("notebook", metavar="NN", help="its number or name, as 01 or mnist_dense")
    _add_values(run)
    run.add_argument("--out", metavar="DIR", help="default: a new folder in reports/")
    run.add_argument("-v", "--verbose", action="store_true", help="log each cell and its text")
    run.set_defaults(command=_run)

    report = commands.add_parser("report", help="run all notebooks, or some, and write a page")
    report.add_argument("notebooks", metavar="NN", nargs="*", help="default: all")
    _add_values(report)
    report.add_argument(
        "--vary",
        metavar="name=a,b,c",
        action="append",
        default=[],
        help="run one notebook with each value; repeated: with each combination",
    )
    report.add_argument("--out", metavar="DIR", help="default: reports/latest, or NN-what-if")
    report.add_argument("--resume", action="store_true", help="keep what is complete there")
    report.add_argument("--jobs", metavar="N", type=_jobs, default=1, help="how many at once")
    report.add_argument("--dask", metavar="tcp://...", help="run on an existing Dask cluster")
    report.add_argument("-v", "--verbose", action="store_true", help="log each cell and its text")
    report.set_defaults(command=_report)

    compare = commands.add_parser("compare", help="runs of one notebook side by side")
    compare.add_argument("runs", metavar="RUN", nargs="+", help="a run's folder or record.json")
    compare.add_argument("--out", metavar="FILE", help="write it as an HTML page too")
    compare.set_defaults(command=_compare)

    history = commands.add_parser("history", help="all recorded runs of a notebook")
    history.add_argument("notebook", metavar="NN", help="its number or name, as 01 or mnist_dense")
    history.add_argument("--in", metavar="DIR", dest="folder", help="default: reports")
    history.add_argument("--out", metavar="FILE", help="write it as an HTML page too")
    history.set_defaults(command=_history)

    doctor = commands.add_parser("doctor", help="what this machine has, and what would fail")
    doctor.set_defaults(command=_doctor)
    return parser


def _add_values(command):
    command.add_argument(
        "-p",
        metavar="name=value",
        action="append",
        default=[],
        dest="parameters",
        help="a parameter; may be repeated (`kerasaid list` shows the names)",
    )
    command.add_argument("-f", metavar="params.yaml", dest="file", help="parameters from a file")
    command.add_argument("--profile", metavar="NAME", help="a set of them, as long")


def _jobs(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expects a whole number from 1, received {text!r}")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message):
        self.exit(BAD_ARGUMENT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _list(options):
    from kerasaid.runs import notebooks

    for notebook in notebooks.all_notebooks():
        seconds = f"{notebook.seconds:.0f} s" if notebook.seconds else "not measured"
        print(f"{notebook.number}  {notebook.title}  ({seconds})")
        for p in notebook.parameters.values():
            comment = f"  # {p.help}" if p.help else ""
            print(f"      {p.name}: {p.type} = {p.default}{comment}")
        for name, values in notebook.profiles.items():
            print(f"      --profile {name}: {_assignments(values)}")
    return COMPLETE


def _run(options):
    from kerasaid.runs import notebooks
    from kerasaid.runs import report as reports
    from kerasaid.runs.screen import Screen

    notebook = notebooks.find(options.notebook)
    values = _values(notebook, options, options.profile)
    folder = _folder(options.out) if options.out else _new_folder(notebook)
    with Screen(options.verbose) as screen:
        plan = reports.Plan(notebook, notebook.slug, folder, values, options.profile)
        record = _interruptible(lambda: reports.run(plan, screen), f"what there is: {folder}")
    if record is None:
        return INTERRUPTED
    if record["error"]:
        print(f"kerasaid: {notebook.slug}: {record['error']}", file=sys.stderr)
    print(_table([record], [notebook.slug]))
    for claim in record["claims"]:
        if not claim["holds"]:
            value = as_text(claim["value"], claim["seeds"], claim["unit"])
            bound = f"{claim['direction'].replace('_', ' ')} {claim['bound']:g}"
            print(f"✗ {claim['statement']} ({value}, {bound})")
    print(folder / f"{notebook.slug}.html")
    return COMPLETE if record["status"] == "complete" else FAILED


def _report(options):
    from contextlib import nullcontext

    from kerasaid.runs import notebooks, vary
    from kerasaid.runs import report as reports
    from kerasaid.runs.screen import Screen

    chosen = [notebooks.find(name) for name in options.notebooks] or notebooks.all_notebooks()
    chosen = list(dict.fromkeys(chosen))
    one_only = [("-p", options.parameters), ("-f", options.file), ("--vary", options.vary)]
    for option, given in one_only:
        if given and len(chosen) != 1:
            raise InputError(f"{option} is for one notebook, received {len(chosen)}: name one.")
    if options.profile and not any(options.profile in each.profiles for each in chosen):
        chosen[0].profile(options.profile)  # says which there are
    folder = _folder(options.out) if options.out else None
    if options.vary:
        folder = folder or ROOT / "reports" / f"{chosen[0].slug}-what-if"
        varied = vary.read(chosen[0], options.vary)
        values = _values(chosen[0], options, options.profile)
        plans = vary.plans(chosen[0], varied, values, folder.absolute(), options.profile)
    else:
        folder = folder or reports.DEFAULT
        plans = []
        for each in chosen:
            # Of several notebooks, those that name the profile use it.
            profile = options.profile if options.profile in each.profiles else None
            values = _values(each, options, profile)
            place = folder.absolute() / each.slug
            plans.append(reports.Plan(each, each.slug, place, values, profile, in_report=True))
    if options.dask:
        from kerasaid.runs.cluster import Cluster

        cluster = Cluster(options.dask)
    else:
        cluster = nullcontext()
    with cluster as cluster, Screen(options.verbose) as screen:
        how = {"jobs": options.jobs, "cluster": cluster, "screen": screen, "resume": options.resume}
        work = lambda: (  # noqa: E731
            vary.report(plans, varied, folder, **how)
            if options.vary
            else reports.report(plans, folder, **how)
        )
        found = _interruptible(work, "go on with the same command and --resume")
    if found is None:
        return INTERRUPTED
    index, records = found
    for record in records:
        if record["error"]:
            print(f"kerasaid: {record['notebook']}: {record['error']}", file=sys.stderr)
    print(_table(records, [plan.label for plan in plans]))
    print(index)
    return COMPLETE if all(r["status"] == "complete" for r in records) else FAILED


def _values(notebook, options, profile):
    """Return a notebook's values: from a profile, then the file, then `-p`; the last one wins."""
    values = dict(notebook.profile(profile)) if profile else {}
    if options.file:
        values.update(notebook.read_file(_folder(options.file)))
    return {**values, **notebook.parse(options.parameters)}


def _interruptible(work, advice):
    """Return what some work returns, or None after saying that it was interrupted."""
    from kerasaid.runs import execute

    try:
        return work()
    except execute.Interrupted as stop:
        print(f"kerasaid: {stop}; {advice}", file=sys.stderr)
        return None


def _assignments(values):
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _compare(options):
    from kerasaid.runs import compare

    runs = [compare.load(path) for path in options.runs]
    sections = compare.compare(runs)
    page = compare.page(runs, sections) if options.out else None
    return _show(compare.as_lines(runs, sections), page, options.out)


def _history(options):
    from kerasaid.runs import history, notebooks

    folder = _folder(options.folder, "--in") if options.folder else ROOT / "reports"
    runs, unreadable = history.find(notebooks.find(options.notebook), folder)
    for line in unreadable:
        print(f"kerasaid: left out: {line}", file=sys.stderr)
    return _show(history.as_lines(runs), history.page(runs) if options.out else None, options.out)


def _show(lines, page, out):
    """Print lines, and write a page where a file for it is named."""
    from kerasaid.runs import record

    print("\n".join(lines))
    if out:
        path = _folder(out)
        if path.is_dir():
            path /= "index.html"
        elif path.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"--out {out}: name a folder that exists or a file ending in .html.")
        try:
            record.write_atomically(path, page)
        except OSError as error:
            raise InputError(f"--out {out} cannot be written: {error.strerror}.") from None
        print(path)
    return COMPLETE


def _doctor(options):
    from kerasaid.runs.doctor import doctor

    return COMPLETE if doctor() else FAILED


def _folder(text, option="--out"):
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~somebody
        raise InputError(f"{option} {text}: there is no such user.") from None


def _new_folder(notebook):
    """Return a folder in `reports/` that no other run has."""
    stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S-%f")
    return ROOT / "reports" / f"{notebook.slug}-{stamp[:-3]}"


def _table(records, labels):
    """Return the lines of label, seconds, peak memory, claims held."""
    rows = [("notebook", "seconds", "peak memory", "claims held")]
    for label, record in zip(labels, records, strict=True):
        held = sum(claim["holds"] for claim in record["claims"])
        rows.append(
            (
                label,
                "–" if record["seconds"] is None else f"{record['seconds']:.1f}",
                "–" if record["peak_memory_mb"] is None else f"{record['peak_memory_mb']} MB",
                f"{held} of {len(record['claims'])}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
