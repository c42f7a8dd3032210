"""Compile the calls of a tape into one TorchScript function that does many steps.

The GIL is taken once per call of that function instead of once per call on the tape. Two shards then keep two cores
busy, where passing the GIL back and forth thirty times per step cost a third of the time, and a single shard is faster
too. The results are bit-identical, since the calls are the same.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Steps = Callable[[Tensor, Tensor], None]
"""A function that trains on rows of shape (orders, steps, batch) and fills losses of shape (steps, members)."""


class _Writer:
    """Converts calls to source code; tensors become elements of one list, and lists of tensors of another.

    Lists are passed in as well, because torch eliminates a call that only changes the elements of a list created inside
    the function, such as Adam's.
    """

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.lists: list[list[Tensor]] = []
        self.functions: dict[str, str] = {}
        """Source of our own functions among the calls, by name."""
        self._numbers: dict[int, int] = {}

    def tensor(self, tensor: Tensor) -> str:
        number = self._numbers.setdefault(id(tensor), len(self.tensors))
        if number == len(self.tensors):
            self.tensors.append(tensor)
        return f"t{number}"

    def value(self, value: Any) -> str:
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, list):
            self.lists.append(value)
            return f"l{len(self.lists) - 1}"
        return repr(value)

    def call(self, call: partial[Any]) -> str:
        function = call.func
        owner = getattr(function, "__self__", None)
        if isinstance(function, torch._ops.OpOverload):
            name = "torch.ops." + function._schema.name.replace("::", ".")
        elif isinstance(function, FunctionType):
            name = function.__name__
            self.functions[name] = inspect.getsource(function)
        else:
            name = f"{self.tensor(owner) if isinstance(owner, Tensor) else 'torch'}.{function.__name__}"
        values = [self.value(value) for value in call.args]
        values += [f"{key}={self.value(value)}" for key, value in call.keywords.items()]
        return f"{name}({', '.join(values)})"


def scripted(calls: Iterable[partial[Any]], rows: Tensor, loss: Tensor) -> Steps | None:
    """Compile the calls into a function that does many steps; None if this version of torch cannot.

    Args:
        calls: the calls of one step.
        rows: input of the calls, (orders, batch).
        loss: output of the calls, (members,).
    """
    writer = _Writer()
    first, last = writer.tensor(rows), writer.tensor(loss)
    lines = [writer.call(call) for call in calls]
    tensors, lists = writer.tensors, writer.lists
    source = [
        *writer.functions.values(),
        "def steps(tensors: List[Tensor], lists: List[List[Tensor]], rows: Tensor, losses: Tensor):",
        *(f"    t{number} = tensors[{number}]" for number in range(len(tensors))),
        *(f"    l{number} = lists[{number}]" for number in range(len(lists))),
        "    for step in range(losses.size(0)):",
        f"        {first}.copy_(rows.select(1, step))",
        *(f"        {line}" for line in lines),
        f"        losses.select(0, step).copy_({last})",
    ]
    try:
        function = _compiled("\n".join(source) + "\n")
    except (RuntimeError, AttributeError) as error:
        log.warning("Training steps could not be compiled into one function and run call by call: %s", error)
        return None
    return lambda rows, losses: function(tensors, lists, rows, losses)


@lru_cache(maxsize=64)
def _compiled(source: str) -> Callable[[list[Tensor], list[list[Tensor]], Tensor, Tensor], None]:
    """Compile a function; shards of the same layout share it, including torch's profiling of its first runs."""
    function: Callable[[list[Tensor], list[list[Tensor]], Tensor, Tensor], None]
    function = torch.jit.CompilationUnit(source).steps
    return function


def call_by_call(step: Callable[[], None], rows: Tensor, loss: Tensor) -> Steps:
    """Turn a function that does one step into one that does many. Args: as in :func:`scripted`."""

    def run(all_rows: Tensor, losses: Tensor) -> None:
        for step_rows, step_losses in zip(all_rows.unbind(1), losses.unbind(0), strict=True):
            rows.copy_(step_rows)
            step()
            step_losses.copy_(loss)

    return run
