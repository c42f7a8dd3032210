"""Runs trained in a bank equal runs trained alone, with their own files, stops and failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.adapter import apply_adapter, read_adapter
from core.data.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.data.tasks import Tasks
from core.engine import job
from core.engine.job import BankCallbacks, Outcome, RunContext, execute, execute_bank
from core.engine.predictions import PREDICTIONS
from core.engine.run_files import ADAPTER, NETWORK
from core.errors import DivergedError, SpecError
from core.files import sha256_of
from core.methods.lora import LoRASpec
from core.networks.file import read_network
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.training.evaluation import evaluate_both
from core.training.events import Event, StepLoss
from core.training.sharing import bank_key
from tests.conftest import DIGITS, TURNED, short

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=2, rate=0.001))
LORA = RunSpec.of(task=TURNED, source=DIGITS, base="r-base", method=LoRASpec.of(), optim=short(epochs=2))


@pytest.fixture
def contexts(tmp_path: Path) -> Callable[[int], list[RunContext]]:
    tasks = Tasks(Catalog(Settings(tmp_path / "home")))
    (tmp_path / "base").mkdir()
    base = RunContext("r-base", tmp_path / "base", tasks, None, 1)
    execute(PRETRAIN, base, sink=lambda event: None)

    def make(count: int) -> list[RunContext]:
        found = []
        for k in range(count):
            folder = tmp_path / f"run{k}"
            folder.mkdir(exist_ok=True)
            found.append(replace(base, run=f"r-{k}", folder=folder, base=base.folder / NETWORK))
        return found

    return make


def mixed() -> list[RunSpec]:
    settings = [(4, 8.0, 0.005, 0), (16, 8.0, 0.001, 1), (2, 4.0, 0.01, 0)]
    return [
        LORA.but(method=LoRASpec.of(rank=rank, alpha=alpha), optim=short(epochs=2, rate=rate), seed=seed)
        for rank, alpha, rate, seed in settings
    ]


def test_runs_of_a_bank_come_to_what_each_comes_to_alone(contexts: Callable[[int], list[RunContext]]) -> None:
    specs, losses = mixed(), {}
    told: dict[int, list[Event]] = {k: [] for k in range(3)}
    steps: dict[int, int] = {}

    class Listener(BankCallbacks):
        def on_begin(self, member: int, total: int) -> None:
            steps[member] = total

        def on_event(self, member: int, event: Event) -> None:
            told[member].append(event)

    outcomes = execute_bank(specs, contexts(3), Listener())
    for k, (spec, outcome, context) in enumerate(zip(specs, outcomes, contexts(3), strict=True)):
        assert isinstance(outcome, Outcome)
        assert outcome.result.bank == 3
        assert outcome.result.steps == steps[k] == sum(len(e.losses) for e in told[k] if isinstance(e, StepLoss))
        assert outcome.files == {name: sha256_of(context.folder / name) for name in (ADAPTER, PREDICTIONS)}
        losses[k] = np.concatenate([e.losses for e in told[k] if isinstance(e, StepLoss)])
        alone: list[Event] = []
        single = execute(spec, context, alone.append)
        assert single.result.bank == 1
        assert single.result.accuracy == pytest.approx(outcome.result.accuracy, abs=1.0)
        own = np.concatenate([e.losses for e in alone if isinstance(e, StepLoss)])
        np.testing.assert_allclose(own, losses[k], rtol=0.02, atol=0.02)
        np.testing.assert_allclose(own[:20], losses[k][:20], rtol=1e-4, atol=1e-5)


def test_a_base_is_evaluated_once_for_all_runs_on_one_target(
    contexts: Callable[[int], list[RunContext]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (context,) = contexts(1)
    assert context.base
    known = replace(context, base_sha256=sha256_of(context.base))
    evaluated = []

    def evaluate(*args: Any) -> Any:
        evaluated.append(args[1].spec)
        return evaluate_both(*args)

    monkeypatch.setattr(job, "evaluate_both", evaluate)
    other = LORA.but(task=TURNED.but(rotation=0.0))
    full, lora, elsewhere = (
        execute(spec, known, lambda event: None).result for spec in (LORA.but(method="full"), LORA, other)
    )
    assert evaluated == [TURNED, other.task]
    assert full.accuracy_before == lora.accuracy_before != elsewhere.accuracy_before
    assert full.source_accuracy_before == lora.source_accuracy_before == elsewhere.accuracy_before
    unknown = execute(LORA, context, lambda event: None).result  # a file without a hash may change
    assert len(evaluated) == 3
    assert unknown.accuracy_before == lora.accuracy_before


def test_one_stops_and_one_diverges_while_the_third_finishes(contexts: Callable[[int], list[RunContext]]) -> None:
    specs = mixed()
    specs[1] = specs[1].but(method=LoRASpec.of(alpha=4096, scaling="alpha"), optim=short(epochs=2, rate=1.0))
    where = contexts(3)
    base = read_network(where[0].base or Path())
    order: list[int] = []

    class Stopper(BankCallbacks):
        def should_stop(self, member: int) -> bool:
            return member == 0

        def on_end(self, member: int, outcome: Outcome | Exception) -> None:
            order.append(member)

    outcomes = execute_bank(specs, where, Stopper())
    assert isinstance(outcomes[0], Outcome)
    assert outcomes[0].stopped
    assert isinstance(outcomes[2], Outcome)
    assert not outcomes[2].stopped
    assert order[0] == 0
    assert sorted(order) == [0, 1, 2]
    if isinstance(outcomes[1], Exception):
        assert isinstance(outcomes[1], DivergedError)
    for k in (0, 2):
        network = apply_adapter(base, read_adapter(where[k].folder / ADAPTER))
        with torch.no_grad():
            assert torch.isfinite(network(torch.rand(4, 784))).all()


def test_a_run_whose_folder_is_gone_fails_alone(contexts: Callable[[int], list[RunContext]], tmp_path: Path) -> None:
    where = contexts(2)
    (tmp_path / "file").write_text("where a folder should be")
    where[0] = replace(where[0], folder=tmp_path / "file")
    first, second = execute_bank(mixed()[:2], where, BankCallbacks())
    assert isinstance(first, OSError)
    assert isinstance(second, Outcome)


@pytest.mark.parametrize(
    "other",
    [
        LORA.but(task=DIGITS),
        LORA.but(base="r-other"),
        LORA.but(optim=short(epochs=3)),
        LORA.but(optim=short(epochs=2, batch_size=128)),
        LORA.but(method="full"),
        LORA.but(network=PerceptronSpec.of(num_hidden_1=64)),
        LORA.but(source=TaskSpec.of(dataset="digits", rotation=5.0)),
        LORA.but(device="cpu"),
    ],
)
def test_runs_that_differ_in_what_a_bank_shares_are_told_apart(
    contexts: Callable[[int], list[RunContext]], other: RunSpec
) -> None:
    assert bank_key(other) != bank_key(LORA)
    assert bank_key(LORA.but(seed=3, optim=short(epochs=2, rate=0.1, patience=1, keep="best"))) == bank_key(LORA)
    with pytest.raises(SpecError, match="train the others separately"):
        execute_bank([LORA, other], contexts(2), BankCallbacks())
