"""The layers of a network as people choose them: all, by role, by name in a block, and in which blocks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from core.forecast.cost import target_layers
from core.methods.blocks import position_of
from core.methods.targets import ALL, ROLES, find_targets, is_named, role_of
from core.networks.network import NetworkSpec


@dataclass(frozen=True)
class TargetChoices:
    """What can be chosen. A network without blocks has one choice per layer, and no blocks."""

    layers: tuple[str, ...]
    """Paths of all layers that can have an adapter, from the input to the output."""
    groups: Mapping[str, tuple[str, ...]]
    """Paths by the name of a choice: all linear layers, those of a role, those of one name in every block."""
    blocks: Mapping[int, tuple[str, ...]]
    """Paths by the number of their block."""

    @property
    def start(self) -> list[str]:
        """What is chosen at first: everything."""
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
        if wanted == set(self.layers):
            return (ALL,)
        found: list[str] = []
        for name, paths in self.groups.items():
            if name != ALL and wanted and set(paths) <= wanted and self._is_exact(name):
                found.append(name)
                wanted -= set(paths)
        return (*found, *(path for path in self.layers if path in wanted))

    def chosen(self, targets: Sequence[str], paths: Iterable[str]) -> tuple[list[str], list[int]]:
        """The choice that stands for target modules, as nearly as there is one: names, and numbers of blocks.

        Args:
            targets: the target modules.
            paths: the layers that they name.
        """
        wanted = set(paths)
        if targets == (ALL,) or wanted == set(self.layers):
            return self.start, list(self.blocks)
        blocks = [block for block, own in self.blocks.items() if wanted & set(own)]
        inside = {path for block in blocks for path in self.blocks[block]} or set(self.layers)
        names: list[str] = []
        for name, own in self.groups.items():
            here = set(own) & inside
            if here and here <= wanted and not any(here <= set(self.groups[other]) for other in names):
                names.append(name)
        return names, blocks

    def _is_exact(self, name: str) -> bool:
        """Whether a name stands for its own layers and no others when it is used as a target."""
        return name in ROLES or {path for path in self.layers if is_named(path, name)} == set(self.groups[name])


@lru_cache(maxsize=64)
def target_choices(network: NetworkSpec) -> TargetChoices:
    """The choices for a network.

    Raises:
        LoRAError: it has no linear layer.
    """
    layers = target_layers(network)
    blocks: dict[int, list[str]] = {}
    named: dict[str, list[str]] = {}
    for position in map(position_of, layers):
        if position.block is not None:
            blocks.setdefault(position.block, []).append(position.path)
        named.setdefault(position.name, []).append(position.path)
    groups: dict[str, list[str]] = {}
    if blocks:
        groups[ALL] = list(layers)
        for role in ROLES:
            groups[role] = [path for path in layers if role_of(path) == role]
    groups |= named
    return TargetChoices(
        layers,
        {name: tuple(paths) for name, paths in groups.items() if paths},
        {block: tuple(paths) for block, paths in sorted(blocks.items())},
    )


def chosen_for(network: NetworkSpec, targets: Sequence[str]) -> tuple[list[str], list[int]]:
    """What a form shows for target modules of a network: names of choices, and numbers of blocks.

    Raises:
        LoRAError: a target names no layer.
    """
    return target_choices(network).chosen(tuple(targets), find_targets(network.build(), targets))
