"""Whether runs fit in the memory that is free, before they start, and which changes of settings would make them fit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from core.forecast.cost import chosen_for, target_layers
from core.forecast.memory import memory_of
from core.numbers import bytes_text
from core.run_spec import RunSpec
from core.tasks.tasks import Tasks

SHORTEST = 16
"""Tokens below which no shorter input is suggested: it would cut off most of a sentence."""

Field = Literal["accumulation", "recompute", "length", "blocks"]
"""What a change is of: parts that a batch is computed in, whether activations are recomputed, tokens of the longest
input, or blocks with adapters."""


@dataclass(frozen=True)
class Change:
    """A change of one setting with which all runs fit."""

    field: Field
    value: int
    """Parts of a batch, 1 for recomputed activations, tokens per text, or the number of the last blocks that have
    adapters."""
    memory: int
    """Bytes that the largest run takes then."""

    @property
    def text(self) -> str:
        """What to do, and the memory of the largest run then, as in ``Cut texts at 64 tokens: 410.2 MB``."""
        return f"{self._what.capitalize()}: {bytes_text(self.memory)}"

    @property
    def clause(self) -> str:
        """:attr:`text` for use within a sentence, as in ``cut texts at 64 tokens (410.2 MB)``."""
        return f"{self._what} ({bytes_text(self.memory)})"

    @property
    def _what(self) -> str:
        match self.field:
            case "accumulation":
                return f"compute each batch in {self.value} parts"
            case "recompute":
                return "recompute activations"
            case "length":
                return f"cut texts at {self.value} tokens"
            case "blocks" if self.value == 1:
                return "adapt the last block only"
            case "blocks":
                return f"adapt the last {self.value} blocks only"


@dataclass(frozen=True)
class Shortage:
    """Runs that need more memory than is free."""

    label: str
    """Label of the run that needs most memory."""
    memory: int
    """Bytes that it needs."""
    free: int
    """Bytes that are free."""
    fitting: tuple[str, ...]
    """Labels of the arms that fit as they are."""
    changes: tuple[Change, ...]
    """The smallest change of each setting with which all fit; none for a setting that is not enough by itself."""

    @property
    def text(self) -> str:
        """What does not fit, as in ``LoRA r=8 will not fit: it needs 9.1 GB of memory, and 4.0 GB are free.``"""
        end = "." if self.changes or self.fitting else "; choose smaller settings, or close other programs."
        return (
            f"{self.label} will not fit: it needs {bytes_text(self.memory)} of memory, and {bytes_text(self.free)} "
            f"are free{end}"
        )

    @property
    def advice(self) -> str:
        """The changes with which all runs fit, in a sentence; empty if there is none."""
        if not self.changes:
            return ""
        return f"To make all fit, {' or '.join(change.clause for change in self.changes)}."

    @property
    def others(self) -> str:
        """Which arms fit as they are, in a sentence; empty if none does."""
        if not self.fitting:
            return ""
        verb = "fits as it is" if len(self.fitting) == 1 else "fit as they are"
        return f"{', '.join(self.fitting)} {verb}."


def shortage(specs: Sequence[RunSpec], tasks: Tasks, free: int) -> Shortage | None:
    """What is missing to train each of these runs, even alone; None if each of them fits.

    Args:
        specs: runs on one network and one task.
        tasks: where the sizes of their tasks are found.
        free: bytes of free memory, see :func:`core.memory.free_bytes`.

    Raises:
        LabError: a task's data is missing, or adapters do not fit the network.
    """
    kinds = list({alike(spec): spec for spec in specs}.values())
    sizes = {spec: memory_of([spec], tasks) for spec in kinds}
    largest = max(kinds, key=lambda spec: sizes[spec], default=None)
    if largest is None or sizes[largest] <= free:
        return None
    fitting = dict.fromkeys(spec.label for spec in kinds if sizes[spec] <= free)
    for spec in kinds:
        if sizes[spec] > free:
            fitting.pop(spec.label, None)
    found = (_smallest(field, kinds, tasks, free) for field in _CHANGES)
    return Shortage(largest.label, sizes[largest], free, tuple(fitting), tuple(change for change in found if change))


def alike(spec: RunSpec) -> RunSpec:
    """A spec that is equal for runs that take the same memory: seed and learning rate do not change it."""
    return spec.but(seed=0, optim=spec.optim.but(learning_rate=0.001))


def _smallest(field: Field, specs: Sequence[RunSpec], tasks: Tasks, free: int) -> Change | None:
    tried, memory_with = _CHANGES[field]
    values = list(tried(specs))

    def memory(value: int) -> int:
        return max(memory_with(spec, value, tasks) for spec in specs)

    # Each change saves more than the one before it, so that a few of them have to be counted.
    place = bisect_left(values, True, key=lambda value: memory(value) <= free)
    return Change(field, values[place], memory(values[place])) if place < len(values) else None


def _halves(start: int, least: int) -> Iterator[int]:
    while (start := start // 2) >= least:
        yield start


def _parts(specs: Sequence[RunSpec]) -> Iterator[int]:
    """Twice as many parts and so on; none for perceptrons, whose fast step computes whole batches."""
    network, optim = specs[0].network, specs[0].optim
    parts = optim.accumulation
    while network.reads_tokens and (parts := 2 * parts) <= optim.batch_size:
        yield parts


def _in_parts(spec: RunSpec, parts: int, tasks: Tasks) -> int:
    return memory_of([spec.but(optim=spec.optim.but(accumulation=parts))], tasks)


def _again(specs: Sequence[RunSpec]) -> Iterator[int]:
    if specs[0].network.reads_tokens and not specs[0].optim.recompute:
        yield 1


def _recomputed(spec: RunSpec, _: int, tasks: Tasks) -> int:
    return memory_of([spec.but(optim=spec.optim.but(recompute=True))], tasks)


def _lengths(specs: Sequence[RunSpec]) -> Iterator[int]:
    return _halves(specs[0].task.length if specs[0].network.reads_tokens else 0, SHORTEST)


def _cut(spec: RunSpec, length: int, tasks: Tasks) -> int:
    return memory_of([spec], tasks, length)


def _blocks(specs: Sequence[RunSpec]) -> Iterator[int]:
    """None unless all have adapters: other methods train the same, whichever blocks are chosen."""
    return _halves(len(target_layers(specs[0].network).blocks) if all(spec.method.targets for spec in specs) else 0, 1)


def _at_the_top(spec: RunSpec, blocks: int, tasks: Tasks) -> int:
    """Memory with adapters in the last blocks only: no activations are kept of what lies below."""
    if spec.method.targets:
        choices = target_layers(spec.trained_network)
        names, own = chosen_for(spec.trained_network, spec.method.targets)
        spec = spec.but(method=spec.method.on(choices.targets(names, own[-blocks:])))
    return memory_of([spec], tasks)


_CHANGES: dict[Field, tuple[Callable[[Sequence[RunSpec]], Iterator[int]], Callable[[RunSpec, int, Tasks], int]]] = {
    "accumulation": (_parts, _in_parts),
    "recompute": (_again, _recomputed),
    "length": (_lengths, _cut),
    "blocks": (_blocks, _at_the_top),
}
"""The values that are tried for each setting, from the smallest change on, and the bytes that a run takes with one."""
