"""A lab with the real MNIST in a temporary folder, like that of the dashboard."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.data import mnist_folder
from core.lab import Lab
from core.settings import Settings


@contextmanager
def mnist_lab() -> Iterator[Lab]:
    """A started lab; exits with a message if there is no MNIST."""
    data = mnist_folder().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Settings(Path(folder), data_folder=data))
        lab.start()
        yield lab
        lab.close()


def until(holds: Callable[[], bool]) -> float:
    """Seconds until a condition holds."""
    start = time.perf_counter()
    while not holds():
        time.sleep(0.005)
    return time.perf_counter() - start
