"""How a network takes a batch of examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from core.data.examples import Batch


def forward(network: Callable[..., Any], batch: Batch) -> Tensor:
    """Logits of a batch of examples, of shape (n, classes).

    A network is called with the only tensor of a batch, whatever its name; with several, each by its name. It returns
    logits, or an object that has them, as those of transformers do.
    """
    outputs = network(*batch.values()) if len(batch) == 1 else network(**batch)
    logits: Tensor = outputs if isinstance(outputs, Tensor) else outputs.logits
    return logits
