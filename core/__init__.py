"""LoRA Lab's training library, used by the pages and the command line. It does not import Streamlit.

>>> from core import MultilayerPerceptron, LinearWithLoRA

Names are imported when they are first used: a process that needs none of them, such as the reader, need not wait for
torch.
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.methods.adapted import merge, merged_copy, unmerge
    from core.methods.dora import DoRASpec
    from core.methods.layers import LinearWithLoRA, LinearWithLoRAMerged, LoRALayer
    from core.methods.linear import freeze_linear_layers
    from core.methods.lora import LoRASpec
    from core.methods.low_rank import add_lora
    from core.networks.perceptron import MultilayerPerceptron
    from core.notebook import compute_accuracy, train

# Steps gather random rows of a task's images; huge pages save a quarter of that time. torch reads this variable at its
# first allocation, and ignores it on systems other than Linux.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

VERSION = "0.1.0"
"""Of this library and its dashboard; that of pyproject.toml."""

_PLACES = {
    "DoRASpec": "core.methods.dora",
    **dict.fromkeys(("LinearWithLoRA", "LinearWithLoRAMerged", "LoRALayer"), "core.methods.layers"),
    "LoRASpec": "core.methods.lora",
    "MultilayerPerceptron": "core.networks.perceptron",
    "add_lora": "core.methods.low_rank",
    **dict.fromkeys(("compute_accuracy", "train"), "core.notebook"),
    "freeze_linear_layers": "core.methods.linear",
    **dict.fromkeys(("merge", "merged_copy", "unmerge"), "core.methods.adapted"),
}

__all__ = [
    "DoRASpec",
    "LinearWithLoRA",
    "LinearWithLoRAMerged",
    "LoRALayer",
    "LoRASpec",
    "MultilayerPerceptron",
    "add_lora",
    "compute_accuracy",
    "freeze_linear_layers",
    "merge",
    "merged_copy",
    "train",
    "unmerge",
]


def __getattr__(name: str) -> object:
    """Import a name of :data:`__all__` when it is first used. Raises: AttributeError: there is none of that name."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
