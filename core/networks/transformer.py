"""Transformers that classify texts: any encoder or decoder of Hugging Face that somebody brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.data.examples import TextExamples
from core.errors import SpecError
from core.methods.method import Role
from core.methods.targets import is_in_head
from core.networks.hugging_face import build_classifier, fill_classifier
from core.networks.imported import RANDOM_LENGTH, ImportedSpec
from core.networks.network import NetworkSpec


class TransformerSpec(ImportedSpec):
    """A transformer with a classifier on top, named by the files that its weights come from."""

    kind: Literal["transformer"] = "transformer"
    title = "transformer"
    learns = "text"
    has_head = True
    head_rate = 0.0316
    task_type = "SEQ_CLS"
    learning_rate = 1e-4
    rate_factors = {Role.BASE: 0.5, Role.ADAPTER: 31.6}  # noqa: RUF012 (a constant)
    training = {  # noqa: RUF012 (a constant)
        "batch_size": 32,
        "epochs": 3,
        "warmup": 0.1,
        "decay": "linear",
        "clip": 1.0,
    }
    reasons = {  # noqa: RUF012 (a constant)
        "learning_rate": "found on MiniLM in 3 epochs with 100 texts per class; fewer took more (docs/studies)",
        Role.BASE: "that of Hugging Face's Trainer, and one of those in the BERT paper",
        Role.ADAPTER: "found on MiniLM at rank 8 in 3 epochs, 100 texts per class; fewer took more (docs/studies)",
        "batch_size": "as in the BERT paper; larger batches pad more, and make fewer steps of few texts",
        "epochs": "as in Hugging Face's Trainer; imported weights need few, and more overfit",
        "head_rate": "as measured on MiniLM: at the rate of full fine-tuning a new head hardly learns",
        "weight_decay": "decay grows with the learning rate, and so would be another one for each method",
        "warmup": "Adam's estimates come from few steps at first, when large steps do lasting damage",
        "decay": "the last steps are small, so that the result does not depend on the last batches",
        "clip": "one odd batch must not undo the imported weights",
        "rank": "in the LoRA paper ranks from 1 to 64 are about as accurate, and a low one is cheap",
        "alpha": "twice the default rank, so that the adapter's output counts double",
        "target_modules": "in the QLoRA paper it took adapters on every linear layer to match full fine-tuning",
    }
    given_by_data = NetworkSpec.given_by_data | {"weights", "model", "config", "head"}

    head: tuple[str, ...] = Field(
        ("classifier",),
        min_length=1,
        max_length=16,
        title="Head",
        description="Modules that the weights came without. Every method trains them.",
    )

    @property
    def head_paths(self) -> tuple[str, ...]:
        return self.head

    def drawn(self, device: torch.device, seed: int | None = None) -> nn.Module:
        return build_classifier(self.config, self.num_classes, device, seed)

    def build(self, seed: int | None = None) -> nn.Module:
        if seed is None:
            return super().build()
        drawn = self.drawn(torch.device("cpu"), seed).state_dict()
        # The head that a network with imported weights gets from this seed.
        return self.filled({name: tensor for name, tensor in drawn.items() if not is_in_head(name, self.head)}, seed)

    def filled(self, weights: Mapping[str, Tensor], seed: int) -> nn.Module:
        return self._marked(fill_classifier(self.config, self.num_classes, weights, seed)[0])

    def examples(self, count: int, generator: torch.Generator | None = None, length: int | None = None) -> TextExamples:
        length = min(length or RANDOM_LENGTH, self.longest_input or length or RANDOM_LENGTH)
        return TextExamples.random(count, length, self.vocabulary, self.padding, self.num_classes, generator)

    @property
    def facts(self) -> dict[str, str]:
        head = f"{', '.join(self.head)}: came without weights, trained by every method"
        known = super().facts
        return {**{name: known.pop(name) for name in ("Architecture", "Weights")}, "Head": head, **known}

    @property
    def pretrained(self) -> dict[str, Any]:
        return {
            "num_labels": self.num_classes,
            "pad_token_id": self.padding,
            "dtype": "float32",
            "ignore_mismatched_sizes": True,  # a classifier of other classes in the files
        }

    def check_fit(self, dataset: str, inputs: Mapping[str, tuple[int, ...]], classes: Sequence[int]) -> None:
        if set(inputs) != {"input_ids", "attention_mask"}:
            raise SpecError(f"A transformer reads texts, but {dataset} has none: choose another dataset or network.")
        self._check_classes(dataset, classes)
