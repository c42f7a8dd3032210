"""What the training loop needs of whatever it trains, and the general case: any one module, by autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from core.data.tasks import EvaluationPart, Task
from core.training.checkpoint import Learnt
from core.training.evaluation import Evaluation


class Stepper(Protocol):
    """Networks that are trained in lockstep on one task: the members, numbered from 0."""

    @property
    def members(self) -> int:
        """How many there are."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they are trained."""
        ...

    @property
    def seeds(self) -> Sequence[int]:
        """Each member's seed; members of one seed see the data in one order."""
        ...

    @property
    def task(self) -> Task:
        """What they learn."""
        ...

    def advance(self, rows: Tensor) -> Tensor:
        """Train for some steps.

        Args:
            rows: (orders, steps, batch) rows of the training part: for every distinct seed, in the
                order in which they first occur in :attr:`seeds`, the images of each step.

        Returns:
            The mean cross entropies before each step: (steps, members), detached, on the device.
        """
        ...

    @property
    def shards(self) -> int:
        """Parts that can be trained side by side; where there is one, more threads split its products."""
        ...

    @property
    def threads(self) -> int:
        """Threads of the CPU in use now."""
        ...

    def use_threads(self, count: int, slowest: float = math.inf) -> None:
        """Train on this many threads from now on.

        Args:
            count: how many.
            slowest: where they split products, go back to one once a step takes this many seconds.
        """
        ...

    def rehearse(self, rows: Tensor) -> None:
        """All the work of :meth:`advance` except that no weight changes; for trials of speed."""
        ...

    def evaluate(
        self, member: int, part: EvaluationPart = "validation", source: bool = True
    ) -> tuple[Evaluation, Evaluation | None]:
        """A member, trained or retired since the last step, on one part of its tasks.

        Args:
            member: its number.
            part: of the task, and of the source task.
            source: whether to look at the source task, where there is one.
        """
        ...

    def trained(self, member: int) -> list[Tensor]:
        """Copies of the tensors that training changes."""
        ...

    def restore(self, member: int, trained: list[Tensor]) -> None:
        """Put back what :meth:`trained` gave."""
        ...

    def learnt(self, member: int) -> Learnt:
        """Copies of the tensors that training changes, and of what the optimiser keeps for each."""
        ...

    def go_on(self, learnt: Sequence[Learnt]) -> None:
        """Take up, before the first step, what :meth:`learnt` gave for each member at one step.

        Raises:
            CheckpointError: it is of another network, or the members were at different steps.
        """
        ...

    def write_back(self, member: int) -> None:
        """Put the trained values into the member's own module."""
        ...

    def retire(self, member: int) -> None:
        """The member has ended: what becomes of it from the next step on does not matter."""
        ...

    def memory(self, member: int) -> int:
        """Bytes of a member's weights, gradients and optimiser state."""
        ...


def training_bytes(network: nn.Module) -> int:
    """Bytes of a network's weights, and of gradients and Adam's two moments for those that are trained."""
    sizes = {p: p.numel() * p.element_size() for p in network.parameters()}
    return sum(sizes.values()) + 3 * sum(size for p, size in sizes.items() if p.requires_grad)
