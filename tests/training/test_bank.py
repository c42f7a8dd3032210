"""The bank: what each member gets is what autograd would have given it alone, whoever trains beside it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import get_args

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from core.data.examples import EvaluationPart, ImageExamples, Task
from core.data.task_spec import TaskSpec
from core.errors import SpecError
from core.methods.adapted import adapted_layers
from core.methods.biases import BiasesSpec
from core.methods.layers import SCALINGS
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.run_spec import OptimSpec
from core.tasks.tasks import Tasks
from core.training.autograd import AutogradStepper
from core.training.bank import bank as bank_module
from core.training.bank import shard as shard_module
from core.training.bank.bank import Bank
from core.training.bank.tape import call_by_call, scripted
from core.training.evaluation import evaluate
from core.training.loop import train
from core.training.stepper import Diverged, Done, EpochEnd, Stepper, Stopped
from tests.pairs import pairwise
from tests.training.conftest import equal, reported, rows_of

RANKS = (4, 1, 16, 7)
RATES = (0.0003, 0.001, 0.0005)
HEAD_RATES = (0.003, 0.001)
SEEDS = (5, 6)
TARGETS = (("all-linear",), ("layers.2",), ("layers.0", "layers.4"))


WAITS_OR_ALLOCATES = ("local_scalar_dense", "nonzero", "empty", "clone", "to_copy", "new_")


class Recorder(TorchDispatchMode):
    """Names of the operations that reach the device."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append(str(func))
        return func(*args, **(kwargs or {}))


def members(
    method: str,
    count: int,
    dtype: torch.dtype = torch.float32,
    targets: Sequence[tuple[str, ...]] = (("all-linear",),),
    whole_head: bool = False,
    **lora: object,
) -> list[MultilayerPerceptron]:
    """Networks that differ in everything a bank allows."""
    shape = PerceptronSpec.of(whole_head=whole_head)
    networks = []
    for k, (rank, layers) in enumerate(zip(taken(RANKS, count), taken(targets, count), strict=True)):
        network = shape.build(1 if method == "lora" else k).to(dtype)
        if method == "lora":
            spec = LoRASpec.of(**{"rank": rank, "alpha": 0.25 + k / 16, "target_modules": layers, **lora})
            add_lora(network, spec, torch.Generator().manual_seed(k))
            perturb(network, k)
        networks.append(network)
    return networks


def perturb(network: MultilayerPerceptron, seed: int) -> None:
    """Give B values: at the start it is zero, which hides mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in adapted_layers(network).values():
            layer.lora.B.normal_(std=0.02, generator=generator)


def taken(values: Sequence, count: int) -> list:
    return list(islice(cycle(values), count))


def compare(
    task: Task,
    networks: list[MultilayerPerceptron],
    steps: int,
    batch: int,
    tolerance: float,
    head_rates: Sequence[float | None] = (None,),
) -> None:
    """Train in a bank and one by one; losses and weights must be the same to ``tolerance``."""
    count = len(networks)
    rates, heads, seeds = taken(RATES, count), taken(head_rates, count), taken(SEEDS, count)
    alone = copy.deepcopy(networks)
    bank = Bank(networks, rates, seeds, task, head_rates=heads)
    rows = rows_of(task, seeds, steps, batch)
    losses = torch.cat([bank.advance(rows[:, : steps // 2]), bank.advance(rows[:, steps // 2 :])])
    orders = list(dict.fromkeys(seeds))
    for k, network in enumerate(alone):
        examples = ImageExamples(task.train.all_pixels().to(losses.dtype), task.train.labels)
        optim = OptimSpec.of(learning_rate=rates[k], head_rate=heads[k])
        stepper = AutogradStepper(network, optim, replace(task, train=examples))
        expected = stepper.advance(rows[orders.index(seeds[k])].unsqueeze(0))[:, 0]
        torch.testing.assert_close(losses[:, k], expected, rtol=tolerance, atol=tolerance)
        bank.write_back(k)
        for own, other in zip(networks[k].parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(own, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("method", "count", "dtype"), pairwise(("full", *SCALINGS), (1, 3, 8), (torch.float32, torch.float64))
)
def test_a_bank_is_autograd_for_each_member(task: Task, method: str, count: int, dtype: torch.dtype) -> None:
    # In float32 the bound is a few steps of Adam. Where a gradient is all rounding its sign, and so the step, is
    # chance, and a unit on the brink of zero goes either way: autograd's own weights are 3e-3 from those of float64.
    networks = members("full", count, dtype) if method == "full" else members("lora", count, dtype, scaling=method)
    compare(task, networks, steps=20, batch=64, tolerance=1e-2 if dtype == torch.float32 else 1e-11)


@pytest.mark.parametrize(
    ("targets", "steps", "batch"),
    [
        *(([layers], 20, 64) for layers in TARGETS),  # layers without adapters stay as they are
        ([*TARGETS, ("layers.4",)], 20, 64),  # members may adapt different layers
        # At batch 512 a sum W + ΔW is cheaper than two branches in the second layer; ranks above 10 are capped.
        ([("all-linear",)], 6, 512),
        ([("all-linear",)], 6, 100),
    ],
)
def test_a_bank_is_autograd_whichever_layers_have_adapters_and_in_both_orders_of_products(
    task: Task, targets: list[tuple[str, ...]], steps: int, batch: int
) -> None:
    networks = members("lora", max(3, len(targets)), torch.float64, targets)
    compare(task, networks, steps, batch, tolerance=1e-11)


@pytest.mark.parametrize(
    ("method", "count", "targets", "batch"),
    [
        ("full", 1, ("all-linear",), 64),  # with gradients that are stored apart
        ("full", 3, ("all-linear",), 64),
        ("lora", 1, ("all-linear",), 64),
        ("lora", 5, ("all-linear",), 64),
        ("lora", 3, ("layers.2",), 100),
        ("lora", 3, ("all-linear",), 512),
    ],
)
def test_a_head_that_is_trained_whole_has_each_members_own_rate(
    task: Task, method: str, count: int, targets: tuple[str, ...], batch: int
) -> None:
    networks = members(method, count, torch.float64, (targets,), whole_head=True)
    before = copy.deepcopy(networks)
    compare(task, networks, 20 if batch == 64 else 6, batch, 1e-11, HEAD_RATES)
    for old, new in zip(before, networks, strict=True):
        assert (old.layers[4].weight != new.layers[4].weight).any(1).all()
        frozen = adapted_layers(new) if method == "lora" else {}
        assert "layers.4" not in frozen
        for path, layer in frozen.items():
            assert torch.equal(layer.linear.weight, old.get_submodule(path).linear.weight)


def test_padding_of_ranks_stays_exactly_zero(task: Task) -> None:
    networks = members("lora", 4)
    bank = Bank(networks, taken(RATES, 4), taken(SEEDS, 4), task)
    bank.advance(rows_of(task, taken(SEEDS, 4), 30, 64))
    (shard,) = bank._shards
    padded = 0
    for number, network in enumerate(shard.networks):
        for i, layer in enumerate(adapted_layers(network).values()):  # type: ignore[arg-type]
            for matrix in (shard._A[i], shard._B[i]):  # type: ignore[attr-defined]
                rest = matrix[number, layer.lora.rank :]
                assert (rest == 0).all()
                padded += rest.numel()
    assert padded


def told(bank: Bank, optims: list[OptimSpec], **options: object) -> dict[int, list]:
    found: dict[int, list] = {k: [] for k in range(bank.members)}
    for member, event in train(bank, optims, **options):  # type: ignore[arg-type]
        found[member].append(event)
    return found


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_stopped_or_diverged_member_leaves_the_others_numbers_as_they_are(task: Task, method: str) -> None:
    optims = [OptimSpec.of(epochs=2, learning_rate=rate) for rate in taken(RATES, 4)]

    def bank() -> Bank:
        return Bank(members(method, 4), [o.learning_rate for o in optims], taken(SEEDS, 4), task)

    quiet = bank()
    undisturbed = told(quiet, optims)
    assert all(isinstance(events[-1], Done) for events in undisturbed.values())

    disturbed = bank()
    disturbed.restore(2, [torch.full_like(value, torch.nan) for value in disturbed.trained(2)])
    found = told(disturbed, optims, stop=lambda member: member == 1)
    assert isinstance(found[1][-1], Stopped)
    assert found[2][-1] == Diverged(step=1)
    assert 0 < len(reported(found[1])) < len(reported(undisturbed[1]))
    for k in (0, 3):
        np.testing.assert_array_equal(reported(found[k]), reported(undisturbed[k]))
        assert equal(disturbed.networks[k].parameters(), quiet.networks[k].parameters())


def test_seconds_of_all_members_add_up_to_the_time_that_passed(task: Task) -> None:
    optims = [OptimSpec.of(epochs=1)] * 3
    found = told(Bank(members("lora", 3), [0.001] * 3, [0] * 3, task), optims, spent=3.0)
    seconds = [events[-2].seconds for events in found.values()]
    assert seconds == pytest.approx([seconds[0]] * 3)
    assert seconds[0] > 1


def test_patience_and_the_best_epoch_are_each_members_own(task: Task) -> None:
    optims = [
        OptimSpec.of(epochs=12, learning_rate=0.05, patience=1, keep="best"),
        OptimSpec.of(epochs=12, learning_rate=0.0001),
        OptimSpec.of(epochs=12, learning_rate=0.03, keep="best"),
    ]
    bank = Bank(members("lora", 3, alpha=16), [o.learning_rate for o in optims], [0, 1, 0], task)
    found = told(bank, optims)
    ends = [events[-1] for events in found.values()]
    validation = [
        [e.measures.get("validation_loss") for e in events if isinstance(e, EpochEnd)] for events in found.values()
    ]
    assert ends[0].epochs == len(validation[0]) < 12
    assert ends[0].kept_epoch == ends[0].epochs - 1
    assert ends[1] == Done(12, 12)
    assert ends[2] == Done(12, int(np.argmin(validation[2])) + 1)
    for k in (0, 2):
        with torch.no_grad():
            now = evaluate(bank.networks[k], task.validation, task.classes)
        assert now.loss == pytest.approx(min(validation[k]), rel=1e-4)


@pytest.mark.parametrize("method", ["full", "lora", "lora, whole head", "biases"])
def test_evaluation_is_the_networks_own(tasks: Tasks, task: Task, method: str) -> None:
    """Of either part, also right after a member has been retired: a run's result is made of it then."""
    source = tasks.get(TaskSpec.of(dataset="digits", classes=tuple(range(5))))
    if method == "biases":
        networks = [BiasesSpec().prepare(PerceptronSpec.of().build(0))]
        stepper: Stepper = AutogradStepper(networks[0], OptimSpec.of(learning_rate=0.001), task, source=source)
    else:
        networks = members(method.partition(",")[0], 3, whole_head="head" in method)
        stepper = Bank(networks, [0.001] * 3, [0, 1, 0], task, source)
    stepper.advance(rows_of(task, list(dict.fromkeys(stepper.seeds)), 10, 64))
    for k, network in enumerate(networks):
        stepper.write_back(k)
        stepper.retire(k)
        for name in get_args(EvaluationPart):
            for found, its in zip(stepper.evaluate(k, name), (task, source), strict=True):
                with torch.no_grad():
                    expected = evaluate(network, its.part(name), its.classes)
                assert "accuracy" in found.measures
                assert ("accuracy_masked" in found.measures) == (its is source)
                near = {"loss": {"rel": 1e-5}, "calibration_error": {"abs": 200 / len(its.part(name))}}  # one other bin
                for measure, value in found.measures.items():
                    exact = expected.measures[measure]
                    assert value == (pytest.approx(exact, **near[measure]) if measure in near else exact)
            assert stepper.evaluate(k, name, source=False) == (stepper.evaluate(k, name)[0], None)


def test_a_shard_may_leave_the_first_adapted_layer_of_its_bank_as_it_is(task: Task) -> None:
    """Its product is kept for all members, so no evaluation may change it."""
    base = PerceptronSpec.of().build(1)
    specs = [
        LoRASpec.of(rank=r, target_modules=targets) for targets in (TARGETS[0], ("layers.4",)) for r in (1, 2, 4, 8)
    ]
    networks = [add_lora(copy.deepcopy(base), spec) for spec in specs]
    bank = Bank(networks, [0.001] * 8, [0] * 8, task)  # type: ignore[arg-type]
    bank.advance(rows_of(task, [0], 10, 64))
    for k in (4, 0, 4, 7):
        bank.write_back(k)
        found, _ = bank.evaluate(k)
        with torch.no_grad():
            expected = evaluate(networks[k], task.validation, task.classes)
        assert found.measures["accuracy"] == expected.measures["accuracy"]
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_shards_on_several_threads_give_the_numbers_of_one(
    tasks: Tasks, task: Task, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of steps, and of evaluations, whose blocks are more than there are threads."""
    monkeypatch.setattr(bank_module, "MIN_MEMBERS", 2)
    monkeypatch.setattr(shard_module, "BLOCK", 50)
    seeds, rates = taken(SEEDS, 6), taken(RATES, 6)
    source = tasks.get(TaskSpec.of(dataset="digits", classes=tuple(range(5))))
    one, several = (Bank(members(method, 6), rates, seeds, task, source) for _ in range(2))
    several.use_threads(3)
    rows = rows_of(task, seeds, 40, 64)
    assert torch.equal(one.advance(rows), several.advance(rows))
    for k in range(6):
        assert equal(one.trained(k), several.trained(k))
        assert one.evaluate(k) == several.evaluate(k)
        for own, part in ((task, "validation"), (source, "test")):
            assert torch.equal(one.logits(k, own, part)[0], several.logits(k, own, part)[0])
    assert torch.get_num_threads() == 1


def test_training_leaves_the_threads_own_arithmetic_as_it_was(task: Task) -> None:
    smallest = 5e-324
    Bank(members("full", 1), [0.001], [5], task).advance(rows_of(task, [5], 2, 64))
    assert smallest * 1.0 == smallest > 0
    assert torch.tensor([1e-40]).mul(1.0).item() > 0


def test_a_rehearsal_changes_nothing(task: Task) -> None:
    rows = rows_of(task, [5], 10, 64)
    for method in ("full", "lora"):
        fresh, tried = (Bank(members(method, 1), [0.01], [5], task) for _ in range(2))
        tried.rehearse(rows)
        assert torch.equal(fresh.advance(rows), tried.advance(rows))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_stretch_in_one_function_is_the_calls_one_by_one(task: Task, method: str) -> None:
    rows = rows_of(task, taken(SEEDS, 3), 12, 64)
    one, other = (Bank(members(method, 3), taken(RATES, 3), taken(SEEDS, 3), task) for _ in range(2))
    expected = torch.empty(12, 3)
    for shard, own in zip(other._shards, other._members, strict=True):
        program, losses = shard.program(64), torch.empty(12, len(own))
        with torch.inference_mode():
            assert scripted([*program.tape.calls, *program.update.calls], program.rows, program.loss)
            call_by_call(lambda p=program: (p.tape.run(), p.update.run()), program.rows, program.loss)(
                rows[shard.orders], losses
            )
        expected[:, own] = losses
    assert torch.equal(one.advance(rows), expected)
    assert all(equal(one.trained(k), other.trained(k)) for k in range(3))


def test_a_step_makes_no_tensor_and_reads_no_value(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a CUDA graph needs, checked without one: fixed tensors, and nothing that waits for a value."""
    monkeypatch.setattr("core.training.bank.algebra.onednn_is_faster", lambda: False)  # it never is on a GPU
    for method in ("full", "lora"):
        bank = Bank(members(method, 3), taken(RATES, 3), taken(SEEDS, 3), task)
        bank.advance(rows_of(task, taken(SEEDS, 3), 2, 64))
        for shard in bank._shards:
            program = shard.program(64)
            with Recorder() as seen, torch.inference_mode():
                program.tape.run()
                program.update.run()
            assert seen.calls
            assert not [name for name in seen.calls if any(word in name for word in WAITS_OR_ALLOCATES)]
            addresses = [t.data_ptr() for t in (program.loss, shard.adam.values, shard.adam.gradients)]
            shard.run(rows_of(task, shard.orders, 2, 64), torch.empty(2, len(shard.networks)))
            assert addresses == [t.data_ptr() for t in (program.loss, shard.adam.values, shard.adam.gradients)]


@pytest.mark.parametrize("targets", TARGETS)
def test_members_on_two_bases_come_to_what_the_members_of_each_come_to_bit_for_bit(
    task: Task, targets: tuple[str, ...]
) -> None:
    other = add_lora(PerceptronSpec.of().build(9), LoRASpec.of(rank=3, target_modules=targets))
    perturb(other, 9)
    one = members("lora", 3, targets=[targets])
    networks, rates, seeds = [one[0], other, *one[1:]], taken(RATES, 4), [5, 6, 5, 7]
    bank = Bank(copy.deepcopy(networks), rates, seeds, task, task)
    losses = bank.advance(rows_of(task, seeds, 30, 64))
    for own in ([0, 2, 3], [1]):
        alike = [seeds[k] for k in own]
        apart = Bank([copy.deepcopy(networks[k]) for k in own], [rates[k] for k in own], alike, task, task)
        assert torch.equal(losses[:, own], apart.advance(rows_of(task, alike, 30, 64)))
        for number, k in enumerate(own):
            assert bank.evaluate(k) == apart.evaluate(number)
            assert equal(bank.trained(k), apart.trained(number))


def test_runs_that_do_not_fit_together_are_refused_in_a_sentence(task: Task) -> None:
    full, lora = members("full", 1)[0], members("lora", 1)[0]
    with pytest.raises(SpecError, match="one method"):
        Bank([full, lora], [0.1, 0.1], [0, 0], task)
    with pytest.raises(SpecError, match="the same sizes"):
        Bank([full, PerceptronSpec.of(num_hidden_1=64).build(0)], [0.1, 0.1], [0, 0], task)
