"""Which layers a target names: by path, by role in a transformer, or all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, get_args

from torch import nn

from core.errors import LoRAError
from core.methods.heads import head_paths, is_in_head
from core.methods.linear import is_linear

ALL = "all-linear"
"""The target that stands for every linear layer, except the output layer or classifier of a Hugging Face model."""

Role = Literal["attention", "feed-forward"]
"""What a layer is for in a block of a transformer."""

ROLES: tuple[Role, ...] = get_args(Role)

ENDINGS: Mapping[Role | None, Mapping[str, tuple[str, ...]]] = {
    "attention": {
        "attention.self": (  # BERT, RoBERTa, DeBERTa; those with a position are DeBERTa's too
            *("query", "key", "value", "query_proj", "key_proj", "value_proj", "in_proj"),
            *("pos_proj", "pos_q_proj", "pos_key_proj", "pos_query_proj"),
            *("query_global", "key_global", "value_global"),  # Longformer
            *("conv_kernel_layer", "conv_out_layer"),  # ConvBERT
        ),
        "crossattention.self": ("query", "key", "value"),
        "attention.output": ("dense",),
        "crossattention.output": ("dense",),
        "attention": (
            *("q_lin", "k_lin", "v_lin", "out_lin"),  # DistilBERT
            *("q_proj", "k_proj", "v_proj", "o_proj", "out_proj"),  # ViT, GPT-Neo
            *("query", "key", "value", "dense"),  # ALBERT
            *("query_key_value", "dense"),  # GPT-NeoX
            *("q_head", "k_head", "v_head", "post_proj"),  # Funnel
        ),
        "attentions.*": ("q_lin", "k_lin", "v_lin", "out_lin"),  # XLM
        "attn": (
            *("c_attn", "c_proj", "Wqkv", "Wo"),  # GPT-2, ModernBERT, MPT
            *("q_proj", "k_proj", "v_proj", "out_proj", "qkv_proj"),  # GPT-J, CodeGen
            *("q", "k", "v", "o"),  # MPNet
        ),
        "crossattention": ("q_attn", "c_attn", "c_proj"),
        "self_attn": (
            *("q_proj", "k_proj", "v_proj", "o_proj", "out_proj"),  # Llama, Qwen, Mistral, Gemma, OPT, BART
            *("qkv_proj", "query_key_value", "dense"),  # Phi-3, Persimmon, Phi
        ),
        "encoder_attn": ("q_proj", "k_proj", "v_proj", "out_proj"),
        "self_attention": ("query_key_value", "dense"),  # BLOOM
        "multi_head_attention": ("Wq", "Wk", "Wv", "dense"),  # CTRL
        "SelfAttention": ("q", "k", "v", "o"),  # T5
        "EncDecAttention": ("q", "k", "v", "o"),
    },
    "feed-forward": {
        "intermediate": ("dense",),  # BERT, RoBERTa, DeBERTa
        "output": ("dense",),
        "ffn": (
            "lin1",
            "lin2",
            "linear_1",
            "linear_2",
            "up_proj",
            "down_proj",
            "0",
            "2",
        ),  # DistilBERT, Funnel, MPT, CTRL
        "ffns.*": ("lin1", "lin2"),  # XLM
        "ff": ("layer_1", "layer_2"),  # XLNet
        "mlp": (
            *("c_fc", "c_proj", "fc1", "fc2", "Wi", "Wo"),  # GPT-2, ViT, ModernBERT
            *("gate_proj", "up_proj", "down_proj", "gate_up_proj"),  # Llama, Phi-3
            *("dense_h_to_4h", "dense_4h_to_h"),  # GPT-NeoX, BLOOM
            *("fc_in", "fc_out"),  # GPT-J, CodeGen
        ),
        "layers.*": ("fc1", "fc2"),  # OPT, BART
        "albert_layers.*": ("ffn", "ffn_output"),
        "DenseReluDense": ("wi", "wi_0", "wi_1", "wo"),  # T5
    },
    None: {  # MobileBERT's, between the width of its blocks and that of what is in them
        "bottleneck.attention": ("dense",),
        "bottleneck.input": ("dense",),
        "output.bottleneck": ("dense",),
    },
}
"""Names of layers by their role and by the ending of their parent's path, in which ``*`` is any number; None is for
layers that are known to have neither role. The longest ending decides, so that BERT's ``attention.output.dense`` is
attention and its ``output.dense`` is not."""

BLOCKS: dict[type[nn.Module], Mapping[str, Role]] = {
    nn.MultiheadAttention: {"out_proj": "attention"},
    nn.TransformerEncoderLayer: {"linear1": "feed-forward", "linear2": "feed-forward"},
    nn.TransformerDecoderLayer: {"linear1": "feed-forward", "linear2": "feed-forward"},
}
"""Roles of layers whose parent has one of these types, which says more than the name that a network gives it."""

HEADS = ("score", "classifier", "pre_classifier")
"""Names of a classifier in Hugging Face models. PEFT trains these in full when its task type is ``SEQ_CLS``."""


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


def targets_of(model: nn.Module, paths: Collection[str]) -> tuple[str, ...]:
    """The fewest targets that name exactly these layers: ``all-linear``, or the shortest ends of their paths.

    Args:
        model: any network.
        paths: of plain linear layers in it, at least one.

    Raises:
        LoRAError: a path is also the end of another layer's, which is not among them.
    """
    wanted = set(paths)
    if wanted == set(find_targets(model, [ALL])):
        return (ALL,)
    modules = dict(model.named_modules(remove_duplicate=False))
    others = {end for path in modules if path not in wanted for end in endings(path)}
    found: dict[str, None] = {}
    for path in (path for path in modules if path in wanted):
        exact = [end for end in reversed(endings(path)) if end not in others]
        if not exact:
            raise LoRAError(f"No target names layer {path} alone: other layers have a path that ends in {path}.")
        found[exact[0]] = None
    return tuple(found)


def names(targets: Iterable[str]) -> list[str]:
    """The single targets in strings that may hold several, separated by commas."""
    return [name.strip() for target in targets for name in target.split(",")]


def endings(path: str) -> list[str]:
    """A path and its last components: ``a.b``, and ``b``."""
    parts = path.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def is_named(path: str, name: str) -> bool:
    """Whether ``name`` is a path or its last components."""
    return path == name or path.endswith("." + name)


def role_of(path: str) -> Role | None:
    """The role of the layer at ``path``, by :data:`ENDINGS`; None if it has neither, or its name says nothing."""
    found = _endings(path)
    return max(found, key=lambda each: len(each[0]))[1] if found else None


def _endings(path: str) -> list[tuple[str, Role | None]]:
    """The endings that the layer at ``path`` has, and their roles."""
    parent, _, name = path.rpartition(".")
    parent = _unnumbered(parent)
    return [
        (ending, role)
        for role, endings in ENDINGS.items()
        for ending, layers in endings.items()
        if name in layers and is_named(parent, ending)
    ]


def _unnumbered(path: str) -> str:
    """A path with ``*`` for each number in it."""
    return ".".join("*" if part.isdigit() else part for part in path.split("."))


def _matches(target: str, model: nn.Module, modules: Mapping[str, nn.Module]) -> list[str]:
    """Paths of the modules that one target names. Raises: LoRAError: there are none."""
    linears = [path for path, module in modules.items() if path and is_linear(module)]
    if target == ALL:
        heads, own = _heads(model), head_paths(model)
        found = [path for path in linears if id(modules[path]) not in heads and not is_in_head(path, own)]
    else:
        found = [path for path in modules if path and is_named(path, target)]
    if target in ROLES and not any(path in found for path in linears):
        found = [path for path in modules if path and _role(path, modules) == target]
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
    target: Role, found: Iterable[str], linears: Iterable[str], model: nn.Module, modules: Mapping[str, nn.Module]
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
        and _role(path, modules) is None
        and not _endings(path)
        and id(modules[path]) not in heads
        and not is_in_head(path, own)
    ]


def _place(path: str) -> str:
    """The part of its block that a layer is in, such as ``attention``; the block's path if it is right in the block."""
    *parts, _ = path.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    after = parts[numbers[-1] + 1 :] if numbers else parts
    return after[0] if after else _unnumbered(".".join(parts))


def _role(path: str, modules: Mapping[str, nn.Module]) -> Role | None:
    """The role of a module in a network: by its parent's type, else by its path if it is a linear layer."""
    parent, _, name = path.rpartition(".")
    for block, roles in BLOCKS.items():
        if isinstance(modules[parent], block):
            return roles.get(name)
    return role_of(path) if is_linear(modules[path]) else None


def _heads(model: nn.Module) -> set[int]:
    """Identities of the output layer and of all modules of the classifier of each Hugging Face model in ``model``."""
    found: set[int] = set()
    for module in model.modules():
        outputs = getattr(module, "get_output_embeddings", None)
        if callable(outputs):
            heads = [outputs(), *(getattr(module, name, None) for name in HEADS)]
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
