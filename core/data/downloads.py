"""Downloads that run in background threads, independently of pages."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace

from core.data.catalog import Catalog
from core.errors import LabError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Download:
    """Progress of one download."""

    name: str
    progress: float = 0.0
    """Fraction of bytes received, 0 to 1."""
    running: bool = True
    error: str | None = None
    """Why it failed, in one sentence."""


class Downloads:
    """Background downloads, at most one per dataset at a time. Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        """Args: catalog: does the downloading."""
        self._catalog = catalog
        self._lock = threading.Lock()
        self._states: dict[str, Download] = {}
        self._stops: dict[str, threading.Event] = {}

    def start(self, name: str) -> None:
        """Start a download unless it is running already. Raises: DatasetError: there is no such dataset."""
        self._catalog.info(name)
        with self._lock:
            state = self._states.get(name)
            if state is not None and state.running:
                return
            self._states[name] = Download(name)
            self._stops[name] = threading.Event()
            threading.Thread(target=self._fetch, args=(name,), name=f"download-{name}", daemon=True).start()

    def stop(self, name: str) -> None:
        """Cancel a download; its partial files are deleted."""
        with self._lock:
            if name in self._stops:
                self._stops[name].set()

    def state(self, name: str) -> Download | None:
        """Progress of the latest download of a dataset; None if there was none."""
        with self._lock:
            return self._states.get(name)

    def close(self) -> None:
        """Cancel all downloads."""
        with self._lock:
            for stop in self._stops.values():
                stop.set()

    def _fetch(self, name: str) -> None:
        error: str | None = None
        try:
            self._catalog.download(name, lambda share: self._update(name, progress=share), self._stops[name])
        except LabError as failure:
            error = str(failure)
        except OSError as failure:
            error = f"Could not save {name}: {failure.strerror or failure}. Free some space, then try again."
        except Exception as failure:
            log.exception("The download of %s failed", name)
            error = f"Could not download {name}: {failure}."
        stopped = self._stops[name].is_set()
        self._update(name, running=False, error=None if stopped else error)

    def _update(self, name: str, **changes: float | bool | str | None) -> None:
        with self._lock:
            self._states[name] = replace(self._states[name], **changes)  # type: ignore[arg-type]
