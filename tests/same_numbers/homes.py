"""The home folders of earlier versions whose numbers must stay as they are, and copies of them to open."""

from __future__ import annotations

import tarfile
from pathlib import Path

TESTS = Path(__file__).parents[1]

HOMES = ("digits_home", "minilm_home")
"""Folders beside this one: perceptrons on digits, and a transformer of MiniLM's kind on texts."""


def copy_of(name: str, folder: Path) -> Path:
    """A copy of a home folder, so that nobody changes the one that is committed.

    Args:
        name: of a folder of tests that has one, such as those of :data:`HOMES`.
        folder: where the copy is made, as ``home``.
    """
    with tarfile.open(TESTS / name / "home.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "home"
