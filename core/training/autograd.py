"""Train any single module with autograd.

Layers that draw random numbers, such as dropout, use torch's global generator. It is seeded anew for each step, by the
run's seed and the step's number, so that a run remains a function of its spec, however its steps are grouped and
wherever it was resumed; afterwards it is restored. Two runs with dropout that train at once in one process share it,
and are then not reproducible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.task import EvaluationPart, Task
from core.networks.forward import forward
from core.networks.modes import moving_statistics, start_training
from core.training.checkpoint import Learnt, copy_into
from core.training.cores import Cores
from core.training.evaluation import Evaluation, evaluate_both

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Names of the moments in the state of torch.optim.Adam."""


class AutogradStepper:
    """Trains a single module with autograd, and Adam on its trainable parameters."""

    members = 1
    shards = 1

    def __init__(
        self, network: nn.Module, learning_rate: float, task: Task, seed: int = 0, source: Task | None = None
    ) -> None:
        """Args:
        network: the module, on the task's device.
        learning_rate: learning rate of Adam.
        task: the task to train on.
        seed: seed of the data order.
        source: the task that the base was trained on, to measure forgetting.
        """
        self.network = network
        self.task = task
        self.source = source
        self.seeds = (seed,)
        self.device = task.device
        self._cores = Cores()
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.statistics = moving_statistics(network)
        self._updates = 0
        # One fused kernel for all tensors: the default loop over many small ones takes longer than the matrix products.
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.parameters, lr=learning_rate, fused=fused)

    def advance(self, rows: Tensor) -> Tensor:
        losses = []
        start_training(self.network)
        with self._own_random_numbers():
            for chunk in self._cores.chunks(rows):
                for batch in chunk[0]:
                    losses.append(self._gradients(batch))
                    self.optimizer.step()
                    self._updates += 1
        return torch.stack(losses).unsqueeze(1)

    @property
    def threads(self) -> int:
        return self._cores.count

    def use_threads(self, count: int, slowest: float = math.inf) -> None:
        self._cores.use(count, slowest)

    def rehearse(self, rows: Tensor) -> None:
        before = [buffer.clone() for buffer in self.statistics]
        start_training(self.network)
        with self._own_random_numbers():
            for batch in rows[0]:
                self._gradients(batch)
        copy_into(before, self.statistics)

    def _own_random_numbers(self) -> AbstractContextManager[None]:
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def _gradients(self, batch: Tensor) -> Tensor:
        # torch.manual_seed takes as long as a small step where CUDA is not in use.
        seed_with = torch.default_generator.manual_seed if self.device.type == "cpu" else torch.manual_seed
        seed_with((self.seeds[0] << 32) + self._updates)
        examples = self.task.train
        loss = F.cross_entropy(forward(self.network, examples.batch(batch)), examples.labels[batch])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def evaluate(
        self, member: int, part: EvaluationPart = "validation", source: bool = True
    ) -> tuple[Evaluation, Evaluation | None]:
        return evaluate_both(self.network, self.task, self.source if source else None, part)

    @property
    def _tensors(self) -> list[Tensor]:
        """All that training changes: parameters, then statistics."""
        return [*(p.detach() for p in self.parameters), *self.statistics]

    def trained(self, member: int) -> list[Tensor]:
        return [tensor.clone() for tensor in self._tensors]

    def restore(self, member: int, trained: list[Tensor]) -> None:
        copy_into(trained, self._tensors)

    def learnt(self, member: int) -> Learnt:
        known = [(p, self.optimizer.state.get(p, {})) for p in self.parameters]  # {} before the first step
        first, second = (
            [
                *(state[key].clone() if state else torch.zeros_like(p) for p, state in known),
                *(torch.zeros_like(buffer) for buffer in self.statistics),  # which have no moments
            ]
            for key in MOMENTS
        )
        return Learnt(self.trained(member), first, second, self._updates)

    def resume(self, learnt: Sequence[Learnt]) -> None:
        (own,) = learnt
        moments = [[torch.zeros_like(tensor) for tensor in self._tensors] for _ in MOMENTS]
        for tensors, targets in zip((own.first, own.second), moments, strict=True):
            copy_into(tensors, targets)
        copy_into(own.values, self._tensors)
        self._updates = own.updates
        for p, first, second in zip(self.parameters, *moments, strict=False):
            step = torch.tensor(float(own.updates), dtype=torch.float32, device=p.device)
            self.optimizer.state[p] = {"step": step, **dict(zip(MOMENTS, (first, second), strict=True))}

    def write_back(self, member: int) -> None:
        """Do nothing: the module itself was trained."""

    def retire(self, member: int) -> None:
        """Do nothing: without its only member, training has ended."""
