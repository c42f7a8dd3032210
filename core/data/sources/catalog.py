"""The catalog of datasets: asks every source for its datasets, and keeps in memory what was read last."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterable

from cachetools import LRUCache

from core.background import Background
from core.data.dataset import Dataset, overlap_sentence
from core.data.sources.built_in import Definitions, Digits, Mnist16k
from core.data.sources.own import OwnDatasets
from core.data.sources.own_kinds import OwnImages, OwnPassages, OwnTexts
from core.data.sources.published import Published
from core.data.sources.source import DatasetInfo, Revision, Source
from core.errors import DatasetError
from core.settings import Settings

SourceFactory = Callable[[Settings], Source]
"""Makes a source; usually its class."""

SOURCES: list[SourceFactory] = [
    Digits,
    Mnist16k,
    Published,
    Definitions,
    OwnImages,
    OwnTexts,
    OwnPassages,
]
"""One line per source. A catalog asks those that are listed when it is made."""


MAX_OVERLAPS = 1000
"""Sentences on what is in both parts of a dataset to keep in memory."""


class Catalog:
    """All datasets by name. Thread-safe."""

    def __init__(self, settings: Settings, sources: Iterable[SourceFactory] | None = None, keep: int = 3) -> None:
        """Args:
        settings: the folders to read from and to download to.
        sources: where datasets come from; default: those of :data:`SOURCES`.
        keep: number of datasets to keep in memory.
        """
        made = [make(settings) for make in (SOURCES if sources is None else sources)]
        # Uploaded ones last: of two datasets with one name, the built-in one counts.
        self._sources = sorted(made, key=lambda source: source.is_own)
        self._loaded: LRUCache[tuple[str, Revision], Dataset] = LRUCache(keep)
        self._overlaps: LRUCache[tuple[str, Revision], str] = LRUCache(MAX_OVERLAPS)
        self._loading = threading.Lock()

    def info(self, name: str, learns: str = "") -> DatasetInfo:
        """Describe one dataset.

        Args:
            name: of the dataset.
            learns: kind of data that a network learns, to which a dataset of texts is also one to continue; see
                :meth:`core.data.sources.source.DatasetInfo.seen_by`.

        Raises:
            DatasetError: there is no dataset of that name.
        """
        return self._source(name).info(name).seen_by(learns)

    def list(self) -> builtins.list[DatasetInfo]:
        """All datasets: built-in and downloadable ones, then the uploaded ones."""
        return self._infos(self._sources)

    def best(self, kind: str = "") -> str:
        """The most suitable first dataset among those on this machine.

        Args:
            kind: what its examples are; empty for any kind.

        Raises:
            DatasetError: none of that kind is on this machine.
        """
        built_in = self._infos(self._built_in())
        ready = [info for info in built_in if info.state == "ready" and kind in ("", info.seen_by(kind).kind)]
        if not ready:
            raise DatasetError(f"No dataset of kind {kind!r} is on this machine: download or upload one.")
        return max(ready, key=lambda info: info.as_source).name

    def load(self, name: str) -> Dataset:
        """Read a dataset, or return it from memory if it was used recently.

        Raises:
            DatasetError: there is no dataset of that name, it is not on this machine, or it is damaged.
        """
        with self._loading:
            key = name, self.revision(name)
            if key not in self._loaded:
                self._loaded[key] = self._source(name).load(name)
            return self._loaded[key]

    def overlap(self, name: str) -> str:
        """What follows from test examples of an uploaded dataset that are also in its training part, counted once while
        the lab is open: a sentence; empty where there are none, and of other datasets. A dataset that is read for this
        alone takes the place of none that is in use.

        Raises:
            DatasetError: see :meth:`load`.
        """
        if not self._source(name).is_own:
            return ""
        key = name, self.revision(name)
        with self._loading:
            known, loaded = self._overlaps.get(key), self._loaded.get(key)
        if known is None:
            known = overlap_sentence(loaded if loaded is not None else self._source(name).load(name))
            with self._loading:
                self._overlaps[key] = known
        return known

    def revision(self, name: str) -> Revision:
        """A value that changes when the dataset of this name is replaced; empty if there is none."""
        source = self._find(name)
        return source.revision(name) if source else ()

    def keep(self, dataset: Dataset, name: str) -> DatasetInfo:
        """Save an uploaded dataset under a name, completely or not at all.

        Args:
            dataset: the dataset of a :class:`core.data.uploads.Draft`.
            name: lower-case letters, digits and hyphens.

        Raises:
            DatasetError: the name is not available, there is no space, or the file cannot be written.
        """
        if any(name in source for source in self._built_in()):
            raise DatasetError(f"The name {name} belongs to a built-in dataset: choose another one.")
        for source in self._own():
            if source.kind == dataset.kind:
                source.keep(dataset, name)
                return source.info(name)
        raise DatasetError(f"A dataset of kind {dataset.kind!r} cannot be saved.")

    def comes_along(self, name: str) -> bool:
        """Whether a dataset is on every machine that has LoRA Lab. Raises: DatasetError: there is none of that name."""
        return self._source(name).comes_along

    def as_file(self, name: str) -> tuple[str, bytes]:
        """A dataset as a file like those of uploaded ones.

        Returns:
            The file's name and content.

        Raises:
            DatasetError: see :meth:`load`; or no uploaded dataset can be of its kind.
        """
        dataset = self.load(name)
        for source in self._own():
            if isinstance(source, OwnDatasets) and source.kind == dataset.kind:
                return f"{name}{source.ending}", source.content(dataset)
        raise DatasetError(f"A dataset of kind {dataset.kind!r} cannot be saved.")

    def remove(self, name: str) -> None:
        """Delete an uploaded dataset; does nothing if it no longer exists.

        Raises:
            DatasetError: it is not an uploaded dataset, or cannot be deleted.
        """
        source = self._find(name)
        for place in [source] if source else self._own():
            place.remove(name)
        self._forget(name)

    def download(
        self,
        name: str,
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Download a dataset and check it; on failure what was on this machine is left unchanged.

        Args:
            name: the dataset; nothing happens if its source has nothing to download.
            progress: called with the fraction of bytes received, 0 to 1.
            stop: once set, the download ends at the next chunk.

        Raises:
            DatasetError: there is no dataset of that name.
            DownloadError: it could not be downloaded, is already being downloaded, or was stopped.
        """
        self._source(name).download(name, progress, stop)
        self._forget(name)

    def _forget(self, name: str) -> None:
        """Drop a dataset from memory."""
        with self._loading:
            for key in [key for key in self._loaded if key[0] == name]:
                del self._loaded[key]

    def _built_in(self) -> builtins.list[Source]:
        return [source for source in self._sources if not source.is_own]

    def _own(self) -> builtins.list[Source]:
        return [source for source in self._sources if source.is_own]

    def _infos(self, sources: Iterable[Source]) -> builtins.list[DatasetInfo]:
        found: dict[str, Source] = {}
        for source in sources:
            for name in source.names():
                found.setdefault(name, source)
        return [source.info(name) for name, source in found.items()]

    def _find(self, name: str) -> Source | None:
        return next((source for source in self._sources if name in source), None)

    def _source(self, name: str) -> Source:
        source = self._find(name)
        if source is None:
            names = dict.fromkeys(name for source in self._sources for name in source.names())
            raise DatasetError(f"There is no dataset {name!r}; choose one of: {', '.join(names)}.")
        return source


class Downloads(Background):
    """Background downloads, at most one per dataset at a time. Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        """Args: catalog: does the downloading."""
        super().__init__()
        self._catalog = catalog

    def start(self, name: str) -> None:
        """Start a download unless it is running already. Raises: DatasetError: there is no such dataset."""
        self._catalog.info(name)
        self.begin(name, lambda progress, stop: self._catalog.download(name, progress, stop))
