"""Steps are timed in rounds, never beside training."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from core.data.sources.catalog import Catalog
from core.errors import LoRAError, RunStateError
from core.forecast import step_time
from core.forecast.forecast import plan
from core.forecast.step_time import FULL, StepTimeSpec, Subject, network, rounds, time_steps
from core.lab import Lab
from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.stepper import Stepper
from tests.conftest import DIGITS, HANG, finish, short, wait_until
from tests.engine.child import lab_process

SPEC = StepTimeSpec(PerceptronSpec.of(), DIGITS, (LoRASpec.of(rank=1), LoRASpec.of(rank=4)), 64, 4)
SUBJECTS = {(way, lora) for way in ("plain", "alone", "bank") for lora in (FULL, *SPEC.adapters)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "SECONDS", 0.0)
    monkeypatch.setattr(step_time, "ROUNDS", 3)
    monkeypatch.setattr(step_time, "POLL_SECONDS", 0.01)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    return Tasks(Catalog(Settings(tmp_path_factory.mktemp("home"))))


def test_each_round_times_every_method_in_every_way(tasks: Tasks) -> None:
    source = rounds(SPEC, tasks.get(DIGITS))
    first, second = next(source), next(source)
    assert set(first) == set(second) == SUBJECTS
    assert list(second) == list(first)[::-1]
    assert all(seconds > 0 for seconds in (*first.values(), *second.values()))


def test_a_single_run_is_no_bank(tasks: Tasks) -> None:
    alone = StepTimeSpec(PerceptronSpec.of(), DIGITS, SPEC.adapters, 64)
    assert {way for way, _ in next(rounds(alone, tasks.get(DIGITS)))} == {"plain", "alone"}


@pytest.mark.parametrize("method", [FULL, *SPEC.adapters])
def test_what_is_timed_trains_what_a_run_trains(method: MethodSpec) -> None:
    assert count_parameters(network(SPEC, method), trainable=True) == plan(SPEC.network, method).trainable_parameters


def test_a_result_has_every_round_of_every_row_and_leaves_the_threads_of_torch(tasks: Tasks) -> None:
    before = torch.get_num_threads()
    found = time_steps(SPEC, tasks, 2, lambda: False, never)
    assert {(row.way, row.method) for row in found.rows} == SUBJECTS
    assert {len(row.seconds) for row in found.rows} == {3}
    assert found.threads == 2
    assert found.machine
    assert torch.get_num_threads() == before


def never() -> None:
    pytest.fail("It waits for no training.")


def test_a_round_during_which_training_began_is_thrown_away(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, waited, timed = list[None](), list[None](), list[None]()
    real = step_time.rounds

    def counted(*arguments: Any) -> Generator[dict[Subject, float]]:
        for times in real(*arguments):
            timed.append(None)
            yield times

    monkeypatch.setattr(step_time, "rounds", counted)
    # Asked at the start and after each round; some training began during the first one, and ended after a look.
    found = time_steps(SPEC, tasks, 1, lambda: asked.append(None) or len(asked) in (2, 3), lambda: waited.append(None))
    assert len(timed) == 1 + len(found.rows[0].seconds) == 4
    assert len(waited) == 1


def test_adapters_that_do_not_fit_are_a_sentence(tasks: Tasks) -> None:
    wrong = StepTimeSpec(PerceptronSpec.of(), DIGITS, (LoRASpec.of(target_modules=("nothing",)),), 64)
    with pytest.raises(LoRAError, match="nothing"):
        time_steps(wrong, tasks, 1, lambda: False, never)


def test_banks_that_do_not_fit_in_memory_are_a_sentence(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "stepper_of", short_of_memory)
    with pytest.raises(RunStateError, match="Out of memory"):
        time_steps(SPEC, tasks, 1, lambda: False, never)


def short_of_memory(*_: object, **__: object) -> Stepper:
    raise MemoryError


def test_the_lab_measures_behind_its_queue(lab: Lab) -> None:
    run = lab.launcher.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(3)))
    lab.time_steps(SPEC, lambda: None)
    assert not finish(lab, run.id)[0].is_live


def test_it_waits_for_runs_of_processes_that_are_there_and_not_for_what_others_have_left(idle: Lab) -> None:
    """As after a dashboard was closed with runs in the queue, or was killed while it trained."""
    spec, waited = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=200)), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with lab_process(idle.settings.home, [spec, spec.but(seed=1)], threads=1):
            wait_until(lambda: bool(idle.store.runs(states=["running"])))
            measuring = pool.submit(idle.time_steps, SPEC, waited.set)  # as in `python -m core time`
            assert waited.wait(HANG)
            assert not measuring.done()
        assert idle.live()  # it was killed
        assert measuring.result(HANG).rows
