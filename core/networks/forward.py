"""How a network takes a batch of examples, and the mode that it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from core.data.examples import Batch
from core.networks.scoring import is_scored, scores


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put every module of ``network`` in evaluation mode, and restore the mode of each afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def start_training(network: nn.Module) -> None:
    """Put ``network`` in training mode, except for normalizations that belong to a frozen base.

    The running mean and variance of BatchNorm would move in training mode even where no parameter is trained. Those of
    a frozen layer stay, so that the base of an adapter remains bit for bit what it was; the layer then normalizes by
    them in training too, as it will in use. PEFT leaves such layers in training mode, and saves an adapter without the
    statistics that moved.
    """
    network.train()
    for layer in _normalizations(network):
        layer.train(not _is_frozen(layer, network))


def moving_statistics(network: nn.Module) -> list[Tensor]:
    """Running means, variances and counts that training moves beside the parameters; not copies."""
    moving = (layer for layer in _normalizations(network) if not _is_frozen(layer, network))
    return [buffer for layer in moving for buffer in layer.buffers(recurse=False)]


def _normalizations(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if getattr(module, "running_mean", None) is not None]


def _is_frozen(layer: nn.Module, network: nn.Module) -> bool:
    """Whether nothing of a layer is trained; without parameters of its own, whether anything else is frozen."""
    own = list(layer.parameters(recurse=False))
    if own:
        return not any(parameter.requires_grad for parameter in own)
    return not all(parameter.requires_grad for parameter in network.parameters())


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
