"""Where results come from, by what their files look like."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import JudgeError, printable
from core.judge.mlflow_file import MAGIC, read_mlflow
from core.judge.table import MAX_BYTES, Table, read_table
from core.judge.trainer import STATE, packed, read_trainer
from core.store.judged import ReadFile

ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Source:
    """A kind of files that results are read from."""

    title: str
    line: str
    """What it is, in a sentence for the page and the help."""
    fits: Callable[[bytes], bool]
    """Whether a file is of this kind."""
    read: Callable[[bytes], Table]
    """Reads a file, in the reader. Raises: JudgeError."""


SOURCES: tuple[Source, ...] = (
    Source(
        "Trainer",
        f"Folders of the Trainer of transformers or TRL, as a zip: {STATE} and adapter_config.json are read.",
        lambda content: content.startswith(ZIP) and STATE.encode() in content,
        read_trainer,
    ),
    Source("MLflow", "The SQLite file of MLflow.", lambda content: content.startswith(MAGIC), read_mlflow),
    Source(
        "Table",
        "CSV, TSV, JSON lines or Parquet with one row for each run, and the names of the columns above it.",
        lambda content: True,
        read_table,
    ),
)
"""One line per source; the first that fits reads a file."""


@dataclass(frozen=True)
class Given:
    """A file as somebody gave it."""

    name: str
    content: bytes

    @property
    def about(self) -> ReadFile:
        """What is kept of the file itself."""
        return ReadFile(printable(self.name, 200), hashlib.sha256(self.content).hexdigest(), len(self.content))


def given(paths: Sequence[Path]) -> list[Given]:
    """The files that paths name; folders of the Trainer become one zip.

    Raises:
        JudgeError: one cannot be read, or is too large.
    """
    folders = [path for path in paths if path.is_dir()]
    found = [_file(path) for path in paths if not path.is_dir()]
    if folders:
        name = folders[0].name if len(folders) == 1 else f"{len(folders)} folders"
        found.append(Given(f"{name}.zip", packed(folders)))
    return found


def _file(path: Path) -> Given:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is no name of a file"
        raise JudgeError(f"{printable(str(path), 200)} cannot be read: {reason or error}.") from error
    return Given(path.name, content)


def read(file: Given) -> Table:
    """Read a file by the first source that fits. Raises: JudgeError: it cannot be read; the message names it."""
    if len(file.content) > MAX_BYTES:
        raise JudgeError(f"{printable(file.name)} has more than {MAX_BYTES // 2**20} MiB: leave rows or columns out.")
    source = next(source for source in SOURCES if source.fits(file.content))
    try:
        return source.read(file.content)
    except JudgeError as error:
        raise JudgeError(f"{printable(file.name)}: {error}") from error
