"""The calls of a tape as one TorchScript function over many steps.

Python's interpreter lock is taken once a stretch of steps instead of once a call. Shards on two threads
keep two cores busy then, where handing the lock over thirty times a step cost a third of their time,
and a single shard is quicker too. The numbers are the same to the last bit, for the calls are.
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

Stretch = Callable[[Tensor, Tensor], None]
"""Trains on rows of shape (orders, steps, batch) and fills losses of shape (steps, members)."""


class _Writer:
    """Calls as source text; tensors become elements of one list, and lists of tensors of another.

    A list must come from outside as well: torch drops a call that only changes what is in a list made
    on the spot, for it takes nobody to see the change. That call is Adam's.
    """

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.lists: list[list[Tensor]] = []
        self.functions: dict[str, str] = {}
        """Source of the functions among the calls that are our own, by name."""
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


def scripted(calls: Iterable[partial[Any]], rows: Tensor, loss: Tensor) -> Stretch | None:
    """The calls as a function over many steps; None where this torch cannot make one.

    Args:
        calls: of one step.
        rows: where each step's rows are put before them, (orders, batch).
        loss: where each step's losses lie after them, (members,).
    """
    writer = _Writer()
    first, last = writer.tensor(rows), writer.tensor(loss)
    lines = [writer.call(call) for call in calls]
    tensors, lists = writer.tensors, writer.lists
    source = [
        *writer.functions.values(),
        "def stretch(tensors: List[Tensor], lists: List[List[Tensor]], rows: Tensor, losses: Tensor):",
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
        log.warning("Training steps could not be made into one function and run call by call: %s", error)
        return None
    return lambda rows, losses: function(tensors, lists, rows, losses)


@lru_cache(maxsize=64)
def _compiled(source: str) -> Callable[[list[Tensor], list[list[Tensor]], Tensor, Tensor], None]:
    """The function of this source; shards of one layout share it, and what torch has learnt of its first runs."""
    function: Callable[[list[Tensor], list[list[Tensor]], Tensor, Tensor], None]
    function = torch.jit.CompilationUnit(source).stretch
    return function


def call_by_call(step: Callable[[], None], rows: Tensor, loss: Tensor) -> Stretch:
    """The same of a function that makes one step."""

    def run(all_rows: Tensor, losses: Tensor) -> None:
        for step_rows, step_losses in zip(all_rows.unbind(1), losses.unbind(0), strict=True):
            rows.copy_(step_rows)
            step()
            step_losses.copy_(loss)

    return run
