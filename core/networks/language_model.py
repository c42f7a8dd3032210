"""Language models: what imported ones and those that are pretrained here share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from core.data.language_examples import SCORED, LanguageExamples
from core.errors import SpecError
from core.networks.imported import RANDOM_LENGTH, HuggingFaceSpec
from core.networks.scoring import SCORES


class LanguageModelSpec(HuggingFaceSpec):
    """A causal language model: texts are scored by :mod:`core.networks.scoring`."""

    learns = "language"
    task_type = "CAUSAL_LM"

    num_classes: int = Field(
        SCORES, ge=SCORES, le=SCORES, title="Numbers per text", description="Nats, and tokens predicted rightly."
    )

    def examples(
        self, count: int, generator: torch.Generator | None = None, length: int | None = None
    ) -> LanguageExamples:
        length = max(2, min(length or RANDOM_LENGTH, self.longest_input or length or RANDOM_LENGTH))
        return LanguageExamples.random(count, length, self.vocabulary, self.padding, self.num_classes, generator)

    @property
    def pretrained(self) -> dict[str, Any]:
        return {"dtype": "float32"}

    def can_read(self, batch: Mapping[str, Tensor]) -> bool:
        return SCORED in batch and super().can_read({name: batch[name] for name in batch if name != SCORED})

    def check_fit(self, dataset: str, inputs: Mapping[str, tuple[int, ...]], classes: Sequence[int]) -> None:
        if SCORED not in inputs:
            raise SpecError(f"A {self.title} continues texts, but {dataset} has none: choose another dataset.")
