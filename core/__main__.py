"""The command line of LoRA Lab: ``python -m core``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from core.cli import compare, export, grow, jobs, networks, report, restore, run, serve, step_time, track, verify
from core.errors import LabError
from core.signals import Signalled, raised

COMMANDS = (compare, grow, report, run, restore, step_time, serve, verify, export, track, jobs, networks)
"""Modules of the commands, in the order of the help."""

DESCRIPTION = "LoRA Lab without the dashboard: compare settings, train elsewhere, serve and export adapters."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 if the command failed, 3 for an answer that lacks runs, or 128 + the number of a signal.
    """
    options = parser().parse_args(arguments)
    try:
        with raised():
            status: int = options.command(options)
    except Signalled as signalled:
        print(f"\nEnded by {signalled}. {options.kept}".rstrip(), file=sys.stderr)
        return signalled.status
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses has the command as ``command``, and as ``kept`` a sentence on what
    is kept if a signal ends it.
    """
    found = argparse.ArgumentParser(prog="python -m core", description=DESCRIPTION)
    found.set_defaults(kept="")
    commands = found.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.register(commands)
    return found


if __name__ == "__main__":
    sys.exit(main())
