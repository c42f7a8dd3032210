"""Members of a bank that go through each step together: buffers, loss, and the order of things.

What a layer computes is left to :mod:`core.training.bank.full` and :mod:`core.training.bank.low_rank`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.training.bank.adam import FlatAdam
from core.training.bank.algebra import Algebra
from core.training.bank.graph import captured
from core.training.bank.script import Stretch, call_by_call, scripted
from core.training.bank.tape import Tape

BLOCK = 1024
"""Images a pass while evaluating: what they need stays in a core's cache."""


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a task as a bank sees it: behind the layers that none of its members trains."""

    x: Tensor
    """(n, features) inputs of the first trained layer."""
    product: Tensor | None
    """(n, outputs) of that layer, x Wᵀ + b, where W is frozen; None where it is trained."""
    y: Tensor
    """(n,) labels."""


@dataclass(frozen=True, eq=False)
class Activation:
    """What the way back needs of a layer's way forward."""

    x: Tensor
    """Its inputs, (members or orders, batch, features)."""
    projected: Tensor | None = None
    """(x A)ᵀ of shape (members, rank, batch), where the layer is adapted."""
    summed: Tensor | None = None
    """W + ΔW of shape (members, outputs, features), where the layer was multiplied with the sum."""


class Program:
    """A step for one batch size: static buffers, and the calls that fill them."""

    def __init__(self, members: int, groups: int, batch: int, classes: int, like: Tensor) -> None:
        """Args:
        members: runs in the shard.
        groups: data orders among them.
        batch: images a step.
        classes: outputs of the networks.
        like: a tensor of the right dtype and device.
        """
        self.members, self.groups, self.batch = members, groups, batch
        self._like = like
        self.rows = torch.zeros(groups, batch, dtype=torch.int64, device=like.device)
        """Where the next step's rows are put, one line a data order."""
        self.member_rows = self.rows if groups == members else self.rows.new_zeros(members, batch)
        self.labels = self.rows.new_zeros(members, 1, batch)
        self.logits = self.buffer(members, classes, batch)
        """Classes before images: softmax then runs along whole cache lines, ten times faster."""
        self.loss = self.buffer(members)
        """The mean loss of each member."""
        self.tape = Tape()
        """From the rows to losses and gradients; changes no weight."""
        self.apart: dict[int, Tensor] = {}
        """Gradients that are not in Adam's flat buffer, by number of the segment."""
        self.update = Tape()
        """From the gradients to new weights."""
        self._stretches: dict[bool, Stretch] = {}

    def run(self, rows: Tensor, losses: Tensor, update: bool, state: Sequence[Tensor]) -> None:
        """Make steps.

        Args:
            rows: (orders, steps, batch) images of each step.
            losses: (steps, members), filled.
            update: whether parameters change; without, all else of a step is done.
            state: what a step changes for good.
        """
        if update not in self._stretches:
            self._stretches[update] = self._stretch(update, state)
        self._stretches[update](rows, losses)

    def _stretch(self, update: bool, state: Sequence[Tensor]) -> Stretch:
        calls = [*self.tape.calls, *(self.update.calls if update else [])]

        def step() -> None:
            for call in calls:
                call()

        if self.rows.is_cuda:
            return call_by_call(captured(step, state), self.rows, self.loss)
        return scripted(calls, self.rows, self.loss) or call_by_call(step, self.rows, self.loss)

    def buffer(self, *shape: int) -> Tensor:
        """A tensor for results of the step."""
        return torch.zeros(shape, dtype=self._like.dtype, device=self._like.device)


class Shard(ABC):
    """K networks of one architecture, trained in lockstep on one thread or stream."""

    adam: FlatAdam

    def __init__(self, networks: Sequence[nn.Module], orders: Sequence[int], train: Part, classes: int) -> None:
        """Args:
        networks: the members, in the order that suits their data orders.
        orders: number of each member's data order; equal ones are neighbours.
        train: what they learn.
        classes: outputs of the networks.
        """
        self.networks = list(networks)
        self.orders = list(dict.fromkeys(orders))
        self.counts = [list(orders).count(order) for order in self.orders]
        self.train = train
        self.classes = classes
        self.algebra = Algebra(len(self.networks))
        self._order_of = torch.tensor([self.orders.index(order) for order in orders], device=train.x.device)
        self._programs: dict[int, Program] = {}

    @abstractmethod
    def _record_forward(self, program: Program) -> list[Activation]:
        """Add the way from ``program.rows`` to ``program.logits``; give what each layer saw."""

    @abstractmethod
    def _record_backward(self, program: Program, seen: list[Activation], grad: Tensor) -> None:
        """Add the way from the logits' gradient of shape (members, classes, batch) to the parameters' gradients.

        They go to ``adam.gradients``, or into ``program.apart``.
        """

    @abstractmethod
    def trained(self, member: int) -> list[nn.Parameter]:
        """A member's trained parameters."""

    @abstractmethod
    def views(self, member: int, flat: Tensor) -> list[Tensor]:
        """What belongs to each of them in one of Adam's flat buffers, in the parameter's shape."""

    def parameters(self, member: int) -> list[tuple[nn.Parameter, Tensor]]:
        """A member's trained parameters, each with the view of the flat buffer that holds its value."""
        return list(zip(self.trained(member), self.views(member, self.adam.values), strict=True))

    @abstractmethod
    def outputs(self, member: int, part: Part) -> Tensor:
        """Logits of shape (n, classes)."""

    def program(self, batch: int) -> Program:
        """The step for batches of this size, recorded when it is first asked for."""
        if batch not in self._programs:
            with torch.inference_mode():
                self._programs[batch] = self._record(batch)
        return self._programs[batch]

    def run(self, rows: Tensor, losses: Tensor, update: bool = True) -> None:
        """Train.

        Args:
            rows: (orders, steps, batch) images of each step, in the order of :attr:`orders`.
            losses: (steps, members); filled with the losses before each step.
            update: whether parameters change; without, all else of a step is done.
        """
        program = self.program(rows.shape[2])
        with torch.inference_mode(), no_denormals():
            program.run(rows, losses, update, self.adam.state)

    def load(self, member: int) -> None:
        """Take a member's parameters from its module."""
        for parameter, value in self.parameters(member):
            value.copy_(parameter.detach())

    def _record(self, batch: int) -> Program:
        program = Program(len(self.networks), len(self.orders), batch, self.classes, self.adam.values)
        tape = program.tape
        if program.member_rows is not program.rows:
            tape.add("gather", torch.index_select, program.rows, 0, self._order_of, out=program.member_rows)
        own = program.member_rows.view(-1)
        tape.add("gather", torch.index_select, self.train.y, 0, own, out=program.labels.view(-1))
        seen = self._record_forward(program)
        self._record_backward(program, seen, self._record_loss(program))
        self.adam.record(program.update, program.apart)
        return program

    def _record_loss(self, program: Program) -> Tensor:
        """Softmax, cross entropy and its gradient: (softmax − one-hot) / batch."""
        tape, labels = program.tape, program.labels
        logs, grad = torch.zeros_like(program.logits), torch.zeros_like(program.logits)
        picked = program.buffer(program.members, 1, program.batch)
        minus_ones = torch.full_like(picked, -1)
        tape.add("loss", torch.log_softmax, program.logits, -2, out=logs)
        tape.add("loss", torch.gather, logs, -2, labels, out=picked)
        # A tensor: torch would make one of a number at every step.
        share = torch.full_like(picked[0, 0], 1 / program.batch)
        tape.add("loss", torch.mv, picked.view(program.members, -1), -share, out=program.loss)
        # Not the exponential of what is there: MKL would make it, and keep two threads waiting for each other.
        tape.add("loss", torch.softmax, program.logits, -2, out=grad)
        tape.add("loss", grad.scatter_add_, -2, labels, minus_ones)
        tape.add("loss", grad.mul_, share)
        return grad


@contextmanager
def no_denormals() -> Iterator[None]:
    """Let this thread take numbers too small for full precision for zero meanwhile, where the processor can.

    Adam's second moments are squares of gradients: once a network has learnt its data they are below
    1e-38 by the thousand, and arithmetic on them is so slow that a step took a third longer. Threads
    that torch makes to help this one do the same for good if it makes them meanwhile.
    """
    smallest = sys.float_info.min
    already = smallest / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)


def transposed(tensor: Tensor) -> Tensor:
    """A view with the last two dimensions swapped."""
    return tensor.transpose(-1, -2)
