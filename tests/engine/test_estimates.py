"""Forecasts: what was measured comes first, nothing is calibrated beside training, and what was forecast is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from core.errors import QueueFullError
from core.forecast import calibration
from core.forecast.calibration import Calibration, Calibrator, busy, calibrate
from core.forecast.estimates import Estimates
from core.forecast.forecast import Forecast
from core.forecast.memory import memory_of
from core.forecast.pace import Record, Work, pace_of
from core.forecast.packing import packed
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.perceptron import PerceptronSpec
from core.plan.experiment import arm_specs, every
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Run
from core.training.sharing import FULL_BANK, turn_of
from tests.conftest import BOTH, DIGITS, TURNED, braked, finish, short, wait_until
from tests.launching import fine_tune
from tests.training.tiny_texts import spec_of

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001, epochs=2))
WORK = Work(PerceptronSpec(), FullSpec(), 64, "cpu", 1)


class Counted:
    """A measurement that is as long or as unsteady as a test wants it."""

    def __init__(self, steady: bool = True) -> None:
        self.calls: list[Work] = []
        self.given_up = 0
        self.steady = steady
        self.go = threading.Event()
        self.go.set()

    def __call__(self, work: Work, must_stop: Callable[[], bool]) -> Calibration | None:
        self.calls.append(work)
        while not self.go.wait(0.01):
            if must_stop():
                self.given_up += 1
                return None
        return Calibration(step=7.0, image=0.0, steady=self.steady)


@pytest.fixture
def base(lab: Lab) -> Run:
    return finish(lab, lab.launcher.launch(PRETRAIN).id)[0]


def estimates(lab: Lab, measure: Counted) -> Estimates:
    """Estimates of a lab whose calibrations are counted."""
    calibrator = Calibrator(lambda: bool(lab.live()), measure)
    return Estimates(lab.settings, lab.store, lab.tasks, calibrator)


def test_what_was_trained_counts_before_any_calibration(lab: Lab, base: Run) -> None:
    counted = Counted()
    with closing(estimates(lab, counted)) as found:
        (like,) = found.each([PRETRAIN.but(seed=5)])
        assert like.basis == "measured"
        assert like.seconds == pytest.approx(base.result.seconds)
        (longer,) = found.each([PRETRAIN.but(optim=short(rate=0.001, epochs=6))])
        assert longer.seconds == pytest.approx(3 * base.result.seconds)
        other = PRETRAIN.but(optim=short(batch_size=256))
        assert found.each([other], ask=False)[0].basis == "unknown"
        assert found.each([other])[0].basis == "unknown"
        wait_until(lambda: found.each([other])[0].basis == "calibrated")
        examples = len(lab.tasks.outline(DIGITS).train)
        assert round(examples / 6) in {work.batch for work in counted.calls}  # six steps, the last of which is small


def test_nothing_is_calibrated_while_a_run_trains(lab: Lab) -> None:
    counted = Counted()
    with closing(estimates(lab, counted)) as found:
        with braked():
            run = lab.launcher.launch(PRETRAIN.but(optim=short(epochs=200)))
            wait_until(lambda: lab.store.run(run.id).step > 0)
            for _ in range(20):
                assert found.whole([PRETRAIN]).basis == "unknown"
                step = lab.store.run(run.id).step
                wait_until(lambda: lab.store.run(run.id).step > step or not lab.store.run(run.id).is_live)  # noqa: B023
            assert lab.store.run(run.id).is_live
            assert counted.calls == []
            lab.stop(run.id)
            finish(lab, run.id)
        other = PRETRAIN.but(network=PerceptronSpec.of(num_hidden_1=40))
        wait_until(lambda: found.whole([other]).basis == "calibrated")


def test_a_calibration_is_given_up_when_something_begins_to_train() -> None:
    busy, counted = threading.Event(), Counted()
    counted.go.clear()
    with closing(Calibrator(busy.is_set, counted)) as calibrator:
        assert calibrator.find(WORK) is None
        wait_until(lambda: bool(counted.calls))
        busy.set()
        wait_until(lambda: counted.given_up == 1)
        assert calibrator.find(WORK) is None
        assert len(counted.calls) == 1
        busy.clear()
        counted.go.set()
        wait_until(lambda: calibrator.find(WORK) is not None)
        assert len(counted.calls) == 2


def test_pages_that_ask_at_once_calibrate_once() -> None:
    counted = Counted()
    with closing(Calibrator(lambda: False, counted)) as calibrator:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: [calibrator.find(WORK) for _ in range(100)], range(8)))
        wait_until(lambda: calibrator.find(WORK) is not None)
        assert calibrator.find(WORK) == Calibration(7.0, 0.0, True)
        assert counted.calls == [WORK]


def test_what_a_busy_machine_gave_is_not_kept_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(steady=False)
    with closing(Calibrator(lambda: False, counted)) as calibrator:
        calibrator.find(WORK)
        wait_until(lambda: calibrator.find(WORK) is not None)
        assert counted.calls == [WORK]
        monkeypatch.setattr(calibration, "UNSTEADY_SECONDS", 0.0)
        calibrator.find(WORK)
        wait_until(lambda: len(counted.calls) > 1)
        counted.steady = True
        wait_until(lambda: bool((known := calibrator.find(WORK)) and known.steady))


def test_a_form_that_has_changed_is_not_calibrated_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, counted = threading.Event(), Counted()
    busy.set()
    monkeypatch.setattr(calibration, "WANTED_SECONDS", 0.05)
    with closing(Calibrator(busy.is_set, counted)) as calibrator:
        calibrator.find(WORK)
        wait_until(lambda: not calibrator._wanted)
        newer = replace(WORK, batch=32)
        busy.clear()
        wait_until(lambda: calibrator.find(newer) is not None)
        assert counted.calls == [newer]


ON_LAST = RunSpec.of(method=LoRASpec.of(rank=6, target_modules=("layers.4",)), base="b", source=TURNED, task=TURNED)
"""On a layer whose highest rank is below the mean with that of another run."""


@pytest.mark.parametrize(
    "work",
    [
        WORK,
        replace(WORK, members=8),
        replace(WORK, method=LoRASpec.of(rank=1), members=6, rank=3.0),
        replace(WORK, method=HeadSpec()),
        Work.of([ON_LAST, ON_LAST.but(method=LoRASpec.of(rank=26, target_modules=("layers.0",)))], 100.0, "cpu", 1),
    ],
)
def test_every_kind_of_work_can_be_calibrated(work: Work) -> None:
    found = calibrate(replace(work, threads=1))
    assert found.step > 0
    assert found.image > 0
    assert calibrate(work, lambda: True) is None


@pytest.mark.parametrize(
    ("batches", "cores", "share"), [(1, 1, 1.0), (1, 4, 0.25), (3, 2, 0.75), (4, 2, 1.0), (9, 8, 9 / 16)]
)
def test_an_evaluation_of_few_batches_leaves_cores_idle(batches: int, cores: int, share: float) -> None:
    assert busy(batches, cores) == share


@pytest.mark.parametrize(("method", "frozen"), [(FullSpec(), False), (HeadSpec(), True)])
def test_the_pass_through_frozen_blocks_is_calibrated(method: MethodSpec, frozen: bool) -> None:
    found = calibrate(Work(spec_of("bert"), method, 4, "cpu", 1, threads=1, length=8))
    assert (found.frozen > 0) is frozen


def test_the_pass_through_frozen_blocks_is_part_of_a_forecast(lab: Lab) -> None:
    specs = [PRETRAIN.but(seed=seed) for seed in range(2)]
    totals = []
    for seconds in (0.0, 1.0):
        calibrator = Calibrator(lambda: False, lambda *_, each=seconds: Calibration(1e-9, 0.0, True, each))
        found = Estimates(lab.settings, lab.store, lab.tasks, calibrator)
        totals.append(found.wait(specs, 5.0).seconds or 0.0)
        found.close()
    parts = lab.tasks.outline(DIGITS)
    texts = len(parts.train) + len(parts.validation) + len(specs) * len(parts.test)
    assert totals[1] - totals[0] == pytest.approx(texts)


def test_the_banks_of_a_forecast_are_those_that_are_trained(lab: Lab, base: Run) -> None:
    arms = [*BOTH, *((short(rate=rate), LoRASpec.of(rank=2)) for rate in (0.01, 0.02)), (short(), "head")]
    specs = arm_specs(base.id, base.spec, every(arms, range(3), TURNED), "auto")
    experiment = fine_tune(lab, base, TURNED, arms, range(3), "x")
    runs = finish(lab, *experiment.runs)
    sizes = {number: len(bank) for bank in packed(specs, lab.tasks, lab.settings) for number in bank}
    assert [run.result and run.result.bank for run in runs] == [sizes[number] for number in range(len(specs))]


def test_seeds_with_bases_of_their_own_are_trained_together(lab: Lab) -> None:
    starts = dict.fromkeys(range(40), "r-unknown-yet")
    for base in (starts, "r-1"):
        specs = arm_specs(base, PRETRAIN, every(BOTH, range(40), TURNED), "auto")
        sizes = sorted(len(bank) for bank in packed(specs, lab.tasks, lab.settings))
        assert sizes == [FULL_BANK] * 5 + [20, 20]  # two turns, although one bank could train 32


def test_the_memory_of_a_forecast_is_the_plan_of_its_largest_bank(lab: Lab) -> None:
    specs = arm_specs("r-1", PRETRAIN, every(BOTH, range(4), TURNED), "auto")
    turns = [[spec for spec in specs if spec.kind == method][: turn_of(4)] for method in ("full", "lora")]
    plans = [memory_of(turn, lab.tasks) for turn in turns]
    assert lab.estimates.whole(specs).memory == max(plans)
    alone = [forecast.memory for forecast in lab.estimates.each(specs[:2])]
    assert alone == [memory_of([spec], lab.tasks) for spec in specs[:2]]


def test_a_run_keeps_the_forecast_that_it_was_launched_with(lab: Lab, base: Run) -> None:
    (forecast,) = lab.estimates.each([PRETRAIN.but(seed=3)])
    run = finish(lab, lab.launcher.launch(PRETRAIN.but(seed=3)).id)[0]
    kept = lab.estimates.at_launch([run.id, base.id])
    assert kept[run.id].basis == "measured"
    assert kept[run.id].seconds == pytest.approx(forecast.seconds, rel=0.01)
    assert kept[base.id] == Forecast(None, None, kept[base.id].memory, "unknown")  # it was the first of all
    assert run.result.peak_memory is not None


def test_what_is_not_queued_leaves_no_forecast(settings: Settings) -> None:
    with closing(Lab(replace(settings, max_waiting=1))) as lab:  # not started
        lab.launcher.launch(PRETRAIN)
        with pytest.raises(QueueFullError):
            lab.launcher.launch(PRETRAIN)
        assert lab.store.rows("SELECT count(*) AS n FROM log")[0]["n"] == 1


def test_what_is_left_is_corrected_by_what_has_finished(lab: Lab, base: Run) -> None:
    with closing(estimates(lab, Counted())) as found:
        arms = [BOTH[1], (short(batch_size=32), LoRASpec.of())]
        experiment = fine_tune(lab, base, TURNED, arms, [0], "x")
        first, second = finish(lab, *experiment.runs)
        wait_until(lambda: found.whole([second.spec.but(optim=short(batch_size=16))]).basis == "calibrated")
        waiting = replace(second, spec=second.spec.but(optim=short(batch_size=16)), state="queued", step=0)
        plain = found.remaining([replace(waiting, experiment=None)])
        with lab.store.transaction() as db:
            line = Forecast.around(first.result.seconds / 3, 0, "rough").to_line()
            db.execute("DELETE FROM log")
            db.execute("INSERT INTO log VALUES (?, 0, ?)", (first.id, line))
        corrected = found.remaining([waiting])
        assert plain.seconds
        assert corrected.seconds == pytest.approx(3 * plain.seconds, rel=0.02)
        both = found.remaining([waiting], {experiment.id: [waiting.spec]})
        assert both.seconds == pytest.approx(2 * corrected.seconds), "what follows is corrected alike"
        assert found.remaining([first, second]) == Forecast(0, 0, 0, "measured")


def test_a_run_in_training_is_left_at_its_own_pace(lab: Lab, base: Run) -> None:
    running = replace(base, state="running", step=50, steps=150, training_seconds=10.0)
    assert lab.estimates.remaining([running]).seconds == pytest.approx(20.0)


def record(work: Work, per_step: float, steps: int = 1000) -> Record:
    return Record(work, PRETRAIN, steps, per_step, None)


def test_a_pace_is_the_median_of_the_newest_banks_of_the_same_work() -> None:
    records = [record(WORK, pace) for pace in (1.0, 1.2, 1.1, 9.0, 1.3, 50.0, 50.0)]
    pace = pace_of(records, WORK, 1000)
    assert (pace.step, pace.exact, pace.spread) == (1.2, True, 9.0)
    for other in ({"batch": 32}, {"method": HeadSpec()}, {"device": "cuda (X)"}):
        assert pace_of(records, replace(WORK, **other), 1000) is None
    assert pace_of(records, WORK, 200_000) is None
    assert not pace_of(records, WORK, 20_000).exact


def test_banks_of_other_sizes_count_by_their_shards_and_a_run_alone_by_none_but_of_texts() -> None:
    two = replace(WORK, threads=2)
    records = [record(replace(two, members=8), 1.0)]
    near = pace_of(records, replace(two, members=7), 1000)  # four shards on one of two cores, as for eight
    assert (near.exact, near.step) == (False, pytest.approx(8 / 7))
    assert pace_of(records, two, 1000) is None
    lora = replace(two, method=LoRASpec.of(rank=1), members=24, rank=7.0)
    records = [record(lora, 1.0)]
    assert pace_of(records, replace(lora, rank=30.0), 1000) is None
    assert pace_of(records, replace(lora, rank=8.0), 1000) is not None
    texts = replace(two, network=spec_of("bert"), members=2)
    alone = pace_of([record(texts, 1.0)], replace(texts, members=1), 1000)
    assert (alone.exact, alone.step) == (False, 1.0), "the last of seven seeds trains alone, as the others did in pairs"
