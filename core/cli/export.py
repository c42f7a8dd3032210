"""``python -m core export``: write a run's network or adapter for another tool, or the results of an experiment."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from core.artifacts.exports import FORMATS, Format, MergedFormat
from core.cli.options import NOTHING_KEPT, add_home, check_folder, opened_lab
from core.errors import ExportError, os_error_as
from core.files import write_atomically
from core.lab import Lab
from core.numbers import listed
from core.store.record import RUN_ID, Run
from core.study.report.results_export import results_files


def export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Write the network of a run, with its adapter merged, or the adapter alone, as a file for another "
        "tool. The tool reads it, and the difference from the trained network on the test part is printed. Of an "
        "experiment, write the results as a table, with test examples, epochs and looks in files beside it, all of "
        "which judge reads."
    )
    parser.set_defaults(command=export, kept=NOTHING_KEPT)
    parser.add_argument("run", metavar="RUN", help="id of a run with a result, or of an experiment")
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="where to write it; of an experiment a name that ends in .csv"
    )
    kinds = "; ".join(f"{form.name}: {form.line.removesuffix('.')}" for form in FORMATS.values())
    parser.add_argument(
        "--format",
        choices=list(FORMATS),
        help=f"kind of file (default: by the ending of FILE, else {MergedFormat.name}). {kinds}",
    )
    add_home(parser)


def export(options: argparse.Namespace) -> int:
    """Write the file, and print its certificate as JSON."""
    with opened_lab(options) as lab:
        if not RUN_ID.fullmatch(options.run):
            return _results(lab, options)
        run = lab.store.run(options.run)
        form = _format(run, options.file, options.format)
        made = lab.exports.make(run, form)
        with os_error_as(ExportError, f"{options.file} cannot be written"):
            write_atomically(options.file.expanduser(), lab.exports.path(run, form).read_bytes())
        print(json.dumps(asdict(made.certificate), indent=2))
    return 0


def _results(lab: Lab, options: argparse.Namespace) -> int:
    """Write the results of an experiment, and print the names of the files."""
    file: Path = options.file.expanduser()
    experiment = lab.store.experiment(options.run)
    if options.format is not None or file.suffix.lower() != ".csv":
        raise ExportError("The results of an experiment are written as CSV: name a file such as results.csv.")
    check_folder(file)
    for name, content in results_files(lab, experiment, file.stem).items():
        with os_error_as(ExportError, f"{file.with_name(name)} cannot be written"):
            write_atomically(file.with_name(name), content)
        print(file.with_name(name))
    return 0


def _format(run: Run, file: Path, name: str | None) -> Format:
    """The kind of file to write, as named or by the ending; where several share it, by the end of the file's name.

    Raises:
        ExportError: the ending is that of another kind, or that of several that the run could be written as.
    """
    ending = file.suffix.lower()
    known = [form for form in FORMATS.values() if Path(form.file).suffix == ending]
    if name is not None:
        if known and FORMATS[name] not in known:
            raise ExportError(
                f"{file.name} has the ending of {listed([form.name for form in known])}, but --format is {name}: "
                "change one of the two."
            )
        return FORMATS[name]
    fitting = [form for form in known if form.fits(run)] or known
    if named := [form for form in fitting if file.name.lower().endswith(form.file)]:
        fitting = named
    if len(fitting) > 1:
        names = " or ".join(form.file for form in fitting)
        raise ExportError(
            f"{ending} is the ending of {listed([form.name for form in fitting])}: choose one of them with --format, "
            f"or name the file {names}."
        )
    return fitting[0] if fitting else FORMATS[MergedFormat.name]
