"""What can share a bank: one table; what it does not know is trained by autograd, alone; keys stay as they were."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

import core.training.sharing
from core.data.examples import Task
from core.data.task_spec import TaskSpec
from core.engine.jobs.choice import stepper_for
from core.engine.jobs.job import network_of
from core.errors import SpecError
from core.forecast.packing import bank_size
from core.methods.lora import LinearWithLoRA, LoRASpec
from core.methods.low_rank import add_lora
from core.methods.registry import METHODS
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank
from core.training.parallel import ParallelSteppers
from core.training.sharing import ALONE, AUTOGRAD_BANK, SHARING, bank_key, sharing, sharing_of, turn_of
from tests.conftest import DIGITS
from tests.training import tiny_texts


def spec_of(kind: str, seed: int = 0) -> RunSpec:
    if kind == "pretrain":
        return RunSpec.of(method="pretrain", task=DIGITS, seed=seed)
    return RunSpec.of(method=kind, base="b", source=DIGITS, task=DIGITS, seed=seed)


def test_every_kind_in_the_table_is_a_method() -> None:
    assert set(SHARING) <= {method.name() for method in METHODS}


@pytest.mark.parametrize(("kind", "known"), [*((kind, True) for kind in SHARING), ("lora", False)])
def test_the_table_is_what_trains_runs_and_how_many_together_and_others_are_trained_by_autograd_alone(
    task: Task, tasks: Tasks, kind: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known:
        monkeypatch.delitem(SHARING, kind)
        assert sharing(kind, "perceptron") == ALONE
    base = PerceptronSpec.of().build(1)
    specs = [spec_of(kind, seed) for seed in range(40)]
    assert bank_size(specs, tasks, Settings(Path("unused"))) == sharing(kind, "perceptron").together
    pair = [network_of(spec, None if kind == "pretrain" else base) for spec in specs[:2]]
    if sharing(kind, "perceptron").step == "autograd":
        assert isinstance(stepper_for(pair[:1], specs[:1], task, None), AutogradStepper)
        with pytest.raises(SpecError, match="train them one by one"):
            stepper_for(pair, specs[:2], task, None)
    else:
        bank = stepper_for(pair, specs[:2], task, None)
        assert isinstance(bank, Bank)
        assert bank.step == sharing(kind, "perceptron").step


def test_transformers_train_side_by_side_large_ones_one_per_core(monkeypatch: pytest.MonkeyPatch) -> None:
    network, texts = tiny_texts.spec_of("bert"), TaskSpec.of(dataset="digits", length=32)
    specs = [
        RunSpec.of(method=LoRASpec.of(rank=1 + seed), network=network, base="b", source=texts, task=texts, seed=seed)
        for seed in range(3)
    ]
    assert len({bank_key(spec) for spec in specs}) == 1
    for cores, expected in ((1, 1), (2, 2), (64, AUTOGRAD_BANK)):
        monkeypatch.setattr(core.training.sharing, "available_cores", lambda cores=cores: cores)
        assert sharing_of(specs[0]).together == expected
        assert sharing("full", "decoder").together == (1 if cores == 1 else AUTOGRAD_BANK)
    own = tiny_texts.task_of()
    networks = [spec.method.prepare(tiny_texts.network_of(network)) for spec in specs]
    stepper = stepper_for(networks, specs, own, None)
    assert isinstance(stepper, ParallelSteppers)
    assert stepper.shards == 3
    assert isinstance(stepper_for(networks[:1], specs[:1], own, None), AutogradStepper)


def test_no_run_is_left_over_by_turns() -> None:
    assert [turn_of(count) for count in (1, 2, 3, 4, 5, 8)] == [1, 2, 3, 2, 3, 4]


def test_a_bank_refuses_a_layer_that_only_looks_like_lora(task: Task) -> None:
    class Other(LinearWithLoRA):
        """Computes something else."""

        def forward(self, x):
            return 2 * super().forward(x)

    network = PerceptronSpec.of().build(0)
    add_lora(network, LoRASpec.of(), layer=Other)
    with pytest.raises(SpecError):
        Bank([network], [0.1], [0], task)


def test_networks_that_do_not_fit_their_kind_are_refused(task: Task) -> None:
    plain = PerceptronSpec.of().build(0)
    adapted = add_lora(copy.deepcopy(plain), LoRASpec.of())
    for network, kind in ((plain, "lora"), (adapted, "full")):
        with pytest.raises(SpecError, match="not what runs of the method"):
            stepper_for([network], [spec_of(kind)], task, None)
    with pytest.raises(SpecError, match="different kinds"):
        stepper_for([plain, plain], [spec_of("full"), spec_of("lora")], task, None)


def test_a_key_stays_what_it_was_when_its_run_was_queued() -> None:
    """A spec whose every shared field differs from its default; stores of schema 6 have keys as printed here."""
    other = RunSpec.of(
        method="scratch",
        base="b",
        device="cpu",
        source=TaskSpec.of(rotation=45),
        task=TaskSpec.of(invert=True, shots=7),
        network=PerceptronSpec.of(num_hidden_1=9),
        optim=OptimSpec.of(batch_size=5, epochs=3),
    )
    assert bank_key(other) == "4963ac362774"
