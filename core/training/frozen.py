"""Frozen blocks below the first trained one: they run without dropout, and are computed once for every text.

A transformer is a list of blocks. Where a method trains nothing below some block, what enters that block is a function
of the text alone, and training asks for it again in every epoch. It is computed before the first step, token by token
without padding, and handed to the network in place of the blocks below.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn

from core.data.examples import Batch, Examples, Task, TextExamples
from core.methods.linear import is_linear
from core.methods.method import MethodSpec
from core.networks.forward import evaluating, forward
from core.networks.network import SPEC, NetworkSpec, spec_on
from core.training.products import Forward, Swapped, fast_layers, own_forward
from core.training.side_by_side import side_by_side
from core.training.threads import available_cores

STATES = "frozen_states"
"""Name of the states in a batch, beside the inputs of the network."""

MAX_BYTES = 2**30
"""Maximum memory for the states of all texts. Where it is not enough the blocks are computed in every step, still
without dropout: what a run gives must not depend on the memory that happens to be free."""

TEXTS = 32
"""Texts that are computed at once, sorted by length."""


@dataclass(frozen=True)
class FrozenBlocks:
    """Which blocks of a network are the same for a text in every step."""

    count: int
    """Number of blocks below the first trained one."""
    total: int
    """Number of blocks."""
    width: int
    """Numbers per token that enter a block."""
    paths: tuple[str, ...] = ()
    """Path of each of the blocks that are counted."""
    empty: int = -1
    """Number of values that a block returns as None behind its states in a tuple; -1 if it returns no tuple."""
    still: tuple[str, ...] = ()
    """Paths of all modules that have done their work before the first trained block begins."""

    @classmethod
    def of(cls, network: nn.Module, batch: Batch) -> Self:
        """Find them by running the network once.

        Args:
            network: as a method has prepared it.
            batch: a few examples, on the network's device.
        """
        path, blocks = block_list(network)
        if not blocks:
            return cls(0, 0, 0)
        if any(map(_sees_padding, blocks)):
            return cls(0, len(blocks), 0)
        trace = _Trace(network, blocks)
        with evaluating(network), torch.enable_grad(), trace.watching():
            forward(network, batch)
        if not trace.is_chain:
            return cls(0, len(blocks), 0)
        count = trace.frozen
        names = {id(module): name for name, module in network.named_modules()}
        still = tuple(names[id(module)] for module in trace.done_before(count)) if count else ()
        empty = -1 if trace.empty is None else trace.empty
        return cls(count, len(blocks), trace.width, tuple(f"{path}.{i}" for i in range(count)), empty, still)

    def kept_bytes(self, tokens: int) -> int:
        """Memory for the states of this many tokens, in float32; 0 if that is more than :data:`MAX_BYTES`."""
        size = 4 * self.width * tokens if self.count else 0
        return size if size <= MAX_BYTES else 0

    def sentence(self, tokens: int | None = None) -> str | None:
        """What forms, logs and reports say; None if there are no frozen blocks.

        Args:
            tokens: in all texts of the task, if known.
        """
        if not self.count:
            return None
        if self.count == self.total:
            blocks = "No block of the network is trained, so the blocks run"
        elif self.count == 1:
            blocks = f"The first of {self.total} blocks is frozen, so it runs"
        else:
            blocks = f"The first {self.count} of {self.total} blocks are frozen, so they run"
        if tokens and not self.kept_bytes(tokens):
            return f"{blocks} without dropout; what they give for all texts is too large to be kept."
        return f"{blocks} without dropout, once for each text."


@lru_cache(maxsize=256)
def frozen_blocks(spec: NetworkSpec, method: MethodSpec) -> FrozenBlocks:
    """The frozen blocks of a network as a method prepares it, found without weights; cached, since pages ask often.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    if not isinstance(spec.examples(1), TextExamples):
        return FrozenBlocks(0, 0, 0)
    return FrozenBlocks.of(method.prepare(spec.build()), spec.examples(2).batch(slice(None)))


@dataclass(frozen=True, eq=False)
class KnownTexts(TextExamples):
    """Texts with what enters the first trained block."""

    states: Tensor = field(default_factory=lambda: torch.empty(0))
    """(t, width): one row per token of :attr:`tokens`."""

    @classmethod
    def with_states(cls, texts: TextExamples, states: Tensor) -> Self:
        """These texts, with their states."""
        return cls(texts.tokens, texts.offsets, texts.labels, texts.padding, texts.longest, states)

    def to(self, device: torch.device | str) -> Self:
        return replace(super().to(device), states=self.states.to(device))

    def first(self, count: int) -> Self:
        return replace(super().first(count), states=self.states)

    def at(self, rows: Tensor) -> Self:
        own = [torch.arange(*self.offsets[row : row + 2].tolist()) for row in rows.tolist()]
        places = torch.cat([torch.arange(0), *own]).to(self.device)
        return replace(super().at(rows), states=self.states[places])

    def batch(self, rows: Tensor | slice) -> Batch:
        """The inputs of the network, and :data:`STATES` of shape (k, tokens of the longest one, width)."""
        inputs = super().batch(rows)
        shape = inputs["input_ids"].shape
        # Padding gets the states of whatever follows: no token sees it, see :func:`_sees_padding`.
        places = self.offsets[:-1][rows][:, None] + torch.arange(shape[1], device=self.device)
        places = places.clamp_max(max(len(self.states) - 1, 0)).flatten()
        return {**inputs, STATES: self.states.index_select(0, places).view(*shape, -1)}


class Resumed(nn.Module):
    """A network that begins with its first trained block where a batch has :data:`STATES`."""

    def __init__(self, network: nn.Module, frozen: FrozenBlocks) -> None:
        """Args: network: the network, which is not changed; frozen: its blocks."""
        super().__init__()
        self.network = network
        self._known = threading.local()
        """Has ``states`` on a thread that computes from states: threads may evaluate different batches at once."""
        skipped, empty = [network.get_submodule(path) for path in frozen.paths], frozen.empty
        self._swapped = Swapped({block: self._passed(block, block is skipped[-1], empty) for block in skipped})
        setattr(self, SPEC, spec_on(network))

    def forward(self, **batch: Tensor) -> Tensor:
        states = batch.pop(STATES, None)
        if states is None:
            return forward(self.network, batch)
        self._known.states = states
        try:
            with self._swapped:
                return forward(self.network, batch)
        finally:
            del self._known.states

    def _passed(self, block: nn.Module, is_last: bool, empty: int) -> Forward:
        """A block that passes on what it gets, and the last one the states of the batch."""
        own = own_forward(block)

        def run(*args: Any, **kwargs: Any) -> Any:
            states = getattr(self._known, "states", None)
            if states is None:  # another thread computes from states meanwhile, this one does not
                return own(*args, **kwargs)
            found = states if is_last else _hidden(args, kwargs)
            return found if empty < 0 else (found, *[None] * empty)

        return run


class FrozenStates:
    """The states of all texts that training and its evaluations ask for, for networks with the same frozen blocks."""

    def __init__(self, network: nn.Module, frozen: FrozenBlocks, parts: Sequence[TextExamples]) -> None:
        """Args: network: one that has the blocks; frozen: the blocks; parts: texts whose states are wanted."""
        self.frozen = frozen
        self._network, self._parts = network, parts
        self._known: dict[Examples, Examples] = {}

    @property
    def tokens(self) -> int:
        """Number of tokens of all texts."""
        return sum(len(part.tokens) for part in self._parts)

    @property
    def sentence(self) -> str | None:
        """What the log of a run says; see :meth:`FrozenBlocks.sentence`."""
        return self.frozen.sentence(self.tokens)

    def fits(self, network: nn.Module, frozen: FrozenBlocks) -> bool:
        """Whether the states are those of another network too."""
        if frozen != self.frozen:
            return False
        own, other = (_constants(each) for each in (self._network, network))
        return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)

    def compute(self, look: Callable[[], None] = lambda: None) -> None:
        """Compute them if they fit in :data:`MAX_BYTES`.

        They are computed on all cores, and always in the same batches, so that a resumed run has the same ones.

        Args:
            look: called every now and then; an exception from it ends the work.
        """
        if not self.frozen.kept_bytes(self.tokens):
            return
        self._known = {part: KnownTexts.with_states(part, self._states(part, look)) for part in self._parts}

    def of(self, examples: Examples) -> Examples:
        """The same examples with their states, if they were computed."""
        return self._known.get(examples, examples)

    def on(self, task: Task) -> Task:
        """The same task with the states of those parts that have them."""
        return replace(task, train=self.of(task.train), validation=self.of(task.validation))

    def _states(self, texts: TextExamples, look: Callable[[], None]) -> Tensor:
        first = next(p for p in self._network.parameters() if p.dtype.is_floating_point)
        states = torch.empty(len(texts.tokens), self.frozen.width, dtype=first.dtype, device=texts.device)
        last = self._network.get_submodule(self.frozen.paths[-1])
        chunks = torch.split(texts.by_length(), TEXTS)
        threads = available_cores() if texts.device.type == "cpu" else 1

        def work(rows: Tensor) -> None:
            batch = texts.batch(rows)
            found, inside = _states_of(self._network, batch), batch["attention_mask"].bool()
            starts = texts.offsets[:-1][rows]
            places = (starts[:, None] + torch.arange(inside.shape[1], device=texts.device))[inside]
            states[places] = found[inside]

        with evaluating(self._network), _ending_after(last), Swapped(fast_layers(self._network)):
            side_by_side(work, chunks, threads, look)
        return states


def texts_of(task: Task, source: Task | None) -> list[TextExamples]:
    """The parts that are read in every epoch; empty if they are not texts."""
    parts = [task.train, task.validation, *([source.validation] if source else [])]
    texts = [part for part in dict.fromkeys(parts) if isinstance(part, TextExamples)]
    return texts if len(texts) == len(dict.fromkeys(parts)) else []


def block_list(network: nn.Module) -> tuple[str, list[nn.Module]]:
    """Path and modules of the longest list of modules that all hold linear layers; empty if there is none."""
    found: tuple[str, list[nn.Module]] = "", []
    for path, module in network.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > len(found[1]):
            blocks = list(module)
            if all(any(map(is_linear, block.modules())) for block in blocks):
                found = path, blocks
    return found


def _sees_padding(block: nn.Module) -> bool:
    """Whether tokens see the positions beside them in a block, whatever the mask says, as in convolutions."""
    return any(
        isinstance(module, nn.Unfold) or (isinstance(module, nn.Conv1d | nn.Conv2d) and max(module.kernel_size) > 1)
        for module in block.modules()
    )


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("hidden_states")


def _output(result: Any) -> Tensor | None:
    """The states that a block returns, alone or before what it leaves empty; None if it returns anything else."""
    if isinstance(result, tuple) and result and all(other is None for other in result[1:]):
        result = result[0]
    return result if isinstance(result, Tensor) else None


class _Trace:
    """What happens in one forward pass: the order of modules, and which states depend on what is trained."""

    def __init__(self, network: nn.Module, blocks: Sequence[nn.Module]) -> None:
        self._network, self._blocks = network, list(blocks)
        self._events: list[tuple[str, nn.Module]] = []
        self._depends: list[bool] = []
        self._order: list[int] = []
        self._plain = True
        self.width = 0
        self.empty: int | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record while the network runs."""

        def begin(module: nn.Module, *_: Any) -> None:
            self._events.append(("begin", module))

        def end(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
            self._events.append(("end", module))
            if module in self._blocks:
                states, entered = _output(result), _hidden(args, kwargs)
                self._plain &= states is not None and isinstance(entered, Tensor) and entered.shape == states.shape
                self._plain &= states is not None and states.ndim == 3
                if states is not None:
                    self._depends.append(states.requires_grad)
                    self.width = states.shape[-1]
                empty = len(result) - 1 if isinstance(result, tuple) else -1
                self._plain &= self.empty in (None, empty)
                self.empty = empty
                self._order.append(self._blocks.index(module))

        hooks = []
        for module in self._network.modules():
            hooks.append(module.register_forward_pre_hook(begin))
            hooks.append(module.register_forward_hook(end, with_kwargs=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @property
    def is_chain(self) -> bool:
        """Whether each block ran once, in order, and gave what the next one takes."""
        return self._plain and self._order == list(range(len(self._blocks)))

    @property
    def frozen(self) -> int:
        """Number of blocks whose states depend on nothing that is trained."""
        return next((i for i, depends in enumerate(self._depends) if depends), len(self._depends))

    def done_before(self, count: int) -> list[nn.Module]:
        """Modules whose work is done when the last of the first ``count`` blocks ends."""
        last = self._events.index(("end", self._blocks[count - 1]))
        again = {id(module) for _, module in self._events[last + 1 :]}
        done = dict.fromkeys(module for what, module in self._events[: last + 1] if what == "end")
        return [module for module in done if id(module) not in again]


class _ReachedError(Exception):
    """Ends a forward pass once the states that are wanted are there."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


@contextmanager
def _ending_after(block: nn.Module) -> Iterator[None]:
    def reached(module: nn.Module, args: Any, result: Any) -> None:
        raise _ReachedError(result[0] if isinstance(result, tuple) else result)

    hook = block.register_forward_hook(reached)
    try:
        yield
    finally:
        hook.remove()


def _states_of(network: nn.Module, batch: Batch) -> Tensor:
    """What the last frozen block gives, within :func:`_ending_after`."""
    with torch.no_grad():
        try:
            return forward(network, batch)
        except _ReachedError as reached:
            return reached.states


def _constants(network: nn.Module) -> dict[str, Tensor]:
    """All tensors that the states may depend on: those that are not trained."""
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    return {name: tensor for name, tensor in tensors.items() if name not in trained}
