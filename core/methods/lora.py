"""LoRA: low-rank adaptation (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from typing import Literal

from core.methods.layers import LinearWithLoRA
from core.methods.low_rank import LowRankSpec


class LoRASpec(LowRankSpec):
    """Trains the matrices A and B beside frozen weights; see :mod:`core.methods.layers`."""

    kind: Literal["lora"] = "lora"
    title = "LoRA"
    short = "LoRA"
    line = "small matrices beside frozen weights"
    is_low_rank = True
    layer = LinearWithLoRA
