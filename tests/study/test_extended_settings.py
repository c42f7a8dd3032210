from __future__ import annotations

import pytest

from core.errors import SpecError
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.plan.rate_grid import tuned_arms
from core.run_spec import OptimSpec
from core.study.arms.growth import extended

FULL, LORA = (OptimSpec.of(learning_rate=0.001), FullSpec()), (OptimSpec.of(learning_rate=0.005), LoRASpec.of(rank=4))


def kinds(settings):
    return [(kind.rank if isinstance(kind, LoRASpec) else kind.kind, optim.learning_rate) for optim, kind in settings]


def test_nothing_added_is_what_there_was():
    assert extended([FULL, LORA]) == [FULL, LORA]
    assert extended([FULL, LORA], [4], [], [0.001]) == [FULL, LORA, (OptimSpec.of(learning_rate=0.001), LORA[1])]


def test_a_new_rank_gets_the_rates_and_alphas_that_lora_has():
    tuned = tuned_arms([FULL, LORA], 3)
    grown = extended(tuned, ranks=[1, 16])
    assert grown[:6] == tuned
    rates = [optim.learning_rate for optim, kind in tuned if isinstance(kind, LoRASpec)]
    assert kinds(grown[6:]) == [(rank, rate) for rank in (1, 16) for rate in rates]


@pytest.mark.parametrize("rates", [1, 3])
def test_a_new_control_is_tuned_as_much_as_the_others(rates):
    settings = tuned_arms([FULL, LORA], rates) if rates > 1 else [FULL, LORA]
    grown = extended(settings, kinds=["head"])
    assert [kind for kind, _ in kinds(grown)].count("head") == rates


def test_a_new_rate_is_tried_by_every_method_and_rank():
    grown = extended([FULL, LORA], ranks=[1], rates=[0.0316])
    assert {kind for kind, rate in kinds(grown) if rate == 0.0316} == {"full", 4, 1}
    budgets = {}
    for kind, rate in kinds(grown):
        budgets.setdefault(kind, set()).add(rate)
    assert {len(tried) for tried in budgets.values()} == {2}


def test_a_rank_out_of_bounds_is_one_sentence():
    with pytest.raises(SpecError, match="Rank must be"):
        extended([FULL, LORA], ranks=[0])


class Quick(PerceptronSpec):
    """A family that learns faster."""

    learning_rate = 0.01


def test_what_is_added_starts_at_the_rates_of_the_networks_family():
    grown = extended([FULL], ranks=[2], kinds=["head"], network=Quick.of())
    assert kinds(grown) == [("full", 0.001), (2, 0.05), ("head", 0.05)]
