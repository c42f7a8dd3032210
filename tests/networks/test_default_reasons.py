"""Every default of a family that differs from the general one has a reason, which forms show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.method import Role
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.networks.perceptron import PerceptronSpec
from core.networks.registry import FAMILIES
from core.networks.transformer import TransformerSpec
from core.run_spec import OptimSpec, rate_reason
from core.wording.tasks import explained


def without_reason(family: type[NetworkSpec]) -> set[str]:
    """The defaults of a family that differ from the general ones and have no reason."""
    differing = {name for name, value in family.training.items() if value != OptimSpec.model_fields[name].default}
    differing |= set(family.rate_factors)
    differing |= {"learning_rate"} if family.learning_rate != NetworkSpec.learning_rate else set()
    return {str(name) for name in differing - family.reasons.keys()}


def test_a_default_without_a_reason_is_found() -> None:
    class Odd(PerceptronSpec):
        learning_rate = 0.1
        rate_factors: ClassVar[Mapping[Role, float]] = {Role.ADAPTER: 2.0}
        training: ClassVar[Mapping[str, Any]] = {"clip": 1.0, "warmup": 0.0}
        reasons: ClassVar[Mapping[str, str]] = {"batch_size": "it fits"}

    assert without_reason(Odd) == {"learning_rate", "adapter", "clip"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_default_that_differs_has_a_reason_and_each_is_a_clause_about_one(family: type[NetworkSpec]) -> None:
    assert without_reason(family) == set()
    assert family.reasons.keys() <= {*OptimSpec.model_fields, *LowRankSpec.model_fields, *family.rate_factors}
    for reason in family.reasons.values():
        assert 0 < len(reason) <= 100
        assert reason[-1] not in ".:;, "
        assert "\n" not in reason


def test_adapters_on_a_transformer_have_a_reason_for_rank_alpha_and_layers_too() -> None:
    assert {"rank", "alpha", "target_modules"} <= TransformerSpec.reasons.keys()


def test_the_reason_for_a_rate_is_that_of_the_role_where_the_family_has_a_multiple_for_it() -> None:
    own = TransformerSpec.reasons
    for method, key in ((FullSpec, "learning_rate"), (PretrainSpec, Role.BASE), (LoRASpec, Role.ADAPTER)):
        assert rate_reason(method, TransformerSpec) == own[key]
        assert rate_reason(method, PerceptronSpec) == ""


def test_what_has_no_reason_is_described_alone() -> None:
    assert explained("Learning rate.", 5e-5, "") == "Learning rate."
    assert explained("Learning rate.", 5e-5, "as usual") == "Learning rate. Default 5e-05: as usual."
    assert explained("Layers.", ["a", "b"], "as usual", "At first") == "Layers. At first a, b: as usual."
