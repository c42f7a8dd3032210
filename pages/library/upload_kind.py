"""What the Data page must know of a kind of data to let people upload it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.data.dataset import Dataset


@dataclass(frozen=True)
class UploadKind:
    """One kind of data that can be uploaded."""

    title: str
    label: str
    """Label of the field for the file."""
    formats: str
    """Which files are accepted and what becomes of them, as markdown."""
    becomes: str
    """What becomes of a file, and which networks learn from it, in a sentence beside the field."""
    preview: Callable[[str, bytes], Dataset | None]
    """Draws what a file, given by an id and its content, would become, or why it cannot be used; returns the dataset to
    save, or None."""
    fault: Callable[[str, bytes], str]
    """Why a file, given as to the preview, cannot be read at all; empty if it can."""
