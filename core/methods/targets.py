"""Which layers a target names: by path, by role in a transformer, or all of them; and the head, which every method
trains whole, and which no adapter replaces.

The weights of an imported network come without its classifier. The last layer of a base is such a head, too, where it
is fine-tuned on classes that it was not trained on; see :func:`core.plan.experiment.head_for`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from core.errors import LoRAError
from core.methods.linear import is_linear
from core.methods.roles import ALL, ENDINGS, ROLES, LayerRole, is_named, known_endings, role_in, unnumbered

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


def find_targets(model: nn.Module, wanted: Iterable[str]) -> dict[str, nn.Linear]:
    """Find the layers that ``wanted`` names, by path, in the model's order.

    A target is one of these; a string may hold several of them, separated by commas:

    - a full path (``layers.2``) or its last components (``2`` or ``attention.query``, but ``fc`` does not match
      ``fc2``);
    - a role in a transformer, ``attention`` or ``feed-forward``, unless a linear layer has that name;
    - ``all-linear``: every plain linear layer, except the output layer or classifier of a Hugging Face model, which
      PEFT leaves out too. In ``nn.MultiheadAttention`` no layer is plain.

    Raises:
        LoRAError: a target matches nothing, or a module that is not a plain linear layer.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    found: dict[str, nn.Linear] = {}
    for target in names(wanted):
        for path in _matches(target, model, modules):
            module = modules[path]
            if not is_linear(module):
                raise LoRAError(_refusal(target, path, modules))
            found[path] = module
    return {path: found[path] for path in modules if path in found}


def names(targets: Iterable[str]) -> list[str]:
    """The single targets in strings that may hold several, separated by commas."""
    return [name.strip() for target in targets for name in target.split(",")]


def endings(path: str) -> list[str]:
    """A path and its last components: ``a.b``, and ``b``."""
    parts = path.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def _matches(target: str, model: nn.Module, modules: Mapping[str, nn.Module]) -> list[str]:
    """Paths of the modules that one target names. Raises: LoRAError: there are none."""
    linears = [path for path, module in modules.items() if path and is_linear(module)]
    if target == ALL:
        heads, own = _heads(model), head_paths(model)
        found = [path for path in linears if id(modules[path]) not in heads and not is_in_head(path, own)]
    else:
        found = [path for path in modules if path and is_named(path, target)]
    if target in ROLES and not any(path in found for path in linears):
        found = [path for path in modules if path and role_in(path, modules) == target]
        odd = _unknown(target, found, linears, model, modules)
        if odd or not found:
            known = (
                f"the role of layer {odd[0]} is not known" if odd else f"no layer is known to have the role {target}"
            )
            raise LoRAError(f"In this network {known}: name layers, or use {ALL}; it has: {_listed(linears)}.")
    if not found:
        raise LoRAError(f"No layer matches the target {target!r}; this network has: {_listed(linears)}.")
    return found


def _unknown(
    target: LayerRole, found: Iterable[str], linears: Iterable[str], model: nn.Module, modules: Mapping[str, nn.Module]
) -> list[str]:
    """Layers that may have the role ``target``, by where they and those in ``found`` are, but whose name says nothing.

    Without this, an attention of which only the output has a known name would be adapted in part.
    """
    heads, own = _heads(model), head_paths(model)
    places = {_place(path) for path in found}
    places |= {ending.split(".")[0] for ending in ENDINGS[target] if not ending.endswith("*")}

    def is_near(path: str) -> bool:
        return not places.isdisjoint({_place(path), *path.split(".")[:-1]})

    return [
        path
        for path in linears
        if is_near(path)
        and role_in(path, modules) is None
        and not known_endings(path)
        and id(modules[path]) not in heads
        and not is_in_head(path, own)
    ]


def _place(path: str) -> str:
    """The part of its block that a layer is in, such as ``attention``; the block's path if it is right in the block."""
    *parts, _ = path.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    after = parts[numbers[-1] + 1 :] if numbers else parts
    return after[0] if after else unnumbered(".".join(parts))


def _heads(model: nn.Module) -> set[int]:
    """Identities of the output layer and of all modules of the classifier of each Hugging Face model in ``model``."""
    found: set[int] = set()
    for module in model.modules():
        outputs = getattr(module, "get_output_embeddings", None)
        if callable(outputs):
            heads = [outputs(), *(getattr(module, name, None) for name in CLASSIFIERS)]
            found |= {id(part) for head in heads if isinstance(head, nn.Module) for part in head.modules()}
    return found


def _refusal(target: str, path: str, modules: Mapping[str, nn.Module]) -> str:
    """One sentence that says why the module at ``path`` cannot be adapted."""
    module, parent = modules[path], modules[path.rpartition(".")[0]]
    if isinstance(module, nn.MultiheadAttention) or isinstance(parent, nn.MultiheadAttention):
        return (
            f"The target {target!r} is part of nn.MultiheadAttention, which keeps q, k and v in one packed weight and "
            "calls no linear layer: choose other layers, or write the attention with Linear layers."
        )
    # Other code may use a subclass's weight directly and bypass our forward.
    return f"The target {target!r} is a {type(module).__name__}; LoRA needs plain Linear layers."


def _listed(paths: list[str]) -> str:
    return ", ".join(paths) or "no linear layer"
