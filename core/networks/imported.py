"""Networks of Hugging Face's transformers: what those for classes and for language share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from core.methods.method import Role
from core.networks.network import SPEC, NetworkSpec, Quick

RANDOM_LENGTH = 16
"""Tokens of the random texts that networks are tried on."""

MAX_CONFIG = 32_768
"""Maximum length of the JSON of an architecture, in characters."""


AFTER_PADDING = (
    *("camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "markuplm", "mpnet", "roberta"),
    *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Architectures whose positions start after the number of their padding token."""


class HuggingFaceSpec(NetworkSpec):
    """A network that transformers builds, which reads texts."""

    reads_tokens = True

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the network has embeddings for."""
        raise NotImplementedError

    @property
    def padding(self) -> int:
        """The token that pads texts."""
        raise NotImplementedError

    @property
    def values(self) -> dict[str, Any]:
        """The fields of the config of transformers."""
        raise NotImplementedError

    def drawn(self, device: torch.device, seed: int | None = None) -> nn.Module:
        """The network with weights as transformers draws them.

        Args:
            device: ``meta`` builds shapes only.
            seed: of the weights.

        Raises:
            SpecError: this version of transformers cannot build it.
        """
        raise NotImplementedError

    def module(self) -> nn.Module:
        return self.drawn(torch.device("meta"))

    def build(self, seed: int | None = None) -> nn.Module:
        # Not filled from meta, as by other families: some buffers are computed, and no state dict has them.
        device = torch.device("meta" if seed is None else "cpu")
        return self._marked(self.drawn(device, seed).eval())

    def holding(self, state: Mapping[str, Tensor]) -> nn.Module:
        network = self.drawn(torch.device("cpu"), 0).eval()
        network.load_state_dict(dict(state))
        return self._marked(network)

    def _marked(self, network: nn.Module) -> nn.Module:
        setattr(network, SPEC, self)
        return self.marked(network)

    @property
    def input_text(self) -> str:
        return "`input_ids` and `attention_mask`, of shape (n, tokens)"

    def can_read(self, batch: Mapping[str, Tensor]) -> bool:
        ids, mask = batch.get("input_ids"), batch.get("attention_mask")
        if len(batch) != 2 or ids is None or mask is None:
            return False
        if ids.ndim != 2 or ids.shape != mask.shape or not ids.numel():
            return False
        fits = self.longest_input is None or ids.shape[1] <= self.longest_input
        return fits and not ids.dtype.is_floating_point and int(ids.min()) >= 0 and int(ids.max()) < self.vocabulary


class ImportedSpec(HuggingFaceSpec):
    """A network that somebody has imported, named by the files that its weights come from."""

    is_imported = True
    learning_rate = 5e-5
    rate_factors = {Role.ADAPTER: 20.0}  # noqa: RUF012 (a constant)
    quick = Quick(times=1)
    longer = 0  # hours on a CPU; New experiment offers more
    evaluation_batch = 32
    max_bytes = 8 * 2**30

    weights: str = Field(
        pattern="^[0-9a-f]{64}$", title="Weights", description="Digest of the files that the network was imported as."
    )
    model: str = Field("", max_length=100, title="Name", description="Name of the network, for people.")
    config: str = Field(
        max_length=MAX_CONFIG, repr=False, title="Architecture", description="Config of transformers, as JSON."
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

    def filled(self, weights: Mapping[str, Tensor], seed: int) -> nn.Module:
        """A network with the weights of a checkpoint, which become its own, and a head drawn from ``seed``.

        Raises:
            SpecError: the weights are of another architecture.
        """
        raise NotImplementedError

    @property
    def sizes(self) -> str:
        return self.model or self.weights[:12]

    @property
    def facts(self) -> dict[str, str]:
        values = self.values
        dropout = sorted({float(value) for name, value in values.items() if "drop" in name and _is_share(value)})
        return {
            "Architecture": architecture_text(values),
            "Weights": f"SHA-256 {self.weights}",
            "Dropout": f"{', '.join(f'{share:g}' for share in dropout)} in training, none in evaluation"
            if dropout
            else "none",
        }

    @property
    def text(self) -> str:
        return f"{self.title} of the architecture {self.values['model_type']}"


def architecture_text(config: Mapping[str, Any]) -> str:
    """The architecture of a config with its sizes, as in ``bert, 6 layers of width 384``."""
    layers, width = (
        next((config[name] for name in names if isinstance(config.get(name), int)), None)
        for names in (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd", "dim"))
    )
    sizes = f", {layers} layers of width {width}" if layers and width else ""
    return f"{config['model_type']}{sizes}"


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
