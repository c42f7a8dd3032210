"""Weight changes that were read lately, kept in memory within a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from core.lab import Lab
from core.store.record import Run
from core.study.weights.change import WeightChange, read_change

MAX_BYTES = 2**30
"""Maximum size of the changes that are kept, unless the latest one alone is larger."""


class Changes:
    """Recently read weight changes, so that a page that looks at one layer after another reads files once. Thread-safe.

    What is read never changes: runs that have ended stay as they are.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, read: Callable[[Lab, Run], WeightChange] = read_change) -> None:
        """Args:
        max_bytes: maximum size of all that are kept; the latest one is kept in any case.
        read: reads one from the files of a run.
        """
        self._max_bytes = max_bytes
        self._read = read
        self._changes: OrderedDict[tuple[str, float | None], WeightChange] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, lab: Lab, run: Run) -> WeightChange:
        """The weight change of a finished run. Raises: LabError: see :func:`core.study.weights.change.read_change`."""
        key = (run.id, run.ended)
        # Held while files are read, so that threads that want the same change wait for it.
        with self._lock:
            if key not in self._changes:
                self._changes[key] = self._read(lab, run)
                while len(self._changes) > 1 and sum(map(_bytes, self._changes.values())) > self._max_bytes:
                    self._changes.popitem(last=False)
            self._changes.move_to_end(key)
            return self._changes[key]


def _bytes(change: WeightChange) -> int:
    """Memory of both networks, tensors that they share counted once."""
    networks: tuple[nn.Module, ...] = (change.base, change.tuned)
    tensors = {t.data_ptr(): t.nbytes for network in networks for t in (*network.parameters(), *network.buffers())}
    return sum(tensors.values())
