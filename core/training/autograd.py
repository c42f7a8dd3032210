"""Train any single module with autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.task import EvaluationPart, Task
from core.networks.perceptron import forward
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
        # One fused kernel for all tensors: the default loop over many small ones takes longer than the matrix products.
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.parameters, lr=learning_rate, fused=fused)

    def advance(self, rows: Tensor) -> Tensor:
        losses = []
        for chunk in self._cores.chunks(rows):
            for batch in chunk[0]:
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
        examples = self.task.train
        loss = F.cross_entropy(forward(self.network, examples.batch(batch)), examples.labels[batch])
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
        known = [(p, self.optimizer.state.get(p, {})) for p in self.parameters]  # {} before the first step
        first, second = (
            [state[key].clone() if state else torch.zeros_like(p) for p, state in known] for key in MOMENTS
        )
        updates = int(known[0][1]["step"].item()) if known[0][1] else 0
        return Learnt(self.trained(member), first, second, updates)

    def resume(self, learnt: Sequence[Learnt]) -> None:
        (own,) = learnt
        moments = [[torch.zeros_like(p) for p in self.parameters] for _ in MOMENTS]
        for tensors, targets in zip((own.first, own.second), moments, strict=True):
            copy_into(tensors, targets)
        copy_into(own.values, [p.detach() for p in self.parameters])
        for p, first, second in zip(self.parameters, *moments, strict=True):
            step = torch.tensor(float(own.updates), dtype=torch.float32, device=p.device)
            self.optimizer.state[p] = {"step": step, **dict(zip(MOMENTS, (first, second), strict=True))}

    def write_back(self, member: int) -> None:
        """Do nothing: the module itself was trained."""

    def retire(self, member: int) -> None:
        """Do nothing: without its only member, training has ended."""
