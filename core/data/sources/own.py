"""Uploaded datasets: one safetensors file each, under a name that the user chose.

A name always refers to the same dataset, because specs refer to datasets by name: the file's SHA-256 is stored beside
it, reveals damage, and remains when the dataset is removed, so that the name cannot be given to another one. Where the
file also has the columns that the dataset was made of, which do not make it another one, a second line has the SHA-256
that the file would have without them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from core.data.dataset import USUAL_OBJECTIVE, Dataset, Targets, TextColumns, TextDataset
from core.data.sources.source import DatasetInfo, Revision, Source
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, SpecError, os_error_as
from core.files import write_atomically
from core.objectives.registry import OBJECTIVES
from core.settings import Settings

MAX_BYTES = 2 * 10**9
"""Total size of all uploaded datasets."""

MAX_DATASETS = 100

MAX_FILE = 2**28
"""Bytes per file; 200,000 images take 159 MB."""

MAX_HEADER = 2**20
"""Bytes of a file's header, which includes the class names."""

ENDING = ".safetensors"
"""Ending of the files of every kind of dataset; a kind may put a word of its own before it."""

KEY = "dataset"
"""Key of the JSON in the file's metadata. Only one, because the library writes several in no fixed order."""

PARTS = ("train", "test")

LOCK_SECONDS = 30.0

Arrays = dict[str, NDArray[Any]]


class About(msgspec.Struct, frozen=True):
    """What a file says of its dataset."""

    format: str
    class_names: tuple[str, ...]
    """Empty for targets that are numbers."""
    objective: str = USUAL_OBJECTIVE
    """Kind of the objective that the targets are for."""
    columns: TextColumns | None = None
    """Of the table that a dataset of texts was made of, where they are known."""


class _Array(msgspec.Struct, frozen=True):
    """What the header of a file says of an array."""

    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class OwnDatasets(Source):
    """The uploaded datasets of one kind. All kinds share a folder, its limits, and the names.

    Safe to use from several threads and processes.
    """

    is_own = True
    format: ClassVar[str]
    """What the files of this kind say that they are."""
    ending: ClassVar[str]
    """Ending of the files of this kind, after the name of the dataset."""
    what: ClassVar[str]
    """What the examples are called, in the plural."""
    form: ClassVar[str] = ""
    """A property of all examples, such as their size, to follow their number; begins with a comma."""

    @abstractmethod
    def packed(self, dataset: Dataset) -> Arrays:
        """The examples of a dataset as arrays, named after part and content.

        Raises:
            DatasetError: it is of another kind.
        """

    @abstractmethod
    def unpacked(self, name: str, about: About, arrays: Arrays, train_labels: Targets, test_labels: Targets) -> Dataset:
        """The dataset of which a file holds these; it takes its arrays out.

        Raises:
            ValueError, LookupError: arrays are missing, or contradict each other.
        """

    def targets(self, about: About) -> str:
        """What a dataset has beside its examples, to follow their number; begins with a space."""
        return f" in {len(about.class_names)} classes" if about.class_names else " with numbers"

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
            about, (num_train, num_test) = self.header(name)
        except DatasetError as error:
            return DatasetInfo(name, name, str(error), 0, "damaged", is_own=True, kind=self.kind)
        total = num_train + num_test
        line = f"Uploaded: {total:,} {self.what}{self.targets(about)}{self.form}, {num_train:,} of them for training."
        names = about.class_names
        state: Literal["ready", "damaged"] = "ready"
        if about.objective not in {objective.name() for objective in OBJECTIVES}:
            line, state = f"This version of LoRA Lab has no objective {about.objective[:60]!r}: update it.", "damaged"
        return DatasetInfo(
            name,
            name,
            line,
            len(names),
            state,
            is_own=True,
            kind=self.kind,
            class_names=names,
            objective=about.objective,
        )

    def header(self, name: str) -> tuple[About, tuple[int, int]]:
        """What a dataset's file says of it, and of the numbers of its training and test examples.

        Raises:
            DatasetError: the file is missing or damaged.
        """
        path = self._path(name)
        with _reading(name), path.open("rb") as file:
            return self._header(name, file.read(8 + MAX_HEADER), os.fstat(file.fileno()).st_size)

    def load(self, name: str) -> Dataset:
        """Read a dataset. Raises: DatasetError: the file is missing or damaged."""
        # Not memory-mapped: truncating a mapped file kills the process that uses it.
        with _reading(name), self._path(name).open("rb") as file:
            content = file.read(MAX_FILE + 1)
            digests = self._stored_digests(name)
        if digests and digests[0] != hashlib.sha256(content).hexdigest():
            raise _damaged(name)
        return self.read(name, content)

    def _header(self, name: str, start: bytes, size: int) -> tuple[About, tuple[int, int]]:
        """See :meth:`header`. Args: start: the first bytes of a file, with the whole header; size: of the file."""
        length = int.from_bytes(start[:8], "little")
        try:
            header = msgspec.json.decode(start[8 : 8 + length], type=dict[str, msgspec.Raw])
            metadata = msgspec.json.decode(header.pop("__metadata__"), type=dict[str, str])
            about = msgspec.json.decode(metadata[KEY], type=About)
            arrays = {key: msgspec.json.decode(value, type=_Array) for key, value in header.items()}
            counts = [arrays[f"{part}_labels"].shape[0] for part in PARTS]
            end = max(array.data_offsets[1] for array in arrays.values())
        except (ValueError, LookupError, RecursionError) as error:
            raise _damaged(name) from error
        fewest = 2 if about.objective == USUAL_OBJECTIVE else 0
        if size > MAX_FILE or size != 8 + length + end or about.format != self.format or min(counts) < 1:
            raise _damaged(name)
        if len(about.class_names) < fewest:
            raise _damaged(name)
        return about, (counts[0], counts[1])

    def read(self, name: str, content: bytes) -> Dataset:
        """Read the file of a dataset; its arrays are read-only. Raises: DatasetError: it is damaged."""
        about, counts = self._header(name, content[: 8 + MAX_HEADER], len(content))
        try:
            arrays: Arrays = safetensors.numpy.load(content)
            for array in arrays.values():
                array.flags.writeable = False
            labels = [arrays.pop(f"{part}_labels") for part in PARTS]
            for each, count in zip(labels, counts, strict=True):
                check_array(each, np.int64 if about.class_names else np.float32, count)
                if not np.isfinite(each).all():
                    raise ValueError("a number is not finite")
                if about.class_names and not 0 <= each.min() <= each.max() < len(about.class_names):
                    raise ValueError("a label is that of no class")
            found = self.unpacked(name, about, arrays, *labels)
            if arrays:
                raise ValueError("there are more arrays")
            return found
        except (safetensors.SafetensorError, ValueError, LookupError, TypeError) as error:
            raise _damaged(name) from error

    def content(self, dataset: Dataset, with_columns: bool = True) -> bytes:
        """The file of a dataset. Raises: DatasetError: it is of another kind."""
        labels = {f"{part}_labels": getattr(dataset, f"{part}_labels") for part in PARTS}
        columns = dataset.columns if with_columns and isinstance(dataset, TextDataset) else None
        about = About(self.format, dataset.class_names, dataset.objective, columns)
        return _written(labels | self.packed(dataset), about)

    def keep(self, dataset: Dataset, name: str) -> None:
        """Write a dataset, completely or not at all.

        Raises:
            DatasetError: the dataset is of another kind or too large; the name is invalid, taken, or belonged to
                another dataset; there is no space; or the file cannot be written.
        """
        _check_name(name)
        content = self.content(dataset)
        digests = [hashlib.sha256(content).hexdigest()]
        plain = self.content(dataset, with_columns=False)
        if plain != content:
            digests.append(hashlib.sha256(plain).hexdigest())
        if len(content) > MAX_FILE:
            raise DatasetError(f"{name} takes more than {MAX_FILE // 2**20} MiB: leave some of its {self.what} out.")
        with self._locked(f"{name} could not be saved", " Free some space, then try again."):
            self._write(name, content, digests)

    def remove(self, name: str) -> None:
        """Delete a dataset; does nothing if it no longer exists.

        Raises:
            DatasetError: it is not an uploaded dataset, or the file cannot be deleted.
        """
        if not _is_name(name):
            raise DatasetError(f"{name[:64]!r} is not an uploaded dataset: only those can be deleted.")
        with self._locked(f"{name} could not be deleted"):
            self._path(name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self, failed: str, advice: str = "") -> Iterator[None]:
        """Change the folder, for all kinds. Raises: DatasetError: it cannot be written; begins with ``failed``."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                yield
        except (OSError, Timeout) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "the folder is busy"
            raise DatasetError(f"{failed}: {reason}.{advice}") from error

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


def _written(arrays: Arrays, about: About) -> bytes:
    """The file of a dataset: always the same bytes for the same dataset."""
    # Left out where it is the usual one or not known, so that such files are those of versions without it.
    more: dict[str, object] = {} if about.objective == USUAL_OBJECTIVE else {"objective": about.objective}
    if about.columns is not None:
        known = {key: value for key, value in asdict(about.columns).items() if key == "part" or value is not None}
        more["columns"] = known
    text = json.dumps({"format": about.format, "class_names": about.class_names, **more}, sort_keys=True)
    content: bytes = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata={KEY: text}
    )
    return content


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


def check_array(array: NDArray[Any], kind: type, *shape: int) -> None:
    """Raises: ValueError: an array is of another type or shape."""
    if array.dtype != kind or array.shape != shape:
        raise ValueError("an array has another type or shape")


def _damaged(name: str) -> DatasetError:
    """The error for a file that is not what was written."""
    return DatasetError(f"The file of your dataset {name} is damaged: delete it and upload it again.")


def _reading(name: str) -> AbstractContextManager[None]:
    return os_error_as(DatasetError, f"The file of your dataset {name} cannot be read")
