"""What takes long to make and is asked for again: the latest few stay."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Latest(Generic[Key, Value]):
    """The values asked for last, each made once. Any number of threads may use it at once; one makes, others wait."""

    def __init__(self, keep: int) -> None:
        """Args:
        keep: values that stay.
        """
        self._keep = keep
        self._held: OrderedDict[Key, Value] = OrderedDict()
        self._making = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of this key; ``make`` gives it where it is not held, and what that raises leaves all as it was."""
        with self._making:
            if key not in self._held:
                self._held[key] = make()
            self._held.move_to_end(key)
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
            return self._held[key]
