"""Work in background threads, such as downloads: started, followed and stopped from any page."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from core.errors import LabError

log = logging.getLogger(__name__)

Work = Callable[[Callable[[float], None], threading.Event], object]
"""What a thread does: called with a function that takes the fraction that is done, and an event that asks to stop."""


@dataclass(frozen=True)
class BackgroundState:
    """How far some work is."""

    name: str
    progress: float = 0.0
    """Fraction that is done, 0 to 1."""
    running: bool = True
    error: str | None = None
    """Why it failed, in one sentence."""
    result: object = None
    """What it returned, once it has ended well."""


class Background:
    """Work in threads of its own, at most one per name at a time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, BackgroundState] = {}
        self._stops: dict[str, threading.Event] = {}

    def begin(self, name: str, work: Work) -> bool:
        """Start some work unless work of that name is running already; whether it was started."""
        with self._lock:
            state = self._states.get(name)
            if state is not None and state.running:
                return False
            self._states[name] = BackgroundState(name)
            self._stops[name] = threading.Event()
            arguments = (name, work, self._stops[name])
            threading.Thread(target=self._do, args=arguments, name=f"background-{name}", daemon=True).start()
        return True

    def stop(self, name: str) -> None:
        """Ask the work of this name to stop; it cleans up after itself."""
        with self._lock:
            if name in self._stops:
                self._stops[name].set()

    def state(self, name: str) -> BackgroundState | None:
        """Progress of the latest work of this name; None if there was none."""
        with self._lock:
            return self._states.get(name)

    def states(self) -> list[BackgroundState]:
        """Progress of the latest work of each name, in the order in which the names were first used."""
        with self._lock:
            return list(self._states.values())

    def forget(self, name: str) -> None:
        """Drop the progress of work that has ended."""
        with self._lock:
            state = self._states.get(name)
            if state is not None and not state.running:
                del self._states[name], self._stops[name]

    def close(self) -> None:
        """Ask all work to stop."""
        with self._lock:
            for stop in self._stops.values():
                stop.set()

    def _do(self, name: str, work: Work, stop: threading.Event) -> None:
        error: str | None = None
        result: object = None
        try:
            result = work(lambda share: self._update(name, progress=share), stop)
        except LabError as failure:
            error = str(failure)
        except OSError as failure:
            error = f"Could not save {name}: {failure.strerror or failure}. Free some space, then try again."
        except MemoryError:
            error = f"There is not enough memory for {name}: stop what is training, then try again."
        except Exception as failure:
            log.exception("The work on %s failed", name)
            error = f"Could not finish {name}: {failure}."
        self._update(name, running=False, error=None if stop.is_set() else error, result=result)

    def _update(self, name: str, **changes: object) -> None:
        with self._lock:
            self._states[name] = replace(self._states[name], **changes)  # type: ignore[arg-type]
