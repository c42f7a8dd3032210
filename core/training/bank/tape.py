"""A training step as a fixed list of calls on fixed tensors, which one function or one CUDA graph then makes.

All buffers of a step are allocated once, so a step is nothing but these calls in sequence. That leaves hardly any
allocation or Python overhead between the products on a CPU, and it is what a CUDA graph needs: no values are read on
the host, no tensors are created, and every result is written to the same memory each time.

On a CPU the calls are compiled into one TorchScript function that does many steps, so that the GIL is taken once per
call of that function. Two shards then keep two cores busy, where passing the GIL back and forth thirty times per step
cost a third of the time, and a single shard is faster too. The results have the same bits: the calls are the same.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Container, Iterable, Sequence
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor


class Tape:
    """A list of calls, each with a name for profiles."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.calls: list[partial[Any]] = []

    def add(self, name: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Add a call on these tensors."""
        self.names.append(name)
        self.calls.append(partial(function, *arguments, **options))

    def run(self) -> None:
        """Make all calls."""
        for call in self.calls:
            call()

    def only(self, functions: Container[Callable[..., Any]]) -> Callable[[], None]:
        """A function that makes only the calls of some functions."""
        calls = [call for call in self.calls if call.func in functions]

        def run() -> None:
            for call in calls:
                call()

        return run

    def profile(self, runs: int, before: Callable[[], object] = lambda: None) -> list[tuple[str, float]]:
        """Median seconds of every call.

        Args:
            runs: number of times to make all calls.
            before: called before each run, not timed.
        """
        times: list[list[float]] = [[] for _ in self.calls]
        for _ in range(runs):
            before()
            for call, spent in zip(self.calls, times, strict=True):
                start = time.perf_counter()
                call()
                spent.append(time.perf_counter() - start)
        return [(name, sorted(spent)[len(spent) // 2]) for name, spent in zip(self.names, times, strict=True)]


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


WARM_UP = 3
"""Runs before capturing, as torch.cuda.graph requires: libraries allocate their workspaces at first use."""


def captured(work: Callable[[], None], state: Sequence[Tensor]) -> Callable[[], None]:
    """Capture ``work`` in a CUDA graph; if that is not possible, return ``work`` itself.

    Args:
        work: calls on fixed tensors, without synchronization; see :class:`Tape`.
        state: tensors that ``work`` changes, whose values are restored afterwards.
    """
    if not all(tensor.is_cuda for tensor in state):
        return work
    kept = [tensor.clone() for tensor in state]
    try:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    except RuntimeError as error:
        log.warning("The step could not be captured in a CUDA graph and is launched call by call: %s", error)
        return work
    finally:
        for tensor, before in zip(state, kept, strict=True):
            tensor.copy_(before)
    replay: Callable[[], None] = graph.replay
    return replay
