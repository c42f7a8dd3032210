"""Uploaded datasets: one safetensors file each, under a name that the user chose.

A name always refers to the same dataset, because specs refer to datasets by name: the file's SHA-256 is stored beside
it, reveals damage, and remains when the dataset is removed, so that the name cannot be given to another one. Where the
file also has the columns that the dataset was made of, which do not make it another one, a second line has the SHA-256
that the file would have without them.
"""

from __future__ import annotations

import hashlib
import os
import re
from abc import abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Literal

from filelock import FileLock, Timeout

from core.data.dataset import Dataset, TextColumns
from core.data.sources.own_file import MAX_FILE, MAX_HEADER, Arrays, FileFormat, Header, damaged
from core.data.sources.source import DatasetInfo, Revision, Source
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, SpecError, os_error_as
from core.files import write_atomically
from core.objectives.registry import OBJECTIVES
from core.settings import Settings

MAX_BYTES = 2 * 10**9
"""Total size of all uploaded datasets."""

MAX_DATASETS = 100

ENDING = ".safetensors"
"""Ending of the files of every kind of dataset; a kind may put a word of its own before it."""

LOCK_SECONDS = 30.0


class OwnDatasets(Source):
    """The uploaded datasets of one kind. All kinds share a folder, its limits, and the names.

    Safe to use from several threads and processes.
    """

    is_own = True
    ending: ClassVar[str]
    """Ending of the files of this kind, after the name of the dataset."""
    what: ClassVar[str]
    """What the examples are called, in the plural."""
    form: ClassVar[str] = ""
    """A property of all examples, such as their size, to follow their number; begins with a comma."""
    format: ClassVar[FileFormat]

    def __init__(self, settings: Settings) -> None:
        """Args: settings: name the folder, which is created when the first dataset is saved."""
        self._folder = settings.datasets / "own"

    def __contains__(self, name: str) -> bool:
        return _is_name(name) and os.path.isfile(self._path(name))

    def names(self) -> list[str]:
        """Names of all uploaded datasets, sorted."""
        found = (path.name.removesuffix(self.ending) for path in self._folder.glob(f"*{self.ending}"))
        return sorted(name for name in found if name in self)

    def revision(self, name: str) -> Revision:
        """A value that differs between any two files that ever had this name."""
        if not _is_name(name):
            return ()
        try:
            state = os.stat(self._path(name))
        except OSError:
            return ()
        return state.st_ino, state.st_mtime_ns, state.st_size

    def info(self, name: str) -> DatasetInfo:
        try:
            header = self.header(name)
        except DatasetError as error:
            return DatasetInfo(name, name, str(error), 0, "damaged", is_own=True, kind=self.kind)
        total = header.num_train + header.num_test
        line = (
            f"Uploaded: {total:,} {self.what}{self.targets(header)}{self.form}, {header.num_train:,} of them for "
            "training."
        )
        names = header.class_names
        state: Literal["ready", "damaged"] = "ready"
        if header.objective not in {objective.name() for objective in OBJECTIVES}:
            line, state = f"This version of LoRA Lab has no objective {header.objective[:60]!r}: update it.", "damaged"
        return DatasetInfo(
            name,
            name,
            line,
            len(names),
            state,
            is_own=True,
            kind=self.kind,
            class_names=names,
            objective=header.objective,
        )

    def header(self, name: str) -> Header:
        """Read a dataset's header. Raises: DatasetError: the file is missing or damaged."""
        path = self._path(name)
        with _reading(name), path.open("rb") as file:
            return self.format.header(name, file.read(8 + MAX_HEADER), os.fstat(file.fileno()).st_size)

    def load(self, name: str) -> Dataset:
        """Read a dataset. Raises: DatasetError: the file is missing or damaged."""
        # Not memory-mapped: truncating a mapped file kills the process that uses it.
        with _reading(name), self._path(name).open("rb") as file:
            content = file.read(MAX_FILE + 1)
            digests = self._stored_digests(name)
        if digests and digests[0] != hashlib.sha256(content).hexdigest():
            raise damaged(name)
        header, arrays = self.format.read(name, content)
        return self.dataset(name, header, arrays)

    def targets(self, header: Header) -> str:
        """What a dataset has beside its examples, to follow their number; begins with a space."""
        return f" in {len(header.class_names)} classes" if header.class_names else " with numbers"

    @abstractmethod
    def arrays(self, dataset: Dataset) -> Arrays:
        """What a file holds of a dataset. Raises: DatasetError: it is of another kind."""

    @abstractmethod
    def dataset(self, name: str, header: Header, arrays: Arrays) -> Dataset:
        """The dataset of which a file holds these. Raises: DatasetError: they contradict each other."""

    def columns(self, dataset: Dataset) -> TextColumns | None:
        """The columns of the table that a dataset was made of, where they are known."""
        return None

    def content(self, dataset: Dataset, with_columns: bool = True) -> bytes:
        """The file of a dataset. Raises: DatasetError: it is of another kind."""
        columns = self.columns(dataset) if with_columns else None
        return self.format.written(self.arrays(dataset), dataset.class_names, dataset.objective, columns)

    def keep(self, dataset: Dataset, name: str) -> None:
        """Write a dataset, completely or not at all.

        Raises:
            DatasetError: the dataset is of another kind or too large; the name is invalid, taken, or belonged to
                another dataset; there is no space; or the file cannot be written.
        """
        _check_name(name)
        content = self.content(dataset)
        digests = [hashlib.sha256(content).hexdigest()]
        if self.columns(dataset) is not None:
            digests.append(hashlib.sha256(self.content(dataset, with_columns=False)).hexdigest())
        if len(content) > MAX_FILE:
            raise DatasetError(f"{name} takes more than {MAX_FILE // 2**20} MiB: leave some of its {self.what} out.")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                self._write(name, content, digests)
        except (OSError, Timeout) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "the folder is busy"
            raise DatasetError(f"{name} could not be saved: {reason}. Free some space, then try again.") from error

    def remove(self, name: str) -> None:
        """Delete a dataset; does nothing if it no longer exists.

        Raises:
            DatasetError: it is not an uploaded dataset, or the file cannot be deleted.
        """
        if not _is_name(name):
            raise DatasetError(f"{name[:64]!r} is not an uploaded dataset: only those can be deleted.")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                self._path(name).unlink(missing_ok=True)
        except (OSError, Timeout) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "the folder is busy"
            raise DatasetError(f"{name} could not be deleted: {reason}.") from error

    def _write(self, name: str, content: bytes, digests: list[str]) -> None:
        """Check the name and the limits, then write; to be called with the lock held."""
        files = {path: path.name.partition(".")[0] for path in self._folder.glob(f"*{ENDING}") if path.is_file()}
        files = {path: other for path, other in files.items() if _is_name(other)}
        if name in files.values():
            raise DatasetError(f"You already have a dataset called {name}: choose another name.")
        used = sum(os.path.getsize(path) for path in files)
        if used + len(content) > MAX_BYTES or len(files) >= MAX_DATASETS:
            raise DatasetError(
                f"Your uploaded datasets take {used / 1e9:.1f} GB in {len(files)} files; the limits are "
                f"{MAX_BYTES / 1e9:g} GB and {MAX_DATASETS} files: delete one first."
            )
        before = self._stored_digests(name)
        if before and before[-1] != digests[-1]:
            raise DatasetError(
                f"The name {name} belonged to another dataset before, and runs may refer to it: choose another name."
            )
        # The lock is held, so any partial file was left by a process that was killed.
        for partial in self._folder.glob(".*.part"):
            partial.unlink()
        # The digest first: a process that is killed in between leaves no dataset that is never checked.
        write_atomically(self._digest_path(name), "\n".join(digests).encode())
        try:
            write_atomically(self._path(name), content)
        except OSError:
            if not before:
                self._digest_path(name).unlink()
            raise

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{self.ending}"

    def _digest_path(self, name: str) -> Path:
        """The file with the SHA-256 of the dataset; it remains when the dataset is removed."""
        return self._folder / f"{name}.sha256"

    def _stored_digests(self, name: str) -> list[str]:
        """The SHA-256 of the dataset of this name and, where it has columns, without them; empty if there never was
        one.
        """
        try:
            return self._digest_path(name).read_text("ascii", "replace").split()
        except FileNotFoundError:
            return []


def suggested_name(file_name: str) -> str:
    """A valid dataset name derived from a file name."""
    stem = file_name.lower().removesuffix(".gz").rpartition(".")[0]
    return re.sub(r"[^a-z0-9]+", "-", stem)[:64].strip("-") or "my-dataset"


def _check_name(name: str) -> None:
    """Check that a spec can hold this name. Raises: DatasetError: it cannot."""
    try:
        TaskSpec.of(dataset=name)
    except SpecError as error:
        raise DatasetError(
            "A dataset name has 1 to 64 lower-case letters, digits and hyphens, and does not start with a hyphen."
        ) from error


def _is_name(name: str) -> bool:
    try:
        _check_name(name)
    except DatasetError:
        return False
    return True


def _reading(name: str) -> AbstractContextManager[None]:
    return os_error_as(DatasetError, f"The file of your dataset {name} cannot be read")
