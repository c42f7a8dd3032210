"""Several modules trained by autograd side by side, where the fast step cannot be used."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from core.data.task import EvaluationPart
from core.training.autograd import AutogradStepper
from core.training.checkpoint import Learnt
from core.training.evaluation import Evaluation


class OneByOne:
    """One :class:`AutogradStepper` per member, each advanced in turn; see :class:`core.training.stepper.Stepper`.

    A member's results are those of its own stepper, bit for bit.
    """

    shards = 1

    def __init__(self, steppers: Sequence[AutogradStepper]) -> None:
        """Args: steppers: one per member, on the same task and device."""
        self._steppers = list(steppers)
        self.members = len(self._steppers)
        self.seeds = tuple(seed for stepper in self._steppers for seed in stepper.seeds)
        self.task, self.device = self._steppers[0].task, self._steppers[0].device
        orders = list(dict.fromkeys(self.seeds))
        self._orders = [orders.index(seed) for seed in self.seeds]
        self._ended: set[int] = set()

    def advance(self, rows: Tensor) -> Tensor:
        losses = torch.full((rows.shape[1], self.members), math.nan, device=self.device)
        for member in self._active():
            order = self._orders[member]
            losses[:, member : member + 1] = self._steppers[member].advance(rows[order : order + 1])
        return losses

    def _active(self) -> list[int]:
        return [member for member in range(self.members) if member not in self._ended]

    @property
    def threads(self) -> int:
        return max(stepper.threads for stepper in self._steppers)

    def use_threads(self, count: int, slowest: float = math.inf) -> None:
        for stepper in self._steppers:
            stepper.use_threads(count, slowest / self.members)

    def rehearse(self, rows: Tensor) -> None:
        for member in self._active():
            order = self._orders[member]
            self._steppers[member].rehearse(rows[order : order + 1])

    def evaluate(
        self, member: int, part: EvaluationPart = "validation", source: bool = True
    ) -> tuple[Evaluation, Evaluation | None]:
        return self._steppers[member].evaluate(0, part, source)

    def trained(self, member: int) -> list[Tensor]:
        return self._steppers[member].trained(0)

    def restore(self, member: int, trained: list[Tensor]) -> None:
        self._steppers[member].restore(0, trained)

    def learnt(self, member: int) -> Learnt:
        return self._steppers[member].learnt(0)

    def resume(self, learnt: Sequence[Learnt]) -> None:
        for stepper, own in zip(self._steppers, learnt, strict=True):
            stepper.resume([own])

    def write_back(self, member: int) -> None:
        """Do nothing: the module itself was trained."""

    def retire(self, member: int) -> None:
        self._ended.add(member)
