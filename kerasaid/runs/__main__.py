"""The command line: `kerasaid list | run | report | doctor`."""

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
        print(f"kerasaid: {error}", file=sys.stderr)
        return FAILED


def _parser():
    parser = _Parser(prog="kerasaid", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the notebooks, their times and parameters")
    listing.set_defaults(command=_list)

    run = commands.add_parser("run", help="run one notebook with other parameters")
    run.add_argument("notebook", metavar="NN", help="its number or name, as 01 or mnist_dense")
    run.add_argument(
        "-p",
        metavar="name=value",
        action="append",
        default=[],
        dest="parameters",
        help="a parameter; may be repeated (`kerasaid list` shows the names)",
    )
    run.add_argument("--out", metavar="DIR", help="default: a new folder in reports/")
    run.set_defaults(command=_run)

    report = commands.add_parser("report", help="run all notebooks, or some, and write a page")
    report.add_argument("notebooks", metavar="NN", nargs="*", help="default: all")
    report.add_argument("--out", metavar="DIR", help="default: reports/latest")
    report.add_argument("--resume", action="store_true", help="keep what is complete there")
    report.set_defaults(command=_report)

    doctor = commands.add_parser("doctor", help="what this machine has, and what would fail")
    doctor.set_defaults(command=_doctor)
    return parser


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
    return COMPLETE


def _run(options):
    from kerasaid.runs import execute, notebooks

    notebook = notebooks.find(options.notebook)
    values = notebook.parse(options.parameters)
    folder = _folder(options.out) if options.out else _new_folder(notebook)
    try:
        record = execute.run(notebook, values, folder)
    except execute.Interrupted as stop:
        print(f"kerasaid: {stop}; what there is: {folder}", file=sys.stderr)
        return INTERRUPTED
    if record["error"]:
        print(f"kerasaid: {notebook.slug}: {record['error']}", file=sys.stderr)
    print(_table([record]))
    for claim in record["claims"]:
        if not claim["holds"]:
            value = as_text(claim["value"], claim["seeds"], claim["unit"])
            bound = f"{claim['direction'].replace('_', ' ')} {claim['bound']:g}"
            print(f"✗ {claim['statement']} ({value}, {bound})")
    print(folder / f"{notebook.slug}.html")
    return COMPLETE if record["status"] == "complete" else FAILED


def _report(options):
    from kerasaid.runs import execute, notebooks
    from kerasaid.runs import report as reports

    chosen = [notebooks.find(name) for name in options.notebooks] or notebooks.all_notebooks()
    folder = _folder(options.out) if options.out else reports.DEFAULT
    try:
        index, records = reports.report(chosen, folder, options.resume)
    except execute.Interrupted as stop:
        print(f"kerasaid: {stop}; go on with: kerasaid report --resume", file=sys.stderr)
        return INTERRUPTED
    for record in records:
        if record["error"]:
            print(f"kerasaid: {record['notebook']}: {record['error']}", file=sys.stderr)
    print(_table(records))
    print(index)
    return COMPLETE if all(r["status"] == "complete" for r in records) else FAILED


def _doctor(options):
    from kerasaid.runs.doctor import doctor

    return COMPLETE if doctor() else FAILED


def _folder(text):
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~somebody
        raise InputError(f"--out {text}: there is no such user.") from None


def _new_folder(notebook):
    """Return a folder in `reports/` that no other run has."""
    stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S-%f")
    return ROOT / "reports" / f"{notebook.slug}-{stamp[:-3]}"


def _table(records):
    """Return the lines of notebook, seconds, peak memory, claims held."""
    rows = [("notebook", "seconds", "peak memory", "claims held")]
    for record in records:
        held = sum(claim["holds"] for claim in record["claims"])
        rows.append(
            (
                record["notebook"],
                f"{record['seconds']:.1f}",
                f"{record['peak_memory_mb']} MB",
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
