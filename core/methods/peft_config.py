"""What a method says of its adapters in PEFT's files: the fields of its config, and its tensors."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from core.errors import AdapterError
from core.methods.adapted import AdaptedLinear
from core.tensor_file import MAX_DIMENSIONS

CONFIG_FILE = "adapter_config.json"
TENSORS_FILE = "adapter_model.safetensors"

MAX_NAMES = 4096
"""Maximum number of names of layers; those that are no full paths are compared with every layer."""
MAX_LENGTH = 256
"""Maximum length of a name or pattern."""

PLAIN = re.compile(r"[\w.-]+")
"""A name, without what has a meaning in regular expressions but the dot."""

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class LayerSettings:
    """What the method's fields of a config say of one layer."""

    rank: int = 0
    """Inner dimension of its matrices; 0 for an adapter without such matrices."""


class PeftConfig(ABC):
    """The fields of one of PEFT's configs that only this type of adapter has."""

    peft_type: ClassVar[str]
    """PEFT's name of the type, as in ``LORA``."""
    supported: ClassVar[frozenset[str]]
    """Fields that are read."""
    harmless: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not affect what a trained adapter computes on a plain network."""

    @property
    def usual_rank(self) -> int:
        """Inner dimension of the matrices of most layers; 0 for an adapter without such matrices."""
        return 0

    @property
    def patterns(self) -> Sequence[Sequence[str]]:
        """Groups of patterns for the ends of paths; the first match in each group says something of a layer."""
        return ()

    @classmethod
    @abstractmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Read the fields from a config file. Raises: AdapterError: a value is out of bounds, or not supported."""

    @abstractmethod
    def written(self) -> dict[str, Any]:
        """The fields for a config file, ``peft_type`` and fields that all types have left out."""

    def at(self, matches: Sequence[int]) -> LayerSettings:
        """The settings of a layer. Args: matches: number of the matching pattern in each group; −1 for none."""
        return LayerSettings()

    @abstractmethod
    def check(self, kind: type[Any], path: str, tensors: Mapping[str, Tensor], own: Any) -> None:
        """Check the tensors of one layer against each other and against the config.

        Args:
            kind: the class of the layer.
            path: of the layer.
            tensors: by PEFT's names; none that the class does not have.
            own: the layer's settings.

        Raises:
            AdapterError: a tensor is missing, or of another shape.
        """

    @abstractmethod
    def features(self, tensors: Mapping[str, Tensor]) -> tuple[int | None, int | None]:
        """Numbers of inputs and outputs of a layer that tensors fit; None where any number fits."""

    @abstractmethod
    def layer(self, kind: type[Any], linear: nn.Linear, tensors: Mapping[str, Tensor], own: Any) -> AdaptedLinear:
        """A layer with the adapter of a file. Args: as in :meth:`check`; linear: of the features of the tensors."""


def check_values(tensor: Tensor, what: str) -> None:
    """Check that a tensor of a file has finite floats. Raises: AdapterError: it has others."""
    if tensor.dtype not in _DTYPES or tensor.ndim > MAX_DIMENSIONS or not torch.isfinite(tensor).all():
        raise AdapterError(f"{what} has values that are not finite floats.")
