"""Settings of training: transformers' schedules, AdamW, clipping and accumulation are the oracles, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.examples import Task
from core.data.task_spec import TaskSpec
from core.engine.jobs.choice import stepper_for
from core.errors import SpecError
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.pretrain import PretrainSpec
from core.methods.targets import is_in_head
from core.networks.causal import CausalSpec
from core.networks.perceptron import PerceptronSpec
from core.networks.transformer import TransformerSpec
from core.run_spec import BEYOND_PLAIN_ADAM, OptimSpec, RunSpec, default_optim, default_rate, optim_for
from core.training.autograd import AutogradStepper
from core.training.loop import train
from core.training.schedule import rate_at
from core.training.sharing import bank_key, sharing_of
from tests.training.conftest import check_resumes, random_task, reported
from tests.training.plain import SCHEDULES, batches_of, plainly, rounded_up
from tests.training.tiny_texts import batches, network_of, spec_of, task_of

USED = {"weight_decay": 0.1, "warmup": 0.2, "decay": "linear", "clip": 0.5, "accumulation": 4, "precision": "bfloat16"}


def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(20, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)).double()


@pytest.mark.parametrize("decay", SCHEDULES)
@pytest.mark.parametrize("changes", [{}, {"weight_decay": 0.3}, {"clip": 0.1}, {"warmup": 0.3}, {"accumulation": 5}])
def test_every_setting_is_that_of_torch_and_transformers(decay: str, changes: dict[str, float]) -> None:
    optim = OptimSpec.of(learning_rate=0.01, batch_size=23, epochs=3, decay=decay, **changes)
    task, ours, theirs = random_task(dtype=torch.float64), network(), network()

    def loss_of(rows: Tensor) -> Tensor:
        return F.cross_entropy(theirs(task.train.all_pixels()[rows]), task.train.labels[rows])

    found = reported(event for _, event in train(AutogradStepper(ours, optim, task), [optim]))
    expected = plainly(theirs, optim, loss_of, batches_of(optim, 100), total=15)
    assert found == pytest.approx(expected, rel=1e-6)  # reported in float32
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (own - other).abs().max() < 1e-12


@pytest.mark.parametrize("decay", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.33])
def test_rates_are_those_of_transformers(decay: str, warmup: float) -> None:
    total = 57
    optim = OptimSpec.of(learning_rate=0.25, warmup=warmup, decay=decay)
    adam = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=0.25)
    schedule = SCHEDULES[decay](adam, rounded_up(warmup, total), total)
    for step in range(total):
        assert rate_at(optim, step, total) == pytest.approx(adam.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
        adam.step()
        schedule.step()


def test_a_resumed_run_has_the_rates_of_an_uninterrupted_one() -> None:
    optim = OptimSpec.of(learning_rate=0.01, batch_size=20, epochs=2, warmup=0.3, decay="cosine", weight_decay=0.1)
    task = random_task(dtype=torch.float64)
    check_resumes(lambda: AutogradStepper(network(), optim, task), torch.arange(100).view(1, 5, 20))


def test_bfloat16_changes_products_but_not_what_is_kept() -> None:
    task, rows = random_task(), torch.arange(100).view(1, 5, 20)

    def losses(precision: str) -> Tensor:
        model = network().float()
        stepper = AutogradStepper(model, OptimSpec.of(learning_rate=0.01, precision=precision), task)
        found = stepper.advance(rows)
        assert {tensor.dtype for tensor in stepper.trained(0)} == {torch.float32} == {found.dtype}
        return found

    exact, rounded = losses("float32"), losses("bfloat16")
    assert not torch.equal(exact, rounded)
    assert rounded.flatten() == pytest.approx(exact.flatten(), rel=0.02)


def test_parts_of_a_batch_cannot_be_empty() -> None:
    with pytest.raises(SpecError, match="cannot be computed in 9 parts"):
        OptimSpec.of(batch_size=8, accumulation=9)


@pytest.mark.parametrize("method", [FullSpec(), LoRASpec.of(rank=2)])
def test_the_head_has_a_rate_of_its_own_whatever_the_method(method: MethodSpec) -> None:
    """The first update of Adam changes each parameter that has a gradient by its rate."""
    spec = spec_of("bert", dropout=0.0)
    network = method.prepare(network_of(spec, 0), torch.Generator().manual_seed(1))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    task, optim = task_of(), OptimSpec.of(learning_rate=0.001, head_rate=0.02, batch_size=8)
    run = RunSpec.of(method=method, network=spec, task=TaskSpec.of(dataset="d", length=16), optim=optim)
    stepper = stepper_for([network], [run], task, None)
    stepper.advance(batches(task, 1))
    moved = {name: (p - before[name]).abs().max().item() for name, p in network.named_parameters() if p.requires_grad}
    head = {name for name in moved if is_in_head(name, spec.head)}
    assert head
    assert {name: moved[name] for name in head} == pytest.approx(dict.fromkeys(head, 0.02), rel=1e-2)
    # The bias of keys changes no attention, so that its gradient is rounding.
    others = {name: value for name, value in moved.items() if name not in head and value and "key.bias" not in name}
    assert others == pytest.approx(dict.fromkeys(others, 0.001), rel=1e-2)


def test_a_setting_is_for_networks_that_have_what_it_is_of_and_left_out_where_it_is_not_used() -> None:
    optim = OptimSpec.of(head_rate=0.01)
    with pytest.raises(SpecError, match="This network has no head that is trained whole"):
        RunSpec.of(method="full", base="b", source=TaskSpec.of(dataset="d"), task=TaskSpec.of(dataset="d"), optim=optim)
    with pytest.raises(SpecError, match="Head only trains the head alone"):
        RunSpec.of(method="head", network=spec_of("bert"), task=TaskSpec.of(dataset="d", length=16), optim=optim)
    with pytest.raises(SpecError, match="has no blocks to compute again"):
        RunSpec.of(method="pretrain", optim=OptimSpec.of(recompute=True))
    assert optim_for(HeadSpec, optim).head_rate is None
    assert optim_for(FullSpec, optim) == optim
    assert not {"head_rate", "recompute"} & OptimSpec.of().model_dump().keys()
    assert OptimSpec.from_json(optim.to_json()) == optim


@pytest.mark.parametrize("name", sorted(set(BEYOND_PLAIN_ADAM) - {"recompute"}))
def test_a_perceptron_that_uses_a_newer_setting_is_trained_by_autograd_alone(name: str) -> None:
    task = TaskSpec.of(dataset="digits")
    plain = RunSpec.of(method="full", base="b", source=task, task=task)
    assert sharing_of(plain).step == "full"
    other = plain.but(optim=plain.optim.but(**{name: USED[name]}))
    assert (sharing_of(other).step, sharing_of(other).together) == ("autograd", 1)
    assert bank_key(other) != bank_key(plain)
    assert other.arm != plain.arm
    model = PerceptronSpec.of().build(0)
    examples = PerceptronSpec.of().examples(64, torch.Generator().manual_seed(0))
    assert isinstance(stepper_for([model], [other], Task.of_one_part(examples, 10), None), AutogradStepper)


def test_every_field_but_these_is_named_as_one_that_only_autograd_has() -> None:
    every_step = {"learning_rate", "batch_size", "epochs", "patience", "keep", "head_rate"}
    assert set(BEYOND_PLAIN_ADAM) == set(OptimSpec.model_fields) - every_step
    assert not OptimSpec.of().beyond_plain_adam


def test_a_family_has_rates_and_settings_of_its_own() -> None:
    assert default_rate(LoRASpec) == 5 * default_rate(FullSpec) == 0.005
    assert default_rate(LoRASpec, TransformerSpec) == 0.00316
    assert default_rate(PretrainSpec, TransformerSpec) == 5e-5, "bases that were trained serve further experiments"
    assert (default_rate(FullSpec, CausalSpec), default_rate(LoRASpec, CausalSpec)) == (5e-5, 5e-4)
    assert default_optim(FullSpec) == OptimSpec.of(learning_rate=0.001)
    optim = default_optim(FullSpec, TransformerSpec)
    assert (optim.batch_size, optim.epochs, optim.learning_rate) == (32, 3, 1e-4)
    assert (optim.weight_decay, optim.warmup, optim.decay, optim.clip) == (0.0, 0.1, "linear", 1.0)
    head = default_rate(HeadSpec, TransformerSpec)
    assert optim.head_rate == head == default_optim(HeadSpec, TransformerSpec).learning_rate
