"""``python -m core verify``: check an adapter file against its base."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.adapter import verify_adapter


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    job = commands.add_parser("verify", help="check an adapter file against its base")
    job.set_defaults(command=verify)
    job.add_argument("adapter", type=Path, metavar="ADAPTER.zip")
    job.add_argument("--base", type=Path, required=True, metavar="BASE.safetensors")


def verify(options: argparse.Namespace) -> int:
    """Check an adapter file, and print what was found."""
    print(verify_adapter(options.adapter, options.base))
    return 0
