"""A task: a dataset seen in one way, as tensors on the training device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from core.data.examples import Examples
from core.data.task_spec import TaskSpec

EvaluationPart = Literal["validation", "test"]
"""The parts that are not trained on: one to choose settings by, one to report."""


@dataclass(frozen=True, eq=False)
class Task:
    """Examples to train on, to validate with and to test with."""

    spec: TaskSpec
    classes: tuple[int, ...]
    """Labels that occur, sorted; they keep the dataset's numbers. Empty without classes."""
    class_names: tuple[str, ...]
    """Name of each label of the dataset, including labels left out: ``class_names[label]``."""
    train: Examples
    validation: Examples
    test: Examples

    @classmethod
    def of_one_part(cls, examples: Examples, num_classes: int) -> Task:
        """A task of no dataset, with the same examples in each part, to time or count what training takes."""
        return cls(TaskSpec.of(), tuple(range(num_classes)), (), examples, examples, examples)

    @property
    def num_train(self) -> int:
        """Number of training examples."""
        return len(self.train)

    @property
    def device(self) -> torch.device:
        """The device that its examples are on."""
        return self.train.device

    def part(self, name: EvaluationPart) -> Examples:
        """The examples of one part."""
        return self.test if name == "test" else self.validation

    def tensors(self) -> list[Tensor]:
        """Every tensor of its examples."""
        return [tensor for part in (self.train, self.validation, self.test) for tensor in part.tensors()]

    def to(self, device: torch.device | str) -> Task:
        """The same task on another device; tensors already on it are shared."""
        return replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )
