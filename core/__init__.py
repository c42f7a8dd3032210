"""LoRA Lab's training library, used by the pages and the command line. It does not import Streamlit.

>>> from core import MultilayerPerceptron, LinearWithLoRA
"""

import os

# Steps gather random rows of a task's images; huge pages save a quarter of that time. torch reads this variable at its
# first allocation, and ignores it on systems other than Linux.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from core.methods.dora import DoRASpec
from core.methods.layers import LinearWithLoRA, LinearWithLoRAMerged, LoRALayer
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.methods.merging import merge, merged_copy, unmerge
from core.methods.parameters import freeze_linear_layers
from core.networks.perceptron import MultilayerPerceptron
from core.notebook import compute_accuracy, train

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
