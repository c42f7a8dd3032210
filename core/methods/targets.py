"""Which layers a target names: by path, by role in a transformer, or all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from core.errors import LoRAError
from core.methods.heads import CLASSIFIERS, head_paths, is_in_head
from core.methods.linear import is_linear
from core.methods.roles import ALL, ENDINGS, ROLES, LayerRole, is_named, known_endings, role_in, unnumbered


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
