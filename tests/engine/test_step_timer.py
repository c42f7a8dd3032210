"""Steps are timed in rounds, never beside training, and nothing is kept of a measurement that was cancelled."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from core.data.sources.catalog import Catalog
from core.errors import RunStateError
from core.forecast import step_time, step_timer
from core.forecast.cost import plan
from core.forecast.step_time import FULL, StepTimeSpec, network, rounds
from core.forecast.step_timer import StepTimer
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.parameters import count_parameters
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from tests.conftest import DIGITS, finish, short, wait_until
from tests.engine.child import lab_process

SPEC = StepTimeSpec(PerceptronSpec.of(), DIGITS, (LoRASpec.of(rank=1), LoRASpec.of(rank=4)), 64, 2, 4, 2)
SUBJECTS = {(way, lora) for way in ("plain", "alone", "bank") for lora in (FULL, *SPEC.adapters)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "SECONDS", 0.0)
    monkeypatch.setattr(step_timer, "ROUNDS", 3)
    monkeypatch.setattr(step_timer, "POLL_SECONDS", 0.01)


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


def test_a_result_has_every_round_of_every_row(tasks: Tasks) -> None:
    timer = StepTimer(tasks, 1, lambda: False)
    timer.start(SPEC)
    wait_until(lambda: timer.progress(SPEC).ended)
    found = timer.found(SPEC)
    assert {(row.way, row.method) for row in found.rows} == SUBJECTS
    assert {len(row.seconds) for row in found.rows} == {3}
    assert found.threads == 1
    assert found.machine


def test_it_waits_while_runs_train_and_starts_when_they_have_ended(tasks: Tasks) -> None:
    training = threading.Event()
    training.set()
    timer = StepTimer(tasks, 1, training.is_set)
    timer.start(SPEC)
    assert timer.progress(SPEC).waiting
    training.clear()
    wait_until(lambda: timer.found(SPEC) is not None)


def test_a_round_during_which_training_began_is_thrown_away(tasks: Tasks) -> None:
    asked: list[None] = []
    timer = StepTimer(tasks, 1, lambda: asked.append(None) or len(asked) == 3)
    timer.start(SPEC)
    wait_until(lambda: timer.progress(SPEC).ended)
    # Asked at the start, and before and after each of four rounds, of which the first does not count.
    assert len(asked) == 1 + 2 * 4
    assert {len(row.seconds) for row in timer.found(SPEC).rows} == {3}


def test_nothing_is_kept_of_what_was_cancelled(tasks: Tasks) -> None:
    timer = StepTimer(tasks, 1, lambda: True)
    timer.start(SPEC)
    timer.cancel()
    wait_until(lambda: timer.progress(SPEC).ended)
    assert timer.found(SPEC) is None
    timer.start(SPEC)  # and it can be started again
    timer.close(5)


def test_only_one_thing_is_measured_at_a_time(tasks: Tasks) -> None:
    timer = StepTimer(tasks, 1, lambda: True)
    timer.start(SPEC)
    timer.start(SPEC)
    with pytest.raises(RunStateError, match="wait until it has ended"):
        timer.start(StepTimeSpec(PerceptronSpec.of(), DIGITS, SPEC.adapters, 128))
    timer.close(5)


def test_adapters_that_do_not_fit_are_a_sentence(tasks: Tasks) -> None:
    timer = StepTimer(tasks, 1, lambda: False)
    wrong = StepTimeSpec(PerceptronSpec.of(), DIGITS, (LoRASpec.of(target_modules=("nothing",)),), 64)
    timer.start(wrong)
    wait_until(lambda: timer.progress(wrong).ended)
    assert "nothing" in timer.progress(wrong).error


def test_the_lab_measures_behind_its_queue(lab: Lab) -> None:
    run = lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(3)))
    lab.timer.start(SPEC)
    wait_until(lambda: lab.timer.found(SPEC) is not None)
    assert not finish(lab, run.id)[0].is_live


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), OSError(5, "Input/output error")])
def test_whatever_goes_wrong_is_told_and_ends_it(tasks: Tasks, error: Exception) -> None:
    answers = iter([False, error])

    def is_training() -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    timer = StepTimer(tasks, 1, is_training)
    timer.start(SPEC)
    wait_until(lambda: timer.progress(SPEC).ended, 10)
    assert timer.progress(SPEC).error == f"The measurement failed ({type(error).__name__}: {error})."


def test_it_waits_for_runs_of_processes_that_are_there_and_not_for_what_others_have_left(idle: Lab) -> None:
    """As after a dashboard was closed with runs in the queue, or was killed while it trained."""
    spec = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=200))
    with lab_process(idle.settings.home, [spec, spec.but(seed=1)], threads=1):
        wait_until(lambda: bool(idle.runs(states=["running"])))
        idle.timer.start(SPEC)  # as in `python -m core time`
        assert idle.timer.progress(SPEC).waiting
    assert idle.live()  # it was killed
    wait_until(lambda: idle.timer.found(SPEC) is not None)
