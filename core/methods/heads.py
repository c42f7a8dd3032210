"""The head of a network: modules that every method trains whole, and that no adapter replaces.

The weights of an imported network come without its classifier. The last layer of a base is such a head, too, where it
is fine-tuned on classes that it was not trained on; see :func:`core.plan.new_classes.head_for`.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

HEAD = "trained_head"
"""Attribute of a network with the paths of the modules of its head. A network without it has none."""

CLASSIFIERS = ("score", "classifier", "pre_classifier")
"""Names of the modules that Hugging Face's classifiers add to an encoder or decoder. PEFT trains the first two in full
when its task type is ``SEQ_CLS``."""


def head_paths(network: nn.Module) -> tuple[str, ...]:
    """Paths of the modules of a network's head; empty if there are none."""
    paths: Iterable[str] = getattr(network, HEAD, ())
    return tuple(paths)


def mark_head(network: nn.Module, paths: Iterable[str]) -> None:
    """Note on a network, in place, that these modules are its head; none for no head."""
    setattr(network, HEAD, tuple(paths))


def head_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of the head by their names in ``network``, in its order."""
    return {name: p for name, p in network.named_parameters() if is_in_head(name, head_paths(network))}


def head_state(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of the head by their names in the state dict of ``network``, in its order."""
    paths = head_paths(network)
    return {name: tensor for name, tensor in network.state_dict().items() if is_in_head(name, paths)}


def is_in_head(name: str, paths: Iterable[str]) -> bool:
    """Whether a parameter or module of this name belongs to one of the modules."""
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def without_head(network: nn.Module) -> dict[str, Tensor]:
    """The state dict of a network without its head, which tells one base of adapters from another."""
    paths = head_paths(network)
    return {name: tensor for name, tensor in network.state_dict().items() if not is_in_head(name, paths)}


def unfreeze_head(network: nn.Module) -> None:
    """Train the parameters of the head, in place."""
    for parameter in head_parameters(network).values():
        parameter.requires_grad_(True)
