"""The catalog of datasets: which exist, which are on this machine, and downloading the others."""

from __future__ import annotations

import builtins
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from cachetools import LRUCache
from torch.nn import functional as F

from core.data.dataset import ImageDataset
from core.data.fetch import Fetch, FetchError
from core.data.idx import SIDE, SOURCES, Source, find_files, read_parts
from core.data.own import OwnDatasets, Revision
from core.errors import DatasetError, DownloadError
from core.settings import Settings

ABANDONED = 24 * 3600
"""Seconds after which an unfinished download is deleted."""

BEST = ("mnist", "fashion-mnist", "kmnist", "digits")
"""Datasets to suggest first, in order of preference."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a dataset without reading it."""

    name: str
    title: str
    line: str
    """One-line description, including the size."""
    num_classes: int
    state: Literal["ready", "absent", "damaged"]
    download_bytes: int
    """Size of the download; 0 if none is needed."""
    is_own: bool = False
    """Whether a user uploaded it; such a dataset can be removed."""


class Catalog:
    """All datasets by name. Thread-safe."""

    def __init__(
        self, settings: Settings, sources: tuple[Source, ...] = SOURCES, timeout: float = 15.0, keep: int = 3
    ) -> None:
        """Args:
        settings: the folders to read from and to download to.
        sources: the datasets published as IDX files.
        timeout: seconds to wait for a server that sends nothing.
        keep: number of datasets to keep in memory.
        """
        self._settings = settings
        self._sources = {source.name: source for source in sources}
        self._timeout = timeout
        self._own = OwnDatasets(settings.datasets / "own", reserved=("digits", *self._sources))
        self._loaded: LRUCache[tuple[str, Revision], ImageDataset] = LRUCache(keep)
        self._loading = threading.Lock()
        self._downloading = {source.name: threading.Lock() for source in sources}

    def info(self, name: str) -> DatasetInfo:
        """Describe one dataset.

        Raises:
            DatasetError: there is no dataset of that name.
        """
        if name == "digits":
            line = "1,797 small handwritten digits, 8×8 grey scaled to 28×28; part of scikit-learn, always available."
            return DatasetInfo("digits", "Digits", line, 10, "ready", 0)
        if name in self._own:
            return self._own_info(name)
        source = self._source(name)
        return DatasetInfo(
            name=name,
            title=source.title,
            line=source.line,
            num_classes=len(source.class_names),
            state="absent" if self._files(source) is None else "ready",
            download_bytes=source.download_bytes,
        )

    def list(self) -> builtins.list[DatasetInfo]:
        """All datasets: the embedded one, the downloadable ones, then the uploaded ones."""
        return [self.info(name) for name in ("digits", *self._sources)] + [
            self._own_info(name) for name in self._own.names()
        ]

    def best(self) -> str:
        """The most suitable first dataset among those on this machine."""
        return next(name for name in BEST if name == "digits" or self._is_ready(name))

    def load(self, name: str) -> ImageDataset:
        """Read a dataset, or return it from memory if it was used recently.

        Raises:
            DatasetError: there is no dataset of that name, it is not on this machine, or it is damaged.
        """
        with self._loading:
            key = name, self.revision(name)
            if key not in self._loaded:
                self._loaded[key] = self._read(name)
            return self._loaded[key]

    def revision(self, name: str) -> Revision:
        """A value that changes when an uploaded dataset is removed or replaced; constant for all others."""
        return self._own.revision(name)

    def keep(self, dataset: ImageDataset, name: str) -> DatasetInfo:
        """Save an uploaded dataset under a name, completely or not at all.

        Args:
            dataset: the dataset of a :class:`core.data.uploads.Draft`.
            name: lower-case letters, digits and hyphens.

        Raises:
            DatasetError: the name is not available, there is no space, or the file cannot be written.
        """
        self._own.keep(dataset, name)
        return self._own_info(name)

    def remove(self, name: str) -> None:
        """Delete an uploaded dataset; does nothing if it no longer exists.

        Raises:
            DatasetError: it is not an uploaded dataset, or cannot be deleted.
        """
        self._own.remove(name)
        self._forget(name)

    def download(
        self,
        name: str,
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Download a dataset into the datasets folder and check it; on failure that folder is left unchanged.

        Args:
            name: the dataset; ``digits`` needs no download.
            progress: called with the fraction of bytes received, 0 to 1.
            stop: once set, the download ends at the next chunk.

        Raises:
            DatasetError: there is no dataset of that name.
            DownloadError: it could not be downloaded, is already being downloaded, or was stopped.
        """
        if name == "digits":
            return
        source = self._source(name)
        if not self._downloading[name].acquire(blocking=False):
            raise DownloadError(f"{source.title} is already being downloaded; wait until that has finished.")
        home = self._settings.datasets
        final = home / source.folder / "raw"
        try:
            home.mkdir(parents=True, exist_ok=True)
            _discard_abandoned(home, name)
            with tempfile.TemporaryDirectory(dir=home, prefix=f".{name}.", suffix=".part") as folder:
                staged = Path(folder) / "raw"
                staged.mkdir()
                Fetch(source, staged, progress, stop, self._timeout).run()
                _put_in_place(staged, final, aside=Path(folder) / "before")
        except FetchError as error:
            raise DownloadError(_failure(source, str(error), final)) from error
        except OSError as error:
            raise DownloadError(_failure(source, error.strerror or str(error), final)) from error
        finally:
            self._downloading[name].release()
        self._forget(name)

    def _forget(self, name: str) -> None:
        """Drop a dataset from memory."""
        with self._loading:
            for key in [key for key in self._loaded if key[0] == name]:
                del self._loaded[key]

    def _source(self, name: str) -> Source:
        if name not in self._sources:
            names = ", ".join(("digits", *self._sources, *self._own.names()))
            raise DatasetError(f"There is no dataset {name!r}; choose one of: {names}.")
        return self._sources[name]

    def _own_info(self, name: str) -> DatasetInfo:
        try:
            outline = self._own.outline(name)
        except DatasetError as error:
            return DatasetInfo(name, name, str(error), 0, "damaged", 0, is_own=True)
        total = outline.num_train + outline.num_test
        line = (
            f"Uploaded: {total:,} images in {len(outline.class_names)} classes, 28×28 grey, "
            f"{outline.num_train:,} of them for training."
        )
        return DatasetInfo(name, name, line, len(outline.class_names), "ready", 0, is_own=True)

    def _is_ready(self, name: str) -> bool:
        return name in self._sources and self._files(self._sources[name]) is not None

    def _files(self, source: Source) -> tuple[Path, ...] | None:
        """The dataset's files, in the first folder that has all four."""
        folders = dict.fromkeys((source.folder, source.name, source.folder.lower()))
        for root in (self._settings.data_folder, self._settings.datasets):
            for folder in folders:
                for inner in ("raw", ""):
                    files = None if root is None else find_files(source, root / folder / inner)
                    if files is not None:
                        return files
        return None

    def _read(self, name: str) -> ImageDataset:
        if name == "digits":
            return _digits()
        if name in self._own:
            return self._own.read(name)
        source = self._source(name)
        files = self._files(source)
        if files is None:
            raise DatasetError(
                f"{source.title} is not on this machine: download it, or set LORA_LAB_DATA to a folder that has it."
            )
        return ImageDataset(name, *read_parts(source, files), source.class_names)


def _digits() -> ImageDataset:
    """Scikit-learn's digits: 80 % of each class for training, the rest for testing."""
    # Imported here because scikit-learn takes a second to import.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(pixels / 16 * 255).float().view(-1, 1, 8, 8)
    large = F.interpolate(small, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    images = large.squeeze(1).round().to(torch.uint8).numpy()
    parts = train_test_split(images, labels.astype(np.int64), test_size=0.2, stratify=labels, random_state=0)
    for part in parts:
        part.flags.writeable = False
    train_images, test_images, train_labels, test_labels = parts
    return ImageDataset("digits", train_images, train_labels, test_images, test_labels, tuple("0123456789"))


def _failure(source: Source, reason: str, folder: Path) -> str:
    return f"Could not download {source.title}: {reason}. Check the connection, or put the IDX files into {folder}."


def _discard_abandoned(home: Path, name: str) -> None:
    """Delete the partial downloads of processes that were killed."""
    for folder in home.glob(f".{name}.*.part"):
        if folder.stat().st_mtime < time.time() - ABANDONED:
            shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(staged: Path, final: Path, aside: Path) -> None:
    """Move a folder to its final name; if that fails, restore the folder that was there."""
    final.parent.mkdir(exist_ok=True)
    if not final.exists():
        os.replace(staged, final)
        return
    os.replace(final, aside)
    try:
        os.replace(staged, final)
    except OSError:
        os.replace(aside, final)
        raise
