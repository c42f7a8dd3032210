"""``python -m core restore``: restore runs from their folders after the store was lost, damaged or replaced."""

from __future__ import annotations

import argparse

from core.cli.options import add_home
from core.engine.processes import living
from core.errors import LabError, StoreDamagedError, StoreError
from core.lab import Lab
from core.settings import Settings
from core.store.restore import set_damaged_aside


def restore_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Restore all runs that have a folder: after the store was lost, truncated or damaged, or after an "
        "older copy was put back. Nothing is deleted: a damaged store is kept in the folder 'damaged', and folders "
        "without a readable copy of their run are moved to 'strays'."
    )
    parser.set_defaults(command=restore)
    add_home(parser)


def restore(options: argparse.Namespace) -> int:
    """Move a damaged store away, restore, and print what was restored."""
    settings = Settings.from_environment(options.home)
    if not settings.home.is_dir():
        raise LabError(f"There is no home folder {settings.home}: set it with --home or LORA_LAB_HOME.")
    try:
        lab = Lab(settings)
        lab.check(whole=True)
    except StoreDamagedError:
        if living(settings.processes):
            raise StoreError(f"LoRA Lab is running on {settings.home}: stop it, then restore.") from None
        print(f"The store was damaged; it was moved to {set_damaged_aside(settings.store)}.")
        lab = Lab(settings)
    try:
        print(lab.restore().sentence)
    finally:
        lab.close()
    return 0
