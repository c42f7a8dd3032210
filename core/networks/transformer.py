"""Transformers that classify texts: any encoder or decoder of Hugging Face that somebody brings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from core.data.text_examples import TextExamples
from core.errors import SpecError
from core.methods.heads import HEAD, is_in_head
from core.methods.method import Role
from core.networks.hugging_face import build_classifier, fill_classifier
from core.networks.network import SPEC, NetworkSpec

RANDOM_LENGTH = 16
"""Tokens of the random texts that networks are tried on."""

MAX_CONFIG = 32_768
"""Maximum length of the JSON of an architecture, in characters."""


AFTER_PADDING = (
    *("camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "markuplm", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Architectures whose positions start after the number of their padding token."""


class TransformerSpec(NetworkSpec):
    """A transformer with a classifier on top, named by the files that its weights come from."""

    kind: Literal["transformer"] = "transformer"
    title = "transformer"
    learns = "text"
    is_imported = True
    has_head = True
    learning_rate = 5e-5
    rate_factors = {Role.ADAPTER: 20.0}  # noqa: RUF012 (a constant)
    training = {  # noqa: RUF012 (a constant)
        "batch_size": 32,
        "epochs": 3,
        "head_rate": 0.0316,
        "warmup": 0.1,
        "decay": "linear",
        "clip": 1.0,
    }
    longer = 0  # hours on a CPU; Fine-tune offers more
    reasons = {  # noqa: RUF012 (a constant)
        "learning_rate": "that of Hugging Face's Trainer, and one of those in the BERT paper",
        Role.ADAPTER: "20 times that of full fine-tuning, since adapters start at zero and have few weights",
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
    evaluation_batch = 32
    max_bytes = 8 * 2**30

    weights: str = Field(
        pattern="^[0-9a-f]{64}$", title="Weights", description="Digest of the files that the network was imported as."
    )
    model: str = Field("", max_length=100, title="Name", description="Name of the network, for people.")
    config: str = Field(
        max_length=MAX_CONFIG, repr=False, title="Architecture", description="Config of transformers, as JSON."
    )
    head: tuple[str, ...] = Field(
        ("classifier",),
        min_length=1,
        max_length=16,
        title="Head",
        description="Modules that the weights came without. Every method trains them.",
    )

    @field_validator("config")
    @classmethod
    def _is_json_object(cls, config: str) -> str:
        try:
            values = json.loads(config)
        except (ValueError, RecursionError) as error:
            raise ValueError("The architecture of a transformer must be JSON.") from error
        if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
            raise ValueError("The architecture of a transformer must have a model_type.")
        return config

    @property
    def brought(self) -> str:
        return self.weights

    @property
    def values(self) -> dict[str, Any]:
        """The fields of the config."""
        values: dict[str, Any] = json.loads(self.config)
        return values

    @property
    def longest_input(self) -> int | None:
        """Tokens that the network has positions for; None if it sets no limit."""
        values = self.values
        found = values.get("max_position_embeddings", values.get("n_positions"))
        if not isinstance(found, int):
            return None
        return found - 1 - self.padding if values["model_type"] in AFTER_PADDING else found

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the network has embeddings for."""
        return int(self.values.get("vocab_size", 2))

    @property
    def padding(self) -> int:
        """The token that pads texts."""
        return int(self.values.get("pad_token_id") or 0)

    def module(self) -> nn.Module:
        return build_classifier(self.config, self.num_classes, torch.device("meta"))

    def build(self, seed: int | None = None) -> nn.Module:
        # Not filled from meta, as by other families: some buffers are computed, and no state dict has them.
        if seed is None:
            return self._marked(build_classifier(self.config, self.num_classes, torch.device("meta")).eval())
        drawn = build_classifier(self.config, self.num_classes, torch.device("cpu"), seed).state_dict()
        # The head that a network with imported weights gets from this seed.
        return self.filled({name: tensor for name, tensor in drawn.items() if not is_in_head(name, self.head)}, seed)

    def filled(self, weights: Mapping[str, Tensor], seed: int) -> nn.Module:
        """A network with the weights of a checkpoint, which become its own, and a head drawn from ``seed``.

        Raises:
            SpecError: the weights are of another architecture.
        """
        return self._marked(fill_classifier(self.config, self.num_classes, weights, seed)[0])

    def holding(self, state: Mapping[str, Tensor]) -> nn.Module:
        network = build_classifier(self.config, self.num_classes, torch.device("cpu"), 0).eval()
        network.load_state_dict(dict(state))
        return self._marked(network)

    def _marked(self, network: nn.Module) -> nn.Module:
        setattr(network, SPEC, self)
        setattr(network, HEAD, self.head)
        return network

    def examples(self, count: int, generator: torch.Generator | None = None, length: int | None = None) -> TextExamples:
        length = min(length or RANDOM_LENGTH, self.longest_input or length or RANDOM_LENGTH)
        return TextExamples.random(count, length, self.vocabulary, self.padding, self.num_classes, generator)

    @property
    def sizes(self) -> str:
        return self.model or self.weights[:12]

    @property
    def facts(self) -> dict[str, str]:
        values = self.values
        layers, width = (
            next((values[name] for name in names if isinstance(values.get(name), int)), None)
            for names in (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd", "dim"))
        )
        sizes = f", {layers} layers of width {width}" if layers and width else ""
        dropout = sorted({float(value) for name, value in values.items() if "drop" in name and _is_share(value)})
        return {
            "Architecture": f"{values['model_type']}{sizes}",
            "Weights": f"SHA-256 {self.weights}",
            "Head": f"{', '.join(self.head)}: came without weights, trained by every method",
            "Dropout": f"{', '.join(f'{share:g}' for share in dropout)} in training, none in evaluation"
            if dropout
            else "none",
        }

    @property
    def input_text(self) -> str:
        return "`input_ids` and `attention_mask`, of shape (n, tokens)"

    @property
    def text(self) -> str:
        return f"{self.title} of the architecture {self.values['model_type']}"

    @property
    def pretrained(self) -> dict[str, Any]:
        return {
            "num_labels": self.num_classes,
            "pad_token_id": self.padding,
            "dtype": "float32",
            "ignore_mismatched_sizes": True,  # a classifier of other classes in the files
        }

    def can_read(self, batch: Mapping[str, Tensor]) -> bool:
        ids, mask = batch.get("input_ids"), batch.get("attention_mask")
        if len(batch) != 2 or ids is None or mask is None:
            return False
        if ids.ndim != 2 or ids.shape != mask.shape or not ids.numel():
            return False
        fits = self.longest_input is None or ids.shape[1] <= self.longest_input
        return fits and not ids.dtype.is_floating_point and int(ids.min()) >= 0 and int(ids.max()) < self.vocabulary

    def check_fit(self, dataset: str, inputs: Mapping[str, tuple[int, ...]], classes: Sequence[int]) -> None:
        if set(inputs) != {"input_ids", "attention_mask"}:
            raise SpecError(f"A transformer reads texts, but {dataset} has none: choose another dataset or network.")
        self._check_classes(dataset, classes)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
