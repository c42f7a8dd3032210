"""What the training loop needs of whatever it trains, and the general case: any one module, by autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.tasks import EvaluationPart, Task
from core.training.checkpoint import Learnt, put
from core.training.cores import Cores
from core.training.evaluation import Evaluation, evaluate_both

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What torch.optim.Adam calls its moments."""


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


class AutogradStepper:
    """Trains any one module by autograd, with Adam on whatever its ``requires_grad`` leaves trainable."""

    members = 1
    shards = 1

    def __init__(
        self, network: nn.Module, learning_rate: float, task: Task, seed: int = 0, source: Task | None = None
    ) -> None:
        """Args:
        network: on the task's device already.
        learning_rate: step size of Adam.
        task: what to learn.
        seed: fixes the data order.
        source: the base's own task, watched for forgetting.
        """
        self.network = network
        self.task = task
        self.source = source
        self.seeds = (seed,)
        self.device = task.train_x.device
        self._cores = Cores()
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        # One fused kernel over all tensors: the usual loop over twelve small ones costs more than their products.
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.parameters, lr=learning_rate, fused=fused)

    def advance(self, rows: Tensor) -> Tensor:
        losses = []
        for piece in self._cores.pieces(rows):
            for batch in piece[0]:
                losses.append(self._gradients(batch))
                self.optimizer.step()
        return torch.stack(losses).unsqueeze(1)

    @property
    def threads(self) -> int:
        return self._cores.count

    def use_threads(self, count: int, slowest: float = math.inf) -> None:
        self._cores.use(count, slowest)

    def rehearse(self, rows: Tensor) -> None:
        for batch in rows[0]:
            self._gradients(batch)

    def _gradients(self, batch: Tensor) -> Tensor:
        loss = F.cross_entropy(self.network(self.task.train_x[batch]), self.task.train_y[batch])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def evaluate(
        self, member: int, part: EvaluationPart = "validation", source: bool = True
    ) -> tuple[Evaluation, Evaluation | None]:
        return evaluate_both(self.network, self.task, self.source if source else None, part)

    def trained(self, member: int) -> list[Tensor]:
        return [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def restore(self, member: int, trained: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, trained, strict=True):
            parameter.copy_(value)

    def learnt(self, member: int) -> Learnt:
        known = [(p, self.optimizer.state.get(p, {})) for p in self.parameters]  # empty before the first step
        first, second = (
            [state[key].clone() if state else torch.zeros_like(p) for p, state in known] for key in MOMENTS
        )
        updates = int(known[0][1]["step"].item()) if known[0][1] else 0
        return Learnt(self.trained(member), first, second, updates)

    def go_on(self, learnt: Sequence[Learnt]) -> None:
        (own,) = learnt
        moments = [[torch.zeros_like(p) for p in self.parameters] for _ in MOMENTS]
        for tensors, places in zip((own.first, own.second), moments, strict=True):
            put(tensors, places)
        put(own.values, [p.detach() for p in self.parameters])
        for p, first, second in zip(self.parameters, *moments, strict=True):
            step = torch.tensor(float(own.updates), dtype=torch.float32, device=p.device)
            self.optimizer.state[p] = {"step": step, **dict(zip(MOMENTS, (first, second), strict=True))}

    def write_back(self, member: int) -> None:
        """Nothing to do: the module itself was trained."""

    def retire(self, member: int) -> None:
        """Nothing to do: with its only member, the training has ended."""

    def memory(self, member: int) -> int:
        return training_bytes(self.network)


def training_bytes(network: nn.Module) -> int:
    """Bytes of a network's weights, and of gradients and Adam's two moments for those that are trained."""
    sizes = {p: p.numel() * p.element_size() for p in network.parameters()}
    return sum(sizes.values()) + 3 * sum(size for p, size in sizes.items() if p.requires_grad)
