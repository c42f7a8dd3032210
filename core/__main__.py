"""The command line of LoRA Lab: ``python -m core``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from core import VERSION
from core.errors import LabError
from core.signals import SIGNALLED, Signalled, raised

COMMANDS = {
    "compare": ("compare", "pretrain, fine-tune fully and with LoRA, and compare"),
    "grow": ("grow", "finish an experiment, or add seeds and ranks to it"),
    "list": ("listing", "list the experiments of a home folder"),
    "report": ("report", "write the report of an existing experiment"),
    "judge": ("judge", "give the verdict on results that others report"),
    "run": ("run", "train a run again from its recipe"),
    "time": ("step_time", "time one training step of full fine-tuning and of LoRA, here and in plain PyTorch"),
    "serve": ("serve", "answer with adapters over HTTP, without the pages"),
    "verify": ("verify", "check an adapter file against its base"),
    "export": ("export", "write a run's network or adapter for another tool, or the results of an experiment"),
    "track": ("track", "send an experiment to TensorBoard or MLflow"),
    "networks": ("networks", "list the imported networks, import one, give one a name"),
}
"""Each command's module in :mod:`core.cli`, whose function ``NAME_options`` adds its options, and a line on it."""

DESCRIPTION = "LoRA Lab without the dashboard: compare settings, serve and export adapters."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 if the command failed, 3 for an answer that lacks runs, or 128 + the number of a signal.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = parser(words[0] if words else "").parse_args(words)
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


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands; what it parses has the command as ``command``, and as ``kept`` a sentence on what
    is kept if a signal ends it.

    Args:
        command: the only one that gets its options, since importing what they need takes time; None for all.
    """
    found = argparse.ArgumentParser(prog="python -m core", description=DESCRIPTION)
    found.add_argument("--version", action="version", version=f"LoRA Lab {VERSION}")
    found.set_defaults(kept="")
    commands = found.add_subparsers(required=True, metavar="command")
    for name, (module, line) in COMMANDS.items():
        own = commands.add_parser(name, help=line)
        if command in (name, None):
            getattr(import_module(f"core.cli.{module}"), f"{name}_options")(own)
    return found


if __name__ == "__main__":
    code = main()
    if code > SIGNALLED:  # a step that takes long is still in a thread, which the end of the interpreter would abort
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
