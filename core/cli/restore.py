"""``python -m core restore``: list again every run that has a folder, in a store that was lost, damaged or is older."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.engine.processes import living
from core.errors import LabError, StoreDamagedError, StoreError
from core.lab import Lab
from core.settings import Settings
from core.store.restore import set_damaged_aside


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser."""
    job = commands.add_parser(
        "restore",
        help="list again every run that has a folder, where the store was lost or damaged",
        description="Make the store of runs know everything that the folders of the runs know: after it was lost, cut "
        "short or damaged, or after an older copy was put back. Nothing is deleted: a damaged store is kept in the "
        "folder 'damaged', and what cannot be placed in 'strays'.",
    )
    job.set_defaults(command=restore)
    job.add_argument("--home", type=Path, help="folder for runs and datasets (default: LORA_LAB_HOME)")


def restore(options: argparse.Namespace) -> int:
    """Set a damaged store aside, restore, and say what came of it."""
    settings = Settings.from_environment(options.home)
    if not settings.home.is_dir():
        raise LabError(f"There is no home folder {settings.home}: name it with --home or LORA_LAB_HOME.")
    try:
        lab = Lab(settings)
        lab.check(whole=True)
    except StoreDamagedError:
        if living(settings.processes):
            raise StoreError(f"LoRA Lab is running on {settings.home}: stop it, then restore.") from None
        print(f"The store was damaged; it is kept as {set_damaged_aside(settings.store)}.")
        lab = Lab(settings)
    try:
        print(lab.restore().sentence)
    finally:
        lab.close()
    return 0
