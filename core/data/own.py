"""Datasets of people's own: one safetensors file each, under a name of their choice.

A name stands for one dataset for good, since specs name their dataset: beside the file stands its SHA-256, which
shows damage, stays when the dataset is removed, and lets the name take nothing else again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from filelock import FileLock, Timeout

from core.data.dataset import ImageDataset
from core.data.idx import SIDE
from core.errors import DatasetError, SpecError
from core.files import write_atomically
from core.spec import TaskSpec

Revision = tuple[int, ...]
"""Tells two files of one name apart; empty where there is no file."""

MOST_BYTES = 2 * 10**9
"""Of all own datasets together."""

MOST_DATASETS = 100

MOST_FILE = 2**28
"""Bytes of one file; 200,000 images have 159 MB."""

MOST_HEADER = 2**20
"""Bytes of the header of a file, with the names of its classes."""

FORMAT = "lora-lab-dataset-1"
KEY = "dataset"
"""Of the JSON in the file's metadata. One key only: the library writes several in no fixed order."""

LOCK_SECONDS = 30.0

_PARTS = ("train", "test")


@dataclass(frozen=True)
class Outline:
    """What the header of a file says."""

    num_train: int
    num_test: int
    class_names: tuple[str, ...]


class OwnDatasets:
    """A folder of own datasets. Any number of threads and processes may use it at once."""

    def __init__(self, folder: Path, reserved: Sequence[str]) -> None:
        """Args:
        folder: where the files are; made when the first dataset is kept.
        reserved: names that other datasets have.
        """
        self._folder = folder
        self._reserved = tuple(reserved)

    def __contains__(self, name: str) -> bool:
        return self._is_name(name) and os.path.isfile(self._path(name))

    def names(self) -> list[str]:
        """Names of all own datasets, in order."""
        return sorted(path.stem for path in self._folder.glob("*.safetensors") if path.stem in self)

    def revision(self, name: str) -> Revision:
        """Another one for every file that the name ever stood for."""
        if not self._is_name(name):
            return ()
        try:
            state = os.stat(self._path(name))
        except OSError:
            return ()
        return state.st_ino, state.st_mtime_ns, state.st_size

    def outline(self, name: str) -> Outline:
        """What a dataset holds, read off its header. Raises: DatasetError: it is gone or damaged."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                return _outline(name, file.read(8 + MOST_HEADER), os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise _unreadable(name, error) from error

    def read(self, name: str) -> ImageDataset:
        """The dataset. Raises: DatasetError: it is gone or damaged."""
        try:
            # Not mapped: a process dies where a mapped file is cut short in use.
            with self._path(name).open("rb") as file:
                content = file.read(MOST_FILE + 1)
            digest = self._trace_of(name)
        except OSError as error:
            raise _unreadable(name, error) from error
        outline = _outline(name, content[: 8 + MOST_HEADER], len(content))
        if digest not in ("", hashlib.sha256(content).hexdigest()):
            raise _damaged(name)
        try:
            arrays = safetensors.numpy.load(content)
        except (safetensors.SafetensorError, ValueError, LookupError, TypeError) as error:
            raise _damaged(name) from error
        for part in _PARTS:
            labels = arrays[f"{part}_labels"]
            if labels.min() < 0 or labels.max() >= len(outline.class_names):
                raise _damaged(name)
        for array in arrays.values():
            array.flags.writeable = False
        return ImageDataset(
            name,
            arrays["train_images"],
            arrays["train_labels"],
            arrays["test_images"],
            arrays["test_labels"],
            outline.class_names,
        )

    def keep(self, dataset: ImageDataset, name: str) -> None:
        """Write a dataset, whole or not at all.

        Raises:
            DatasetError: the name is none, is taken, or stood for another dataset; there is no room; or the file
                cannot be written.
        """
        _check_name(name)
        if name in self._reserved:
            raise DatasetError(f"The name {name} is taken by a known dataset: choose another one.")
        content = _content(dataset)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                self._write(name, content)
        except (OSError, Timeout) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "the folder is busy"
            raise DatasetError(f"{name} could not be kept: {reason}. Free some space, then try again.") from error

    def remove(self, name: str) -> None:
        """Delete a dataset; nothing happens where it is gone already.

        Raises:
            DatasetError: the name is one of another kind of dataset, or the file cannot be deleted.
        """
        if not self._is_name(name):
            raise DatasetError(f"{name[:64]!r} is no dataset of your own: only those can be deleted.")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                self._path(name).unlink(missing_ok=True)
        except (OSError, Timeout) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "the folder is busy"
            raise DatasetError(f"{name} could not be deleted: {reason}.") from error

    def _write(self, name: str, content: bytes) -> None:
        """Write under the lock, after a look at what is there."""
        names = self.names()
        if name in names:
            raise DatasetError(f"There is a dataset of your own called {name} already: choose another name.")
        used = sum(os.path.getsize(self._path(other)) for other in names)
        if used + len(content) > MOST_BYTES or len(names) >= MOST_DATASETS:
            raise DatasetError(
                f"Your own datasets take {used / 1e9:.1f} GB in {len(names)} files; {MOST_BYTES / 1e9:g} GB and "
                f"{MOST_DATASETS} files are the most: delete one first."
            )
        digest, trace = hashlib.sha256(content).hexdigest(), self._trace(name)
        if self._trace_of(name) not in ("", digest):
            raise DatasetError(
                f"The name {name} stood for another dataset before, and runs may refer to it: choose another name."
            )
        # Whoever writes holds the lock, so halves of files that are here now were left by a process that was killed.
        for half in self._folder.glob(".*.part"):
            half.unlink()
        write_atomically(self._path(name), content)
        try:
            write_atomically(trace, digest.encode())
        except OSError:
            self._path(name).unlink()
            raise

    def _is_name(self, name: str) -> bool:
        try:
            _check_name(name)
        except DatasetError:
            return False
        return name not in self._reserved

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _trace(self, name: str) -> Path:
        """The file that remembers what a name stood for."""
        return self._folder / f"{name}.sha256"

    def _trace_of(self, name: str) -> str:
        """The SHA-256 of what the name stands for; empty where it never stood for anything."""
        try:
            return self._trace(name).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return ""


def suggested_name(file_name: str) -> str:
    """A name that a dataset may have, like that of the file it came in."""
    stem = re.sub(r"[^a-z0-9]+", "-", file_name.rpartition(".")[0].lower())[:64].strip("-")
    return stem or "my-images"


def _check_name(name: str) -> None:
    """Raises: DatasetError: not a name that a spec could hold."""
    try:
        TaskSpec.of(dataset=name)
    except SpecError as error:
        raise DatasetError(
            "A dataset's name has 1 to 64 lower-case letters, digits and hyphens, and starts with no hyphen."
        ) from error


def _content(dataset: ImageDataset) -> bytes:
    """The file; the same bytes for the same dataset."""
    arrays = {
        "train_images": dataset.train_images,
        "train_labels": dataset.train_labels,
        "test_images": dataset.test_images,
        "test_labels": dataset.test_labels,
    }
    about = json.dumps({"format": FORMAT, "class_names": list(dataset.class_names)}, sort_keys=True)
    content: bytes = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata={KEY: about}
    )
    return content


def _outline(name: str, start: bytes, size: int) -> Outline:
    """Check the header of a file against itself and the file's size.

    Raises:
        DatasetError: it does not hold.
    """
    length = int.from_bytes(start[:8], "little")
    if size > MOST_FILE or not 0 < length <= MOST_HEADER or len(start) < 8 + length:
        raise _damaged(name)
    try:
        header = json.loads(start[8 : 8 + length])
        about = json.loads(header["__metadata__"][KEY])
        class_names, form = about["class_names"], about["format"]
        shapes = {
            key: (value["dtype"], tuple(value["shape"])) for key, value in header.items() if key != "__metadata__"
        }
        counts = {part: shapes[f"{part}_labels"][1][0] for part in _PARTS}
        wanted: dict[str, tuple[str, tuple[int, ...]]]
        wanted = {f"{part}_labels": ("I64", (counts[part],)) for part in _PARTS}
        wanted |= {f"{part}_images": ("U8", (counts[part], SIDE, SIDE)) for part in _PARTS}
        sizes = sum(math.prod(shape) * (8 if kind == "I64" else 1) for kind, shape in wanted.values())
        if (
            form != FORMAT
            or shapes != wanted
            or min(counts.values()) < 1
            or sizes != size - 8 - length
            or not isinstance(class_names, list)
            or len(class_names) < 2
            or not all(isinstance(one, str) for one in class_names)
        ):
            raise _damaged(name)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(name) from error
    return Outline(counts["train"], counts["test"], tuple(class_names))


def _damaged(name: str) -> DatasetError:
    return DatasetError(f"The file of your dataset {name} is damaged: delete it and upload it again.")


def _unreadable(name: str, error: OSError) -> DatasetError:
    return DatasetError(f"The file of your dataset {name} cannot be read: {error.strerror or error}.")
