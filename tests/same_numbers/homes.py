"""The home folders of earlier versions whose numbers must stay as they are, and copies of them to open."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

TESTS = Path(__file__).parents[1]

HOMES = ("old_home", "minilm_home")
"""Folders beside this one: perceptrons of version 1 on digits, and a transformer of MiniLM's kind on texts."""

PACKED = "home.tar.xz"


def copy_of(name: str, folder: Path) -> Path:
    """A copy of a home folder, so that nobody changes the one that is committed.

    Args:
        name: one of :data:`HOMES`.
        folder: where the copy is made, as ``home``.
    """
    home, packed = folder / "home", TESTS / name / PACKED
    if packed.exists():
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
    else:
        shutil.copytree(TESTS / name / "home", home)
    return home
