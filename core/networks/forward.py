"""How a network takes a batch of examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from core.data.examples import Batch
from core.networks.scoring import is_scored, scores


def forward(network: Callable[..., Any], batch: Batch) -> Tensor:
    """Logits of a batch of examples, (n, classes); of passages what :func:`core.networks.scoring.scores` gives, (n, 2).

    A network is called with the only tensor of a batch, whatever its name; with several, each by its name. It returns
    logits, or an object that has them, as those of transformers do.
    """
    if any(tensor.is_meta for tensor in batch.values()):
        with _NoValues():
            return _called(network, batch)
    return _called(network, batch)


def _called(network: Callable[..., Any], batch: Batch) -> Tensor:
    if isinstance(network, nn.Module) and is_scored(network, batch):
        return scores(network, batch)
    outputs = network(*batch.values()) if len(batch) == 1 else network(**batch)
    logits: Tensor = outputs if isinstance(outputs, Tensor) else outputs.logits
    return logits


class _NoValues(TorchFunctionMode):
    """Lets a network run on ``meta`` that asks for values, such as whether a batch has no padding: the answer is no.

    Of a number it is 0, as where the longest text is compared with the number of positions.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (Tensor.__bool__, Tensor.__contains__, Tensor.item) and args[0].is_meta:
            return False  # the number is 0
        return func(*args, **(kwargs or {}))
