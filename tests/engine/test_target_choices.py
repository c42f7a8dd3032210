"""The choices of layers in forms: what is chosen is what gets adapters, and is shown again as it was chosen."""

from __future__ import annotations

from itertools import combinations

import pytest

from core.forecast.cost import chosen_for, target_layers
from core.methods.targets import find_targets
from core.networks.network import NetworkSpec
from core.networks.perceptron import PerceptronSpec
from tests.training.tiny_texts import ARCHITECTURES, spec_of

SPECS: dict[str, NetworkSpec] = {"perceptron": PerceptronSpec.of()} | {
    name: spec_of(name, layers=2) for name in ARCHITECTURES
}


@pytest.mark.parametrize("network", SPECS.values(), ids=SPECS)
def test_what_is_chosen_is_what_the_targets_name(network: NetworkSpec) -> None:
    choices = target_layers(network)
    built = network.build()
    some = [list(choices.blocks)[-1:], None] if choices.blocks else [None]
    for size in (1, 2):
        for names in combinations(choices.groups, size):
            for blocks in some:
                targets = choices.targets(names, blocks)
                inside = choices.paths if blocks is None else [p for b in blocks for p in choices.blocks[b]]
                wanted = {path for name in names for path in choices.groups[name]} & set(inside)
                if wanted:
                    assert set(find_targets(built, targets)) == wanted, (names, blocks, targets)


@pytest.mark.parametrize("network", SPECS.values(), ids=SPECS)
def test_targets_are_shown_as_the_choice_that_makes_them(network: NetworkSpec) -> None:
    choices = target_layers(network)
    for name in choices.groups:
        targets = choices.targets([name])
        names, blocks = chosen_for(network, targets)
        assert choices.targets(names, blocks or None) == targets


def test_everything_is_spelled_in_one_way() -> None:
    choices = target_layers(SPECS["bert"])
    assert choices.targets(choices.start) == ("all-linear",)
    assert choices.targets(["attention", "feed-forward"], choices.blocks) == ("attention", "feed-forward")


def test_two_layers_with_one_ending_are_told_apart() -> None:
    """``output.dense`` as a target would name ``attention.output.dense`` too."""
    choices = target_layers(SPECS["bert"])
    found = find_targets(SPECS["bert"].build(), choices.targets(["output.dense"]))
    assert found
    assert not any("attention" in path for path in found)
