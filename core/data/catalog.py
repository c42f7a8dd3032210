"""Datasets by name: which there are, which are on this machine, and how the others get here."""

from __future__ import annotations

import builtins
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from core.data.dataset import ImageDataset
from core.data.fetch import Fetch, FetchError
from core.data.idx import SIDE, SOURCES, Source, find_files, read_parts
from core.data.own import OwnDatasets, Revision
from core.errors import DatasetError, DownloadError
from core.settings import Settings

ABANDONED = 24 * 3600
"""Seconds after which the half of a download that nobody finished is thrown away."""

BEST = ("mnist", "fashion-mnist", "kmnist", "digits")
"""Datasets to start with, the best first."""


@dataclass(frozen=True)
class DatasetInfo:
    """What can be said of a dataset without reading it."""

    name: str
    title: str
    line: str
    """What it is, with its size, in one line."""
    num_classes: int
    state: Literal["ready", "absent", "damaged"]
    download_bytes: int
    """Size of the download; 0 where none is needed."""
    is_own: bool = False
    """Whether a person brought it; such a dataset can be removed."""


class Catalog:
    """Every dataset that can be asked for by name. Any number of threads may use it at once."""

    def __init__(
        self, settings: Settings, sources: tuple[Source, ...] = SOURCES, timeout: float = 15.0, keep: int = 3
    ) -> None:
        """Args:
        settings: says which folders to read from, and where downloads go.
        sources: the datasets that are published as IDX files.
        timeout: seconds that a server may stay silent.
        keep: datasets that stay in memory.
        """
        self._settings = settings
        self._sources = {source.name: source for source in sources}
        self._timeout = timeout
        self._keep = keep
        self._own = OwnDatasets(settings.datasets / "own", reserved=("digits", *self._sources))
        self._loaded: OrderedDict[str, tuple[Revision, ImageDataset]] = OrderedDict()
        self._loading = threading.Lock()
        self._downloading = {source.name: threading.Lock() for source in sources}

    def info(self, name: str) -> DatasetInfo:
        """What there is to know of one dataset.

        Raises:
            DatasetError: there is none of that name.
        """
        if name == "digits":
            line = "1,797 small handwritten digits, 8×8 grey brought to 28×28; part of scikit-learn, always here."
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
        """All datasets: the one that is always here, those to download, then people's own."""
        return [self.info(name) for name in ("digits", *self._sources)] + [
            self._own_info(name) for name in self._own.names()
        ]

    def best(self) -> str:
        """The best dataset to start with of those that are here."""
        return next(name for name in BEST if name == "digits" or self._is_ready(name))

    def load(self, name: str) -> ImageDataset:
        """The dataset of that name; read once, then kept while it is among the latest used.

        Raises:
            DatasetError: there is none of that name, it is not on this machine, or it is damaged.
        """
        with self._loading:
            revision = self.revision(name)
            held, dataset = self._loaded.get(name, (None, None))
            if dataset is None or held != revision:
                dataset = self._read(name)
            self._loaded[name] = revision, dataset
            self._loaded.move_to_end(name)
            while len(self._loaded) > self._keep:
                self._loaded.popitem(last=False)
            return dataset

    def revision(self, name: str) -> Revision:
        """Changes when a dataset of a person's own is removed or replaced; the same for good for all others."""
        return self._own.revision(name)

    def keep(self, dataset: ImageDataset, name: str) -> DatasetInfo:
        """Keep a dataset that a person brought, under a name of theirs, whole or not at all.

        Args:
            dataset: as a :class:`core.data.uploads.Draft` holds it.
            name: lower-case letters, digits and hyphens.

        Raises:
            DatasetError: the name cannot be had, there is no room, or the file cannot be written.
        """
        self._own.keep(dataset, name)
        return self._own_info(name)

    def remove(self, name: str) -> None:
        """Delete a dataset of a person's own; it is no error where it is gone already.

        Raises:
            DatasetError: it is not a person's own, or cannot be deleted.
        """
        self._own.remove(name)
        with self._loading:
            self._loaded.pop(name, None)

    def download(
        self,
        name: str,
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Fetch a dataset into the datasets folder, whole and checked, or leave that folder as it was.

        Args:
            name: the dataset; ``digits`` needs no download.
            progress: called with the share of bytes that are here, 0 to 1.
            stop: once set, the download ends at the next piece.

        Raises:
            DatasetError: there is none of that name.
            DownloadError: it could not be downloaded, is being downloaded already, or was stopped.
        """
        if name == "digits":
            return
        source = self._source(name)
        if not self._downloading[name].acquire(blocking=False):
            raise DownloadError(f"{source.title} is being downloaded already; wait until that is done.")
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
            raise DownloadError(_sorry(source, str(error), final)) from error
        except OSError as error:
            raise DownloadError(_sorry(source, error.strerror or str(error), final)) from error
        finally:
            self._downloading[name].release()
        with self._loading:
            self._loaded.pop(name, None)

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
            f"Your own: {total:,} images in {len(outline.class_names)} classes, 28×28 grey, "
            f"{outline.num_train:,} of them to train on."
        )
        return DatasetInfo(name, name, line, len(outline.class_names), "ready", 0, is_own=True)

    def _is_ready(self, name: str) -> bool:
        return name in self._sources and self._files(self._sources[name]) is not None

    def _files(self, source: Source) -> tuple[Path, ...] | None:
        """The dataset's files, from the first folder that has all four."""
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
                f"{source.title} is not on this machine: download it, or set LORA_LAB_DATA to a folder that holds it."
            )
        return ImageDataset(name, *read_parts(source, files), source.class_names)


def _digits() -> ImageDataset:
    """The digits that scikit-learn carries: 80 % of each class to train on, the rest to test."""
    # Only here, as scikit-learn takes a second to import.
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


def _sorry(source: Source, reason: str, folder: Path) -> str:
    return f"Could not download {source.title}: {reason}. Check the connection, or put the IDX files into {folder}."


def _discard_abandoned(home: Path, name: str) -> None:
    """Remove what a process that was killed has left of a download."""
    for folder in home.glob(f".{name}.*.part"):
        if folder.stat().st_mtime < time.time() - ABANDONED:
            shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(staged: Path, final: Path, aside: Path) -> None:
    """Move a folder to its name; where that fails, what stood there stands there again."""
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
