"""A method may train some of its tensors at other rates: LoRA+ as only this test registers it, beside plain torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import pytest
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from core.data.task_spec import TaskSpec
from core.engine.jobs.choice import stepper_for
from core.methods.layers import LinearWithLoRA
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.registry import METHODS
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec, RunSpec
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank
from core.training.schedule import rate_at
from core.training.sharing import ALONE, bank_key, sharing_of
from core.training.stepper import Stepper
from tests.registered import with_entry
from tests.training.conftest import check_resumes, equal, random_task

OPTIM = OptimSpec.of(learning_rate=0.003, batch_size=32, epochs=2, weight_decay=0.1, warmup=0.3, decay="linear")
ROWS = torch.randint(100, (1, 8, 32), generator=torch.Generator().manual_seed(0))
"""Of all steps."""
NETWORK = PerceptronSpec.of(num_features=20, num_hidden_1=16, num_hidden_2=12, num_classes=4)


class LoRAPlusSpec(LowRankSpec):
    """LoRA whose matrices B have a rate of their own (Hayou et al. 2024, arXiv 2402.12354)."""

    kind: Literal["lora-plus"] = "lora-plus"
    title = "LoRA+"
    short = "LoRA+"
    line = "small matrices, the second of them at a higher rate"
    is_low_rank = True
    layer = LinearWithLoRA

    ratio: float = Field(16.0, ge=1, le=64, title="Ratio", description="Rate of B, as a multiple of that of A.")

    @property
    def tensor_rates(self) -> Mapping[str, float]:
        return {} if self.ratio == 1 else {"lora.B": self.ratio}


@pytest.fixture
def registered() -> Iterator[None]:
    with with_entry(METHODS, LoRAPlusSpec):
        yield


def prepared() -> nn.Module:
    return LoRASpec.of(rank=2).prepare(NETWORK.build(1), torch.Generator().manual_seed(2))


def stepper_of(**rates: float) -> AutogradStepper:
    return AutogradStepper(prepared(), OPTIM, random_task(), rates=rates)


def trained(**rates: float) -> list[torch.Tensor]:
    stepper = stepper_of(**rates)
    stepper.advance(ROWS)
    return stepper.trained(0)


def test_matrices_are_trained_as_by_two_groups_of_torch() -> None:
    task, theirs = random_task(), prepared()
    named = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    groups = [[p for name, p in named.items() if name.endswith(letter)] for letter in "AB"]
    adam = torch.optim.AdamW([{"params": group} for group in groups], weight_decay=OPTIM.weight_decay, fused=True)
    for step, rows in enumerate(ROWS[0]):
        for group, factor in zip(adam.param_groups, (1.0, 16.0), strict=True):
            group["lr"] = factor * rate_at(OPTIM, step, 8)
        adam.zero_grad()
        F.cross_entropy(theirs(task.train.all_pixels()[rows]), task.train.labels[rows]).backward()
        adam.step()
    for own, other in zip(trained(**{"lora.B": 16.0}), named.values(), strict=True):
        torch.testing.assert_close(own, other.detach(), rtol=1e-4, atol=1e-6)


def test_factors_of_one_change_no_bit() -> None:
    for rates in ({"lora.B": 1.0, "A": 1.0}, {"ora.B": 16.0}):  # names end where a part of a name begins
        assert equal(trained(), trained(**rates))


def test_resuming_gives_the_same_bits() -> None:
    check_resumes(lambda: stepper_of(**{"layers.0.lora.A": 4.0, "lora.B": 16.0}), ROWS)


def test_a_method_with_rates_of_its_own_is_trained_by_autograd_alone(registered: None) -> None:
    source = TaskSpec.of()
    own, plain = (
        RunSpec.of(method=LoRAPlusSpec.of(ratio=ratio), base="b", source=source, task=source, network=NETWORK)
        for ratio in (16.0, 1.0)
    )
    lora = plain.but(method=LoRASpec.of())
    assert sharing_of(own) == ALONE
    assert len({bank_key(own), bank_key(plain)}) == 2

    def stepper(spec: RunSpec) -> Stepper:
        return stepper_for([spec.method.prepare(NETWORK.build(1))], [spec], random_task(), None)

    made = stepper(own)
    assert isinstance(made, AutogradStepper)
    rows = torch.arange(32)[None, None]
    made.advance(rows)
    before = dict(own.method.prepare(NETWORK.build(1)).named_parameters())
    named = dict(made.network.named_parameters())
    longest = max((named[name] - before[name]).abs().max().item() for name in named if name.endswith("lora.B"))
    # The first step of Adam is as long as the rate, wherever there is a gradient.
    assert longest == pytest.approx(16 * own.optim.learning_rate, rel=1e-3)
    assert isinstance(stepper(lora), Bank)
