"""The general step: any one module, by autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.tasks import EvaluationPart, Task
from core.training.checkpoint import Learnt, put
from core.training.cores import Cores
from core.training.evaluation import Evaluation, evaluate_both
from core.training.stepper import training_bytes

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What torch.optim.Adam calls its moments."""


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
