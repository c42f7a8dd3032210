"""Downloads of datasets that run in background threads, independently of pages."""

from __future__ import annotations

from core.background import Background
from core.data.sources.catalog import Catalog


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
