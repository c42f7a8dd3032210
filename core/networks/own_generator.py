"""Random numbers of one thread from a generator of its own, where code asks for torch's global one.

The global generator belongs to all threads of a process: what one draws from it depends on what others draw meanwhile,
even if it was seeded just before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

GLOBAL_GENERATOR = threading.Lock()
"""Held by a thread that seeds torch's global generator, for code that can be given no other."""

TAKE_GENERATOR = frozenset(
    {
        torch.bernoulli,
        torch.multinomial,
        torch.normal,
        torch.poisson,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        torch.rand_like,
        torch.randint_like,
        torch.randn_like,
        Tensor.bernoulli,
        Tensor.bernoulli_,
        Tensor.cauchy_,
        Tensor.exponential_,
        Tensor.geometric_,
        Tensor.log_normal_,
        Tensor.multinomial,
        Tensor.normal_,
        Tensor.random_,
        Tensor.uniform_,
    }
)
"""Functions that draw random numbers from a generator, if they get one."""


class OwnGenerator(TorchFunctionMode):
    """While it is entered, the calling thread draws on the CPU from this generator."""

    def __init__(self, seed: int) -> None:
        """Args: seed: of the generator; the numbers are those of torch's global one after ``torch.manual_seed``."""
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        known = kwargs or {}
        # Initializations of torch.nn.init name it; transformers has functions of its own in their place.
        takes = func in TAKE_GENERATOR or "generator" in known
        if takes and known.get("generator") is None and _on_cpu(args, known):
            return func(*args, **{**known, "generator": self._generator})
        return func(*args, **known)


def _on_cpu(args: tuple[Any, ...], known: dict[str, Any]) -> bool:
    """Whether a call draws on the CPU: by its device, that of its tensors, or the default one."""
    devices = [arg.device for arg in (*args, *known.values()) if isinstance(arg, Tensor)]
    wanted = known.get("device") or (devices[0] if devices else torch.get_default_device())
    return torch.device(wanted).type == "cpu"
