"""``python -m core export``: write a run's network or adapter for another tool."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from core.cli.options import add_home
from core.engine.exports import FORMATS, MergedFormat
from core.errors import ExportError
from core.files import write_atomically
from core.lab import Lab
from core.settings import Settings


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    job = commands.add_parser(
        "export",
        help="write a run's network or adapter for another tool",
        description="Write the network of a run, with its adapter merged, or the adapter alone, as a file for another "
        "tool. The tool reads it, and the difference from the trained network on the test part is printed.",
    )
    job.set_defaults(command=export)
    job.add_argument("run", metavar="RUN", help="id of a run with a result")
    job.add_argument("file", type=Path, metavar="FILE", help="where to write it")
    job.add_argument("--format", choices=list(FORMATS), default=MergedFormat.name, help="kind of file")
    add_home(job)


def export(options: argparse.Namespace) -> int:
    """Write the file, and print its certificate as JSON."""
    lab = Lab(Settings.from_environment(options.home))
    try:
        run, form = lab.run(options.run), FORMATS[options.format]
        made = lab.exports.make(run, form)
        try:
            write_atomically(options.file.expanduser(), lab.exports.content(run, form))
        except OSError as error:
            raise ExportError(f"{options.file} cannot be written: {error.strerror or error}.") from error
        print(json.dumps(asdict(made.certificate), indent=2))
    finally:
        lab.close()
    return 0
