"""The catalog of bad files: what is wrong with each, its bytes, how it comes in, and a part of the sentence for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Make = Callable[[], bytes]
"""Makes the bytes of a file when a test needs them: all of them together take minutes."""

Table = Mapping[str, Make | tuple[Make, str]]
"""Bad files of one kind by name, some with an expression for a part of the sentence."""

MAX_GROWTH = 300 * 2**20
"""Bytes by which memory may grow with any file."""


MAX_SECONDS = 60.0
"""Seconds of CPU time that any file may take; the slowest took 4 s."""


@dataclass(frozen=True)
class BadFile:
    """One bad file."""

    kind: str
    """What it is taken for: a key of ``ENTRY_POINTS``."""
    name: str
    make: Make
    says: str = ""
    """Expression for a part of the sentence."""
    is_valid: bool = False
    """Whether it looks bad but is not, and may be taken."""
    is_long: bool = False
    """Whether it takes seconds and resembles a faster one, so that only ``make soak`` has it."""
    is_alike: bool = False
    """Whether it is a sound zip to whoever takes it for something else, as many others are."""
    is_hostile: bool = False
    """Whether it has stopped, filled or ended a process, so that ``make soak`` gives it to a dashboard that trains."""
    allocates: int = MAX_GROWTH
    """Bytes that Python and numpy may allocate at once until it is refused; measured if it is less than usual."""

    cpu: float = MAX_SECONDS
    """Seconds of CPU time in the process that is asked, without the reader's."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def catalog() -> dict[str, BadFile]:
    """All bad files by their kind and name."""
    from tests.bad_files import adapters, arrays, images, networks, passages, texts, tokenizers

    modules = (images, arrays, texts, passages, adapters, networks, tokenizers)
    return {str(file): file for module in modules for file in module.bad_files()}


def of_kind(kind: str, table: Table, **fields: Any) -> list[BadFile]:
    """Bad files of a table. Args: fields: of :class:`BadFile`, for all of them."""
    parts = {name: case if isinstance(case, tuple) else (case, "") for name, case in table.items()}
    return [BadFile(kind, name, make, says, **fields) for name, (make, says) in parts.items()]


def marked(files: list[BadFile], names: tuple[str, ...], **fields: Any) -> list[BadFile]:
    """The files, those of these names with other fields."""
    assert {*names} <= {file.name for file in files}, {*names} - {file.name for file in files}
    return [replace(file, **fields) if file.name in names else file for file in files]
