"""Language models: what imported ones and those that are pretrained here share, and the imported ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.data.examples import SCORED, LanguageExamples
from core.errors import SpecError
from core.methods.method import Role
from core.networks.hugging_face import build_causal, fill_causal
from core.networks.imported import RANDOM_LENGTH, HuggingFaceSpec, ImportedSpec
from core.networks.network import NetworkSpec
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


TESTED = ("gpt2", "llama", "qwen2", "qwen3")
"""Architectures whose training here is compared with that in transformers and PEFT; SmolLM is a Llama."""


class CausalSpec(LanguageModelSpec, ImportedSpec):
    """A network that continues texts, made of the same files as :class:`core.networks.transformer.TransformerSpec`."""

    kind: Literal["causal"] = "causal"
    title = "language model"
    rate_factors = {Role.ADAPTER: 10.0}  # noqa: RUF012 (a constant)
    training = {  # noqa: RUF012 (a constant)
        "batch_size": 8,
        "epochs": 3,
        "warmup": 0.1,
        "decay": "linear",
        "clip": 1.0,
    }
    reasons = {  # noqa: RUF012 (a constant)
        "learning_rate": "that of Hugging Face's Trainer",
        Role.ADAPTER: "10 times that of full fine-tuning, as measured in LoRA Without Regret",
        "batch_size": "as in TRL's SFTTrainer; a text has many tokens to learn from",
        "epochs": "as in Hugging Face's Trainer; imported weights need few, and more overfit",
        "weight_decay": "decay grows with the learning rate, and so would be another one for each method",
        "warmup": "Adam's estimates come from few steps at first, when large steps do lasting damage",
        "decay": "the last steps are small, so that the result does not depend on the last batches",
        "clip": "one odd batch must not undo the imported weights",
        "rank": "in the LoRA paper ranks from 1 to 64 are about as good, and a low one is cheap",
        "alpha": "twice the default rank, so that the adapter's output counts double",
        "target_modules": "in the QLoRA paper it took adapters on every linear layer to match full fine-tuning",
    }
    given_by_data = NetworkSpec.given_by_data | {"weights", "model", "config"}

    def drawn(self, device: torch.device, seed: int | None = None) -> nn.Module:
        self.check_tested()
        return build_causal(self.config, device, seed)

    def filled(self, weights: Mapping[str, Tensor], seed: int) -> nn.Module:
        self.check_tested()
        return self._marked(fill_causal(self.config, weights))

    def check_tested(self) -> None:
        """Check that the architecture is one of :data:`TESTED`. Raises: SpecError: it is another one."""
        kind = self.values["model_type"]
        if kind not in TESTED:
            raise SpecError(
                f"LoRA Lab trains language models of the architectures {', '.join(TESTED)}, not {kind[:60]!r}: choose "
                "another network, or learn classes with this one."
            )
