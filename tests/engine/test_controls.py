"""Controls, layers and per-seed bases: what they train and start from, and that old specs are unchanged."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from core.engine.jobs.run_files import NETWORK
from core.forecast.forecast import chosen_for, plan, target_layers
from core.lab import Lab
from core.methods.method import Role
from core.methods.registry import method_of, methods
from core.methods.scratch import ScratchSpec
from core.methods.targets import find_targets
from core.networks.file import read_network
from core.networks.network import NetworkSpec
from core.networks.perceptron import PerceptronSpec
from tests.conftest import BOTH, compared, finish, short
from tests.launching import fine_tune
from tests.training.tiny_texts import ARCHITECTURES, spec_of


def test_each_control_changes_what_it_says_and_nothing_else(lab: Lab) -> None:
    arms = [(short(rate=0.01), method_of(kind)) for kind in methods(Role.CONTROL)]
    experiment = compared(lab, "rotation-45", "digits", None, short(), arms, [0, 1])
    runs = finish(lab, *experiment.runs)
    assert [run.state for run in runs] == ["finished"] * 6, [run.cause for run in runs]
    base = lab.store.run(experiment.base)
    for run in runs:
        files = lab.artifacts.base(run), lab.artifacts.path(run.id, NETWORK)
        before, after = (read_network(file).state_dict() for file in files)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        expected = {
            "head": {name for name in before if name.startswith("layers.4.")},
            "biases": {name for name in before if name.endswith(".bias")},
            "scratch": set(before),
        }[run.spec.kind]
        assert changed == expected
        assert run.result.trainable_parameters == sum(before[name].numel() for name in changed)
        assert run.result.trainable_parameters == plan(run.spec.network, run.spec.method).trainable_parameters
        # Forgetting is measured against the base, also for a network that does not start from it.
        assert run.result.measures["source_accuracy_before"] == pytest.approx(base.score)


def test_training_from_scratch_does_not_depend_on_the_base(lab: Lab) -> None:
    first = compared(lab, "rotation-45", "digits", None, short(epochs=1), [(short(), ScratchSpec())], [3])
    other = compared(lab, "rotation-45", "digits", None, short(epochs=2), [(short(), ScratchSpec())], [3])
    a, b = finish(lab, *first.runs, *other.runs)
    assert a.spec.base != b.spec.base
    assert (lab.settings.runs / a.id / NETWORK).read_bytes() == (lab.settings.runs / b.id / NETWORK).read_bytes()


def test_a_base_for_each_seed_is_trained_once_and_shared_by_all_arms_of_the_seed(idle: Lab) -> None:
    experiment = compared(idle, "rotation-45", "digits", None, short(), BOTH, [0, 1, 2], own_bases=True)
    runs = idle.store.members(experiment)
    by_seed = {seed: {run.spec.base for run in runs if run.spec.seed == seed} for seed in (0, 1, 2)}
    assert all(len(bases) == 1 for bases in by_seed.values())
    assert len({base for bases in by_seed.values() for base in bases}) == 3
    assert all(idle.store.run(str(run.spec.base)).spec.seed == run.spec.seed for run in runs)
    assert len({run.spec.arm for run in runs}) == 2
    again = fine_tune(idle, idle.store.run(experiment.base), runs[0].spec.task, BOTH, [2, 3], "again", own_bases=True)
    assert next(run.spec.base for run in idle.store.members(again) if run.spec.seed == 2) in by_seed[2]
    assert len(idle.store.runs(methods=["pretrain"])) == 4


SPECS: dict[str, NetworkSpec] = {"perceptron": PerceptronSpec.of()} | {
    name: spec_of(name, layers=2) for name in ARCHITECTURES
}


@pytest.mark.parametrize("network", SPECS.values(), ids=SPECS)
def test_what_is_chosen_is_what_the_targets_name_and_is_found_from_them(network: NetworkSpec) -> None:
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
    for name in choices.groups:
        targets = choices.targets([name])
        names, blocks = chosen_for(network, targets)
        assert choices.targets(names, blocks or None) == targets


def test_everything_is_spelled_in_one_way_that_tells_layers_with_one_ending_apart() -> None:
    """``output.dense`` as a target would name ``attention.output.dense`` too."""
    choices = target_layers(SPECS["bert"])
    assert choices.targets(choices.start) == ("all-linear",)
    assert choices.targets(["attention", "feed-forward"], choices.blocks) == ("attention", "feed-forward")
    found = find_targets(SPECS["bert"].build(), choices.targets(["output.dense"]))
    assert found
    assert not any("attention" in path for path in found)
