"""Other forwards for some modules of a network, for as long as somebody computes with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from torch import nn

Forward = Callable[..., Any]


class Swapped:
    """While it is entered, these modules of a network compute with other functions, on all threads that enter it.

    The instances get another ``forward``: hooks run as always, and what other code reads from a module, such as the
    type of an attention, stays. When the last thread has left, the modules are as they were.
    """

    def __init__(self, forwards: Mapping[nn.Module, Forward]) -> None:
        """Args: forwards: what each module computes instead, with the arguments of its own ``forward``."""
        self._forwards = dict(forwards)
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                for module, forward in self._forwards.items():
                    module.__dict__["forward"] = forward

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for module in self._forwards:
                    del module.__dict__["forward"]


def own_forward(module: nn.Module) -> Forward:
    """The forward of a module's class, bound to it; also while it is swapped."""
    found: Forward = type(module).forward.__get__(module)
    return found
