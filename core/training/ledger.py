"""Bytes of the tensors that a piece of code makes: those alive now, and the most that were alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every storage that an operation inside the ``with`` block makes, until it is freed.

    On the ``meta`` device storages have sizes and no memory, so what code would take is counted by running it there.
    Memory that a kernel takes and gives back inside one operation is not seen.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """Args: known: tensors that are there already, and are not counted."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        """Bytes alive now."""
        self.peak = 0
        """The most bytes that were alive at once."""
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

    def keep(self, size: int) -> None:
        """Count bytes that are taken by something else, for good."""
        self.live += size
        self.peak = max(self.peak, self.live)

    def pass_by(self, size: int) -> None:
        """Count bytes that something else takes now and gives back at once."""
        self.peak = max(self.peak, self.live + size)

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive or key in self._outside:
            return

        def freed(_: object) -> None:
            del self._alive[key]
            self.live -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.keep(size)
