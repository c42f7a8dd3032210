"""What LoRA trains in one linear layer and in a whole network, counted from shapes without memory for weights."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from core.errors import LoRAError, NetworkFileError
from core.methods.linear import count_parameters, features
from core.methods.roles import ALL, ROLES, Kind, Layers
from core.methods.targets import find_targets, head_parameters
from core.networks.hugging_face import build_language_model
from core.networks.library.files import check_kind, check_numbers
from core.networks.network import NetworkSpec
from core.reader import Limits, in_reader

FLOAT32 = 4
"""Bytes per trained number."""

BFLOAT16 = 2
"""Bytes per number in stored language models."""

ADAM_STATE = 2 * FLOAT32
"""Bytes that Adam (Kingma & Ba 2014, arXiv 1412.6980) keeps per trained number: two running moments."""

PUBLISHED = Path(__file__).with_name("language_models.json")
"""Well-known language models from small to large: the fields of each ``config.json`` that shapes depend on."""

OWN = "Your config.json"
"""Display name of a language model that somebody else's config describes."""

QUERY_VALUE = ("query", "value", "q, k, v")
"""Labels of the layers that compute q and v; GPT-2 has one for q, k and v."""


@dataclass(frozen=True)
class LayerCount:
    """The numbers that full fine-tuning and LoRA train in one linear layer."""

    in_features: int
    out_features: int
    rank: int
    """The requested rank; see :attr:`used_rank`."""

    def __post_init__(self) -> None:
        """Validate the sizes. Raises: LoRAError: a size or the rank is below 1."""
        for name, value in (("Inputs", self.in_features), ("Outputs", self.out_features), ("Rank", self.rank)):
            if value < 1:
                raise LoRAError(f"{name} must be a whole number of at least 1, not {value}.")

    @property
    def used_rank(self) -> int:
        """The requested rank, or the maximum rank of a matrix of this shape: more would add no expressiveness."""
        return min(self.rank, self.in_features, self.out_features)

    @property
    def full(self) -> int:
        """Numbers in ΔW: in · out."""
        return self.in_features * self.out_features

    @property
    def lora(self) -> int:
        """Numbers in A and B together: r · (in + out)."""
        return self.used_rank * (self.in_features + self.out_features)

    @property
    def first_rank_without_saving(self) -> int:
        """The smallest rank at which LoRA trains no fewer numbers: in · out / (in + out), rounded up."""
        return -(-self.full // (self.in_features + self.out_features))


@dataclass(frozen=True)
class KindOfLayer(Kind):
    """The linear layers of one kind in a network, all of one shape."""

    in_features: int
    out_features: int
    paths: tuple[str, ...]

    @property
    def is_in_blocks(self) -> bool:
        """Whether there is one in every block, and not a single layer outside of them."""
        return self.paths != (self.name,)

    def lora(self, rank: int) -> int:
        """Numbers in A and B of one of them, whose rank is limited to the maximum of its shape."""
        return LayerCount(self.in_features, self.out_features, rank).lora


@dataclass(frozen=True)
class Network:
    """A network, described by its linear layers."""

    name: str
    parameters: int
    """Number of parameters of the whole network, embeddings, norms and output layer included."""
    kinds: tuple[KindOfLayer, ...]
    """Attention first, then feed-forward, then layers outside of the blocks; output layer and head are left out."""
    blocks: int
    head: int
    """Numbers in a new classifier, which every method trains whole; 0 for a language model, which has none."""
    bytes_each: int
    """Bytes per stored number."""
    checkpoint: str
    """Repository on huggingface.co with its published config; empty if there is none."""

    @property
    def choices(self) -> dict[str, tuple[KindOfLayer, ...]]:
        """Layers that adapters can stand beside, by the name of the choice; choices without a layer are left out."""
        found: dict[str, tuple[KindOfLayer, ...]] = {
            "all linear": self.kinds,
            **{role: tuple(kind for kind in self.kinds if kind.role == role) for role in ROLES},
            "q and v": tuple(kind for kind in self.kinds if kind.label in QUERY_VALUE),
        }
        return {name: kinds for name, kinds in found.items() if kinds}

    def table(self, chosen: Collection[KindOfLayer], rank: int) -> pd.DataFrame:
        """Return one row per kind of layer, with the numbers that LoRA trains in one of them and in all of them.

        Args:
            chosen: the kinds that get adapters.
            rank: of the adapters, limited in each layer to its maximum.

        Returns:
            Columns ``Layer``, ``Inputs``, ``Outputs``, ``Layers``, ``A and B, each`` and ``A and B, all``.
        """
        rows = []
        for kind in self.kinds:
            each = kind.lora(rank) if kind in chosen else 0
            rows.append((kind.name, kind.in_features, kind.out_features, len(kind.paths), each, each * len(kind.paths)))
        return pd.DataFrame(rows, columns=["Layer", "Inputs", "Outputs", "Layers", "A and B, each", "A and B, all"])

    def storage(self, trained: int, customers: int) -> tuple[int, int]:
        """Bytes on disk for customers with a fine-tuned network each, without file headers.

        Args:
            trained: numbers that an adapter file has.
            customers: how many there are.

        Returns:
            The bytes of a full copy for each of them, and of one base with an adapter for each.
        """
        base = self.parameters * self.bytes_each
        return customers * base, base + customers * trained * self.bytes_each


def count_network(name: str, network: nn.Module, bytes_each: int = FLOAT32, checkpoint: str = "") -> Network:
    """Describe a built network.

    Args:
        name: display name.
        network: on any device, such as ``meta``.
        bytes_each: bytes per stored number.
        checkpoint: repository on huggingface.co with its config.

    Raises:
        LoRAError: it has no linear layer.
    """
    linears = find_targets(network, [ALL])
    layers = Layers(tuple(linears))
    kinds = tuple(
        KindOfLayer(kind.role, kind.name, *features(linears[paths[0]]), paths) for kind, paths in layers.by_kind.items()
    )
    head = sum(each.numel() for each in head_parameters(network).values())
    return Network(name, count_parameters(network), kinds, len(layers.blocks), head, bytes_each, checkpoint)


@lru_cache(maxsize=64)
def count_spec(name: str, spec: NetworkSpec) -> Network:
    """Describe a network of the lab, such as an imported one, with its new head. Raises: see :func:`count_network`."""
    return count_network(name, spec.build())


def count_config(config: Mapping[str, Any], name: str, bytes_each: int = BFLOAT16, checkpoint: str = "") -> Network:
    """Describe a language model by the content of its ``config.json``. Args: see :func:`count_network`.

    Raises:
        SpecError: transformers has no language model of this architecture.
        LoRAError: it has no linear layer.
    """
    return count_network(name, build_language_model(json.dumps(dict(config))), bytes_each, checkpoint)


@in_reader(
    NetworkFileError,
    "This config.json",
    Limits(memory=2**31, cpu=60, wall=180),
    imports=("transformers.models.auto.modeling_auto",),
)
def count_file(content: bytes) -> Network:
    """Describe a language model by a ``config.json`` that somebody has.

    Raises:
        NetworkFileError: not a config, or a number in it is out of bounds.
        SpecError, LoRAError: see :func:`count_config`.
    """
    values = check_kind(content, "This network")
    check_numbers(values, (), "This network")
    return count_config(values, OWN)


@lru_cache(maxsize=1)
def language_models() -> Mapping[str, Network]:
    """The well-known language models of :data:`PUBLISHED` by name, from small to large."""
    entries: Mapping[str, Mapping[str, Any]] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return {name: count_config(name=name, **entry) for name, entry in entries.items()}
