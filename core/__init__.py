"""LoRA Lab's training library. It knows nothing of Streamlit; pages and the command line use it.

>>> from core import MultilayerPerceptron, LinearWithLoRA
"""

import os

# Steps gather rows from all over a task's images. Large pages spare a quarter of that time; torch reads this
# when it first allocates, and elsewhere than on Linux it does nothing.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from core.methods.lora import (
    LinearWithLoRA,
    LinearWithLoRAMerged,
    LoRALayer,
    add_lora,
    freeze_linear_layers,
    merge,
    merged_copy,
    unmerge,
)
from core.networks.perceptron import MultilayerPerceptron
from core.notebook import compute_accuracy, train

__all__ = [
    "LinearWithLoRA",
    "LinearWithLoRAMerged",
    "LoRALayer",
    "MultilayerPerceptron",
    "add_lora",
    "compute_accuracy",
    "freeze_linear_layers",
    "merge",
    "merged_copy",
    "train",
    "unmerge",
]
