"""Members of a bank that are trained together: buffers, loss, and the structure of a step.

The layers are implemented in :mod:`core.training.bank.full` and :mod:`core.training.bank.low_rank`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.training.bank.adam import FlatAdam
from core.training.bank.algebra import Algebra
from core.training.bank.tape import Steps, Tape, call_by_call, captured, scripted

BLOCK = 1024
"""Images per forward pass in evaluation: few enough for a core's cache."""


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a task, after the layers that no member of the bank trains."""

    x: Tensor
    """(n, features) inputs of the first trained layer."""
    product: Tensor | None
    """(n, outputs) of that layer, x Wᵀ + b, if W is frozen; None if it is trained."""
    y: Tensor
    """(n,) labels."""

    def blocks(self) -> list[Part]:
        """The part in pieces of at most :data:`BLOCK` images."""
        tensors = [self.x, self.y] if self.product is None else [self.x, self.y, self.product]
        pieces = zip(*(torch.split(tensor, BLOCK) for tensor in tensors), strict=True)
        return [Part(x, product[0] if product else None, y) for x, y, *product in pieces]


@dataclass(frozen=True, eq=False)
class Activation:
    """Tensors of a layer's forward pass that the backward pass needs."""

    x: Tensor
    """Inputs, (members or orders, batch, features)."""
    projected: Tensor | None = None
    """(x A)ᵀ of shape (members, rank, batch), if the layer is adapted."""
    summed: Tensor | None = None
    """W + ΔW of shape (members, outputs, features), if the forward pass used the sum."""


Forward = Callable[[Part], Tensor]
"""From n images to logits of shape (n, classes)."""


class Program:
    """A step for one batch size: static buffers and the calls that fill them."""

    def __init__(self, members: int, groups: int, batch: int, classes: int, like: Tensor) -> None:
        """Args:
        members: number of runs in the shard.
        groups: number of distinct data orders among them.
        batch: images per step.
        classes: number of outputs of the networks.
        like: a tensor with the dtype and device of the buffers.
        """
        self.members, self.groups, self.batch = members, groups, batch
        self._like = like
        self.rows = torch.zeros(groups, batch, dtype=torch.int64, device=like.device)
        """Rows of the next step, (orders, batch)."""
        self.member_rows = self.rows if groups == members else self.rows.new_zeros(members, batch)
        self.labels = self.rows.new_zeros(members, 1, batch)
        self.logits = self.buffer(members, classes, batch)
        """Classes before images, so that softmax works on whole cache lines, which is ten times faster."""
        self.loss = self.buffer(members)
        """Mean loss of each member."""
        self.tape = Tape()
        """Calls that compute losses and gradients from rows, and change no weights."""
        self.apart: dict[int, Tensor] = {}
        """Gradients stored outside Adam's flat buffer, by segment number."""
        self.update = Tape()
        """Calls that update the weights from the gradients."""
        self._steps: dict[bool, Steps] = {}

    def run(self, rows: Tensor, losses: Tensor, update: bool, state: Sequence[Tensor]) -> None:
        """Do some steps.

        Args:
            rows: (orders, steps, batch) images of each step.
            losses: (steps, members), filled.
            update: whether to change the parameters; everything else of a step is done either way.
            state: tensors that a step changes permanently.
        """
        if update not in self._steps:
            self._steps[update] = self._compiled(update, state)
        self._steps[update](rows, losses)

    def _compiled(self, update: bool, state: Sequence[Tensor]) -> Steps:
        def step() -> None:
            self.tape.run()
            if update:
                self.update.run()

        if self.rows.is_cuda:
            return call_by_call(captured(step, state), self.rows, self.loss)
        calls = [*self.tape.calls, *(self.update.calls if update else ())]
        return scripted(calls, self.rows, self.loss) or call_by_call(step, self.rows, self.loss)

    def buffer(self, *shape: int) -> Tensor:
        """A tensor for intermediate results."""
        return torch.zeros(shape, dtype=self._like.dtype, device=self._like.device)


class Shard(ABC):
    """Networks of the same sizes, trained in lockstep on one thread or stream."""

    adam: FlatAdam

    def __init__(self, networks: Sequence[nn.Module], orders: Sequence[int], train: Part, classes: int) -> None:
        """Args:
        networks: the members, sorted by data order.
        orders: number of each member's data order; equal ones are adjacent.
        train: the training part.
        classes: number of outputs of the networks.
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
        """Record the forward pass from ``program.rows`` to ``program.logits``; returns each layer's activations."""

    @abstractmethod
    def _record_backward(self, program: Program, seen: list[Activation], grad: Tensor) -> None:
        """Record the backward pass from the logits' gradient, (members, classes, batch), to the parameters' gradients.

        They are written to ``adam.gradients`` or ``program.apart``.
        """

    @abstractmethod
    def trained(self, member: int) -> list[nn.Parameter]:
        """A member's trained parameters."""

    @abstractmethod
    def views(self, member: int, flat: Tensor) -> list[Tensor]:
        """Views of the member's part of one of Adam's flat buffers, in the parameters' shapes."""

    def parameters(self, member: int) -> list[tuple[nn.Parameter, Tensor]]:
        """A member's trained parameters, each with the view of the flat buffer that has its value."""
        return list(zip(self.trained(member), self.views(member, self.adam.values), strict=True))

    @abstractmethod
    def forward(self, member: int) -> Forward:
        """A function to a member's logits from a part of a task; several threads may call it until the next step."""

    def program(self, batch: int) -> Program:
        """The step for this batch size, recorded at the first call."""
        if batch not in self._programs:
            with torch.inference_mode():
                self._programs[batch] = self._record(batch)
        return self._programs[batch]

    def run(self, rows: Tensor, losses: Tensor, update: bool = True) -> None:
        """Train for some steps.

        Args:
            rows: (orders, steps, batch) images of each step, in the order of :attr:`orders`.
            losses: (steps, members); filled with the losses before each step.
            update: whether to change the parameters; everything else of a step is done either way.
        """
        program = self.program(rows.shape[2])
        with torch.inference_mode(), no_denormals():
            program.run(rows, losses, update, self.adam.state)

    def load(self, member: int) -> None:
        """Copy a member's parameters from its module."""
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
        """Record softmax, cross entropy and its gradient, (softmax − one-hot) / batch; returns the gradient."""
        tape, labels = program.tape, program.labels
        logs, grad = torch.zeros_like(program.logits), torch.zeros_like(program.logits)
        picked = program.buffer(program.members, 1, program.batch)
        minus_ones = torch.full_like(picked, -1)
        tape.add("loss", torch.log_softmax, program.logits, -2, out=logs)
        tape.add("loss", torch.gather, logs, -2, labels, out=picked)
        # A tensor, because torch would convert a number to one at every step.
        share = torch.full_like(picked[0, 0], 1 / program.batch)
        tape.add("loss", torch.mv, picked.view(program.members, -1), -share, out=program.loss)
        # Not exp(logs): MKL would compute it, and make two threads wait for each other.
        tape.add("loss", torch.softmax, program.logits, -2, out=grad)
        tape.add("loss", grad.scatter_add_, -2, labels, minus_ones)
        tape.add("loss", grad.mul_, share)
        return grad


@contextmanager
def no_denormals() -> Iterator[None]:
    """Flush denormal numbers to zero on this thread, if the processor supports it.

    Adam's second moments are squares of gradients: once a network fits its data, thousands of them are below 1e-38, and
    arithmetic on denormals is so slow that a step took a third longer. Worker threads that torch creates within this
    context keep the setting permanently.
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
