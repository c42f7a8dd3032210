"""What each linear layer of a transformer is for, in which block it stands, and the named choices of layers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar, get_args

from torch import nn

from core.methods.linear import is_linear

ALL = "all-linear"
"""The target that stands for every linear layer, except the output layer or classifier of a Hugging Face model."""

LayerRole = Literal["attention", "feed-forward"]
"""What a layer is for in a block of a transformer."""

ROLES: tuple[LayerRole, ...] = get_args(LayerRole)

ENDINGS: Mapping[LayerRole | None, Mapping[str, tuple[str, ...]]] = {
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
            *("lin1", "lin2", "linear_1", "linear_2"),  # DistilBERT, Funnel
            *("up_proj", "down_proj", "0", "2"),  # MPT, CTRL
        ),
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

BLOCKS: dict[type[nn.Module], Mapping[str, LayerRole]] = {
    nn.MultiheadAttention: {"out_proj": "attention"},
    nn.TransformerEncoderLayer: {"linear1": "feed-forward", "linear2": "feed-forward"},
    nn.TransformerDecoderLayer: {"linear1": "feed-forward", "linear2": "feed-forward"},
}
"""Roles of layers whose parent has one of these types, which says more than the name that a network gives it."""

LABELS: Mapping[LayerRole, Mapping[str, Collection[str]]] = {
    "attention": {
        "query": ("query", "query_proj", "q_lin", "q_proj", "q_attn", "q_head", "Wq", "q"),
        "key": ("key", "key_proj", "k_lin", "k_proj", "k_head", "Wk", "k"),
        "value": ("value", "value_proj", "v_lin", "v_proj", "v_head", "Wv", "v"),
        "q, k, v": ("c_attn", "Wqkv", "qkv_proj", "query_key_value", "in_proj"),
        "position query": ("pos_query_proj", "pos_q_proj"),
        "position key": ("pos_key_proj", "pos_proj"),
        "output": ("dense", "out_lin", "o_proj", "out_proj", "c_proj", "post_proj", "Wo", "o"),
    },
    "feed-forward": {
        "in": (
            *("intermediate.dense", "lin1", "c_fc", "fc1", "wi", "Wi", "wi_1"),
            *("dense_h_to_4h", "fc_in", "linear_1", "layer_1", "ffn", "ffn.0"),
        ),
        "gate": ("gate_proj", "wi_0"),
        "gate, up": ("gate_up_proj",),
        "up": ("up_proj",),
        "down": ("down_proj",),
        "out": (
            *("output.dense", "lin2", "c_proj", "fc2", "wo", "Wo"),
            *("dense_4h_to_h", "fc_out", "linear_2", "layer_2", "ffn_output", "ffn.2"),
        ),
    },
}
"""What layers compute in a block, in a word, with the ends of their paths, by their role."""

_NUMBERED = re.compile(r".+?\.(?P<block>\d+)\.(?P<name>.+)")

Key = TypeVar("Key")


def is_named(path: str, name: str) -> bool:
    """Whether ``name`` is a path or its last components."""
    return path == name or path.endswith("." + name)


def role_of(path: str) -> LayerRole | None:
    """The role of the layer at ``path``, by :data:`ENDINGS`; None if it has neither, or its name says nothing."""
    found = known_endings(path)
    return max(found, key=lambda each: len(each[0]))[1] if found else None


def known_endings(path: str) -> list[tuple[str, LayerRole | None]]:
    """The endings in :data:`ENDINGS` that the layer at ``path`` has, and their roles."""
    parent, _, name = path.rpartition(".")
    parent = unnumbered(parent)
    return [
        (ending, role)
        for role, endings in ENDINGS.items()
        for ending, layers in endings.items()
        if name in layers and is_named(parent, ending)
    ]


def unnumbered(path: str) -> str:
    """A path with ``*`` for each number in it."""
    return ".".join("*" if part.isdigit() else part for part in path.split("."))


def role_in(path: str, modules: Mapping[str, nn.Module]) -> LayerRole | None:
    """The role of a module in a network: by its parent's type, else by its path if it is a linear layer."""
    parent, _, name = path.rpartition(".")
    for block, roles in BLOCKS.items():
        if isinstance(modules[parent], block):
            return roles.get(name)
    return role_of(path) if is_linear(modules[path]) else None


@dataclass(frozen=True)
class Kind:
    """Layers of one kind: the same name in every block, or one layer outside of blocks."""

    role: LayerRole | None
    name: str
    """Path within the block, or the whole path."""

    @property
    def label(self) -> str:
        """What such a layer computes, in a word: ``query``, ``output``; without a role its name."""
        *before, last = self.name.split(".")
        own = self.name if last.isdigit() else before[-1] if last == "dense" and before else last
        known = LABELS[self.role].items() if self.role else ()
        return next((label for label, ends in known if any(is_named(self.name, end) for end in ends)), own)

    @property
    def text(self) -> str:
        """What such a layer does, in words, as in ``attention query``."""
        return f"{self.role} {self.label}" if self.role else self.label


@dataclass(frozen=True)
class Position:
    """Where one linear layer stands in its network."""

    path: str
    block: int | None
    """Number of the block, from 0; None outside of them."""
    kind: Kind

    @classmethod
    def of(cls, path: str) -> Position:
        """Where the layer at ``path`` stands, by its path alone."""
        match, role = _NUMBERED.fullmatch(path), role_of(path)
        if match is None:
            return cls(path, None, Kind(role, path))
        return cls(path, int(match["block"]), Kind(role, match["name"]))


@dataclass(frozen=True)
class Layers:
    """Linear layers of a network by role, kind and block: the choices of layers that have a name, and their map."""

    paths: tuple[str, ...]
    """From the input to the output."""

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """Where each of them stands."""
        return tuple(map(Position.of, self.paths))

    @cached_property
    def by_role(self) -> Mapping[LayerRole | None, tuple[str, ...]]:
        """Paths by role, None last; roles that no layer has are left out."""
        found = _grouped((each.kind.role, each.path) for each in self.positions)
        return {role: found[role] for role in (*ROLES, None) if role in found}

    @cached_property
    def by_kind(self) -> Mapping[Kind, tuple[str, ...]]:
        """Paths by kind: attention first, then feed-forward, then all others; within these as they come in a block."""
        found = _grouped((each.kind, each.path) for each in self.positions)
        return {kind: found[kind] for role in (*ROLES, None) for kind in found if kind.role == role}

    @cached_property
    def by_name(self) -> Mapping[str, tuple[str, ...]]:
        """Paths by their name in a block."""
        return _grouped((each.kind.name, each.path) for each in self.positions)

    @cached_property
    def blocks(self) -> Mapping[int, tuple[str, ...]]:
        """Paths by the number of their block; empty for a network without blocks."""
        found = _grouped((each.block, each.path) for each in self.positions if each.block is not None)
        return dict(sorted(found.items()))

    @cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Paths by the name of a choice: all linear layers, those of a role, those of one name in every block.

        A network without blocks has one choice per layer.
        """
        roles: dict[str, tuple[str, ...]] = {role: paths for role, paths in self.by_role.items() if role}
        return {**({ALL: self.paths, **roles} if self.blocks else {}), **self.by_name}

    @property
    def start(self) -> list[str]:
        """The names that are chosen at first: everything."""
        return [ALL] if self.blocks else list(self.groups)

    def targets(self, chosen: Iterable[str], blocks: Collection[int] | None = None) -> tuple[str, ...]:
        """The shortest spelling of a choice as target modules, the same for the same layers.

        Args:
            chosen: names in :attr:`groups`.
            blocks: numbers in :attr:`blocks`; None or all of them for layers outside of blocks too.
        """
        everywhere = blocks is None or set(blocks) == set(self.blocks)
        inside = None if everywhere else {path for block in blocks or () for path in self.blocks[block]}
        wanted = {path for name in chosen for path in self.groups[name] if inside is None or path in inside}
        if wanted == set(self.paths):
            return (ALL,)
        found: list[str] = []
        for name, paths in self.groups.items():
            if name != ALL and wanted and set(paths) <= wanted and self._is_exact(name):
                found.append(name)
                wanted -= set(paths)
        return (*found, *(path for path in self.paths if path in wanted))

    def chosen(self, targets: Sequence[str], paths: Iterable[str]) -> tuple[list[str], list[int]]:
        """The choice that stands for target modules, as nearly as there is one: names, and numbers of blocks.

        Args:
            targets: the target modules.
            paths: the layers that they name.
        """
        wanted = set(paths)
        if targets == (ALL,) or wanted == set(self.paths):
            return self.start, list(self.blocks)
        blocks = [block for block, own in self.blocks.items() if wanted & set(own)]
        inside = {path for block in blocks for path in self.blocks[block]} or set(self.paths)
        names: list[str] = []
        for name, own in self.groups.items():
            here = set(own) & inside
            if here and here <= wanted and not any(here <= set(self.groups[other]) for other in names):
                names.append(name)
        return names, blocks

    def _is_exact(self, name: str) -> bool:
        """Whether a name stands for its own layers and no others when it is used as a target."""
        return name in ROLES or {path for path in self.paths if is_named(path, name)} == set(self.groups[name])


def _grouped(found: Iterable[tuple[Key, str]]) -> dict[Key, tuple[str, ...]]:
    groups: dict[Key, list[str]] = {}
    for key, path in found:
        groups.setdefault(key, []).append(path)
    return {key: tuple(paths) for key, paths in groups.items()}
