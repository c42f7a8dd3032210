"""Count the bytes of the tensors that a block of code creates: current and peak."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every storage that an operation inside the ``with`` block creates, until it is freed.

    Storages on the ``meta`` device have sizes but no memory, so running code there counts what it would take. Memory
    that a kernel allocates and frees within one operation is not counted.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """Args: known: existing tensors, which are not counted."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        """Bytes in use now."""
        self.peak = 0
        """Maximum number of bytes in use at once."""
        self._alive: dict[int, object] = {}
        self._outside = {tensor.untyped_storage()._cdata: tensor for tensor in known}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return made

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive or key in self._outside:
            return

        def freed(_: object) -> None:
            del self._alive[key]
            self.live -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.live += size
        self.peak = max(self.peak, self.live)
