"""Uploaded datasets: one safetensors file each, under a name that the user chose.

A name always refers to the same dataset, because specs refer to datasets by name: the file's SHA-256 is stored beside
it, reveals damage, and remains when the dataset is removed, so that the name cannot be given to another one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from filelock import FileLock, Timeout

from core.data.dataset import SIDE, Dataset, ImageDataset
from core.data.sources.source import DatasetInfo, Revision, Source
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, SpecError
from core.files import write_atomically
from core.settings import Settings

MAX_BYTES = 2 * 10**9
"""Total size of all uploaded datasets."""

MAX_DATASETS = 100

MAX_FILE = 2**28
"""Bytes per file; 200,000 images take 159 MB."""

MAX_HEADER = 2**20
"""Bytes of a file's header, which includes the class names."""

FORMAT = "lora-lab-dataset-1"
KEY = "dataset"
"""Key of the JSON in the file's metadata. Only one, because the library writes several in no fixed order."""

LOCK_SECONDS = 30.0

_PARTS = ("train", "test")


@dataclass(frozen=True)
class Outline:
    """Content of a file's header."""

    num_train: int
    num_test: int
    class_names: tuple[str, ...]


class OwnDatasets(Source):
    """A folder of uploaded datasets of images. Safe to use from several threads and processes."""

    is_own = True

    def __init__(self, settings: Settings) -> None:
        """Args: settings: name the folder, which is created when the first dataset is saved."""
        self._folder = settings.datasets / "own"

    def __contains__(self, name: str) -> bool:
        return _is_name(name) and os.path.isfile(self._path(name))

    def names(self) -> list[str]:
        """Names of all uploaded datasets, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.safetensors") if path.stem in self)

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
            outline = self.outline(name)
        except DatasetError as error:
            return DatasetInfo(name, name, str(error), 0, "damaged", is_own=True)
        total = outline.num_train + outline.num_test
        line = (
            f"Uploaded: {total:,} images in {len(outline.class_names)} classes, 28×28 grey, "
            f"{outline.num_train:,} of them for training."
        )
        return DatasetInfo(name, name, line, len(outline.class_names), "ready", is_own=True)

    def outline(self, name: str) -> Outline:
        """Read a dataset's header. Raises: DatasetError: the file is missing or damaged."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                return _outline(name, file.read(8 + MAX_HEADER), os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise _unreadable(name, error) from error

    def load(self, name: str) -> ImageDataset:
        """Read a dataset. Raises: DatasetError: the file is missing or damaged."""
        try:
            # Not memory-mapped: truncating a mapped file kills the process that uses it.
            with self._path(name).open("rb") as file:
                content = file.read(MAX_FILE + 1)
            digest = self._stored_digest(name)
        except OSError as error:
            raise _unreadable(name, error) from error
        outline = _outline(name, content[: 8 + MAX_HEADER], len(content))
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

    def keep(self, dataset: Dataset, name: str) -> None:
        """Write a dataset, completely or not at all.

        Raises:
            DatasetError: the dataset has no images; the name is invalid, taken, or belonged to another dataset; there
                is no space; or the file cannot be written.
        """
        _check_name(name)
        if not isinstance(dataset, ImageDataset):
            raise DatasetError("Only datasets of images can be saved here.")
        content = _content(dataset)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                self._write(name, content)
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

    def _write(self, name: str, content: bytes) -> None:
        """Check the name and the limits, then write; to be called with the lock held."""
        names = self.names()
        if name in names:
            raise DatasetError(f"You already have a dataset called {name}: choose another name.")
        used = sum(os.path.getsize(self._path(other)) for other in names)
        if used + len(content) > MAX_BYTES or len(names) >= MAX_DATASETS:
            raise DatasetError(
                f"Your uploaded datasets take {used / 1e9:.1f} GB in {len(names)} files; the limits are "
                f"{MAX_BYTES / 1e9:g} GB and {MAX_DATASETS} files: delete one first."
            )
        digest = hashlib.sha256(content).hexdigest()
        if self._stored_digest(name) not in ("", digest):
            raise DatasetError(
                f"The name {name} belonged to another dataset before, and runs may refer to it: choose another name."
            )
        # The lock is held, so any partial file was left by a process that was killed.
        for partial in self._folder.glob(".*.part"):
            partial.unlink()
        write_atomically(self._path(name), content)
        try:
            write_atomically(self._digest_path(name), digest.encode())
        except OSError:
            self._path(name).unlink()
            raise

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _digest_path(self, name: str) -> Path:
        """The file with the SHA-256 of the dataset; it remains when the dataset is removed."""
        return self._folder / f"{name}.sha256"

    def _stored_digest(self, name: str) -> str:
        """The SHA-256 of the dataset of this name; empty if there never was one."""
        try:
            return self._digest_path(name).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return ""


def suggested_name(file_name: str) -> str:
    """A valid dataset name derived from a file name."""
    stem = re.sub(r"[^a-z0-9]+", "-", file_name.rpartition(".")[0].lower())[:64].strip("-")
    return stem or "my-images"


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


def _content(dataset: ImageDataset) -> bytes:
    """The content of the file; the same bytes for the same dataset."""
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
    """Check that the header of a file is consistent and matches the file's size.

    Raises:
        DatasetError: it is not.
    """
    length = int.from_bytes(start[:8], "little")
    if size > MAX_FILE or not 0 < length <= MAX_HEADER or len(start) < 8 + length:
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
