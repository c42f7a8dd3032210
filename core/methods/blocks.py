"""Where the linear layers of a transformer stand: in which of its blocks, and what they compute there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.methods.targets import Role, is_named, role_of

_NUMBERED = re.compile(r"(?P<stack>.+?)\.(?P<block>\d+)\.(?P<name>.+)")

LABELS: Mapping[Role, Mapping[str, str]] = {
    "attention": {
        **dict.fromkeys(("query", "query_proj", "q_lin", "q_proj", "q_attn", "q_head", "Wq", "q"), "query"),
        **dict.fromkeys(("key", "key_proj", "k_lin", "k_proj", "k_head", "Wk", "k"), "key"),
        **dict.fromkeys(("value", "value_proj", "v_lin", "v_proj", "v_head", "Wv", "v"), "value"),
        **dict.fromkeys(("c_attn", "Wqkv", "qkv_proj", "query_key_value", "in_proj"), "q, k, v"),
        **dict.fromkeys(("pos_query_proj", "pos_q_proj"), "position query"),
        **dict.fromkeys(("pos_key_proj", "pos_proj"), "position key"),
        **dict.fromkeys(("dense", "out_lin", "o_proj", "out_proj", "c_proj", "post_proj", "Wo", "o"), "output"),
    },
    "feed-forward": {
        **dict.fromkeys(("intermediate.dense", "lin1", "c_fc", "fc1", "wi", "Wi", "wi_1"), "in"),
        **dict.fromkeys(("dense_h_to_4h", "fc_in", "linear_1", "layer_1", "ffn", "ffn.0"), "in"),
        **dict.fromkeys(("gate_proj", "wi_0"), "gate"),
        "gate_up_proj": "gate, up",
        "up_proj": "up",
        "down_proj": "down",
        **dict.fromkeys(("output.dense", "lin2", "c_proj", "fc2", "wo", "Wo"), "out"),
        **dict.fromkeys(("dense_4h_to_h", "fc_out", "linear_2", "layer_2", "ffn_output", "ffn.2"), "out"),
    },
}
"""What layers compute in a block, in a word, by their role and the end of their path."""


@dataclass(frozen=True)
class Position:
    """Where one linear layer stands in its network."""

    path: str
    stack: str
    """Path of the blocks, as in ``bert.encoder.layer``; empty for a layer outside of them."""
    block: int | None
    """Number of the block, from 0; None outside of them."""
    name: str
    """Path within the block, or the whole path."""
    role: Role | None

    @property
    def label(self) -> str:
        """What the layer computes, in a word: ``query``, ``output``; of a layer without a role its name."""
        known = LABELS[self.role] if self.role else {}
        *before, last = self.name.split(".")
        own = self.name if last.isdigit() else before[-1] if last == "dense" and before else last
        return next((label for end, label in known.items() if is_named(self.name, end)), own)


def position_of(path: str) -> Position:
    """Where the layer at ``path`` stands, by its path alone."""
    match = _NUMBERED.fullmatch(path)
    if match is None:
        return Position(path, "", None, path, role_of(path))
    return Position(path, match["stack"], int(match["block"]), match["name"], role_of(path))


@dataclass(frozen=True)
class Column:
    """Layers of one kind: the same name in every block."""

    role: Role | None
    name: str
    label: str


@dataclass(frozen=True)
class Blocks:
    """The linear layers of a network, by block and kind."""

    columns: tuple[Column, ...]
    """Attention first, then feed-forward, then all others; within these as they come in a block."""
    rows: tuple[str, ...]
    """Name of each block, from the input to the output, and at last one row for layers outside of blocks, if any."""
    places: Mapping[str, tuple[int, int]]
    """Row and column of each layer, by its path."""


OUTSIDE = "–"
"""Name of the row of layers outside of blocks."""

_ORDER: Sequence[Role | None] = ("attention", "feed-forward", None)


def blocks_of(paths: Iterable[str]) -> Blocks | None:
    """The layers at ``paths`` by block and kind; None if there are no two blocks, as in a perceptron."""
    found = [position_of(path) for path in paths]
    blocks = list(dict.fromkeys((each.stack, each.block) for each in found if each.block is not None))
    if len(blocks) < 2:
        return None
    several = len({stack for stack, _ in blocks}) > 1
    names = {block: f"{block[0]}.{block[1]}" if several else str(block[1]) for block in blocks}
    kinds = dict.fromkeys(Column(each.role, each.name, each.label) for each in found)
    columns = sorted(kinds, key=lambda column: _ORDER.index(column.role))
    outside = any(each.block is None for each in found)
    places = {
        each.path: (
            len(blocks) if each.block is None else blocks.index((each.stack, each.block)),
            columns.index(Column(each.role, each.name, each.label)),
        )
        for each in found
    }
    return Blocks(tuple(columns), (*names.values(), *((OUTSIDE,) if outside else ())), places)
