"""Options that several commands share, and options that are fields of specs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.errors import LabError
from core.spec import Spec, bounds
from core.study.arms.verdict import MarginSpec


def add_home(parser: argparse.ArgumentParser) -> None:
    """Add ``--home``, for :meth:`core.settings.Settings.from_environment`."""
    parser.add_argument("--home", type=Path, help="folder for runs and datasets (default: LORA_LAB_HOME)")


def add_within(parser: argparse.ArgumentParser) -> None:
    """Add ``--within``, the margin of a verdict."""
    add_field(parser, "--within", MarginSpec, "within", float, metavar="X")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that prints a comparison; see :func:`check_output`."""
    add_within(parser)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the decision report, one HTML file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def check_output(options: argparse.Namespace) -> None:
    """Check the options of :func:`add_output` before anything is trained.

    Raises:
        LabError: the margin is out of bounds, or there is no folder for the report.
    """
    MarginSpec.of(within=options.within)
    if options.report and not options.report.absolute().parent.is_dir():
        raise LabError(f"The folder of {options.report} does not exist: make it, or name another file.")


def add_field(
    parser: argparse.ArgumentParser,
    flag: str,
    spec: type[Spec],
    field: str,
    kind: type,
    more: str = "",
    shown: object = None,
    **settings: Any,
) -> None:
    """Add an option with the meaning, default and bounds of a spec's field.

    Args:
        parser: of the command.
        flag: the option, as in ``--rank``.
        spec: the class of the spec.
        field: its field.
        kind: type of the value.
        more: what the value is of, after the field's title.
        shown: the default in words; None shows the value itself.
        settings: of :meth:`argparse.ArgumentParser.add_argument`; ``default`` replaces that of the field.
    """
    about = bounds(spec, field)
    default = settings.setdefault("default", about.default)
    shown = shown or (default[0] if isinstance(default, list) else default)
    limits = f"{about.low:g} to {about.high:g}" if about.low is not None and about.high is not None else ""
    title = f"{about.title}, {more}" if more else about.title
    notes = "; ".join(filter(None, [limits, f"default {shown}"]))
    parser.add_argument(flag, type=kind, help=f"{title}: {about.description} ({notes})".replace("%", "%%"), **settings)
