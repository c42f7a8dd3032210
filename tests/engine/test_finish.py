"""What was stopped is finished: from its checkpoint, with its base first, and with nothing lost on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.engine.jobs.run_files import NETWORK
from core.errors import DivergedError, LabError, StorageFullError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import Configuration, preset_configuration
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Experiment
from tests.conftest import BOTH, DIGITS, TURNED, braked, finish, short, wait_until
from tests.launching import compare, fine_tune

LONG = short(epochs=200, rate=0.001, batch_size=16)
PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=LONG)
SHORTER = short(epochs=5, rate=0.001, batch_size=16)
"""Of runs that are braked until they are stopped, and then trained to their ends."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Banks of one run, so that runs train one after another."""
    return replace(settings, threads=1, bank_bytes=1)


def stopped(lab: Lab, spec: RunSpec = PRETRAIN) -> str:
    """A run that was stopped after it had learned something."""
    with braked():
        id = lab.launcher.launch(spec).id
        wait_until(lambda: lab.store.run(id).step > 20)
        lab.stop(id)
        assert finish(lab, id)[0].state == "stopped"
    return id


def stopped_early(lab: Lab, asked: Configuration) -> Experiment:
    """An experiment whose base and runs were stopped before the base had ended."""
    with braked():
        experiment = compare(lab, asked)
        wait_until(lambda: lab.store.run(experiment.base).step > 20)
        lab.stop(experiment.base, *experiment.runs)
        assert {run.state for run in finish(lab, experiment.base, *experiment.runs)} == {"stopped"}
    return experiment


def test_a_base_that_was_stopped_before_anything_began_on_it_is_trained_to_its_end_first(lab: Lab) -> None:
    arms = [(short(rate=0.001), method) for method in (FullSpec(), LoRASpec.of())]
    asked = preset_configuration(lab.catalog, "rotation-45", "digits", None, SHORTER, arms, range(2))
    experiment = stopped_early(lab, asked)
    rest = lab.launcher.rest(experiment.runs)
    assert [[run.id for run in part] for part in (rest.bases, rest.runs)] == [[experiment.base], [*experiment.runs]]
    assert lab.launcher.finish(experiment.runs) == 5
    # Nothing begins on what the base had learned when it was stopped, although that is still there.
    ended = finish(lab, experiment.base, *experiment.runs)
    assert {run.state for run in ended} == {"finished"}
    base, *members = ended
    assert base.step == base.steps
    assert all((run.started or 0) > (base.ended or 0) for run in members)
    assert not lab.launcher.rest(experiment.runs)


def test_a_base_on_which_others_were_trained_stays_as_it_is_and_a_new_one_is_trained(lab: Lab) -> None:
    base = stopped(lab)
    content = lab.artifacts.read(base, NETWORK)
    experiment = fine_tune(lab, lab.store.run(base), TURNED, BOTH, [0], "on what was stopped")
    finish(lab, *experiment.runs)
    rest = lab.launcher.rest([base])
    assert ([run.id for run in rest.anew], rest.runs, rest.bases) == ([base], (), ())
    assert lab.launcher.finish([base]) == 1
    (new,) = [run for run in lab.live() if run.spec == PRETRAIN]
    lab.stop(new.id)
    finish(lab, new.id)
    assert new.id != base
    assert lab.store.run(base).state == "stopped"
    assert lab.artifacts.read(base, NETWORK) == content


def test_a_stop_before_it_has_begun_again_keeps_what_it_had(lab: Lab) -> None:
    id = stopped(lab)
    before, content = lab.store.run(id), lab.artifacts.read(id, NETWORK)
    busy = lab.launcher.launch(PRETRAIN.but(seed=7)).id
    wait_until(lambda: lab.store.run(busy).step > 0)
    for has_checkpoint in (True, False):
        lab.launcher.finish([id])
        waiting = lab.store.run(id)
        assert (waiting.state, waiting.result) == ("queued", None)
        lab.stop(id)
        after = lab.store.run(id)
        assert (after.state, after.result, after.step) == ("stopped", before.result, before.step)
        assert lab.artifacts.read(id, NETWORK) == content
        assert lab.store.drop_checkpoint(id, "For the second turn.") is has_checkpoint
    lab.stop(busy)


def test_without_a_checkpoint_it_is_trained_from_its_first_step(lab: Lab) -> None:
    spec = PRETRAIN.but(optim=SHORTER)
    id = stopped(lab, spec)
    lab.store.drop_checkpoint(id, "As in homes of earlier versions.")
    assert lab.launcher.rest([id]).runs[0].step == 0
    lab.launcher.finish([id])
    run = finish(lab, id)[0]
    assert (run.state, run.resumed_step, run.step) == ("finished", 0, run.steps)
    assert lab.store.curve(id).step.tolist() == list(range(1, run.steps + 1))


def test_what_would_end_as_it_did_is_not_offered(lab: Lab) -> None:
    base = stopped(lab)
    good, bad = fine_tune(lab, lab.store.run(base), TURNED, BOTH, [0], "x").runs
    finish(lab, good, bad)
    causes = {str(DivergedError(3)): (), "The disk was full.": (bad,)}
    for cause, left in causes.items():
        with lab.store.transaction() as db:
            db.execute("UPDATE runs SET state = 'failed', result = NULL, cause = ? WHERE id = ?", (cause, bad))
        assert tuple(run.id for run in lab.launcher.rest([good, bad, "r-0"]).runs) == left


def test_checkpoints_of_stopped_runs_make_room_if_that_is_enough(lab: Lab, settings: Settings) -> None:
    first, second, third = (stopped(lab, PRETRAIN.but(seed=seed)) for seed in range(3))
    lab.notes.archive([third])
    lab.close()

    def kept() -> list[bool]:
        files = [any((settings.runs / id).glob("checkpoint-*")) for id in (first, second, third)]
        assert files == [lab.store.checkpoint(id) is not None for id in (first, second, third)]
        return files

    used, size = lab.usage.measure().total, 2 * 10**5
    with_limit = Lab(replace(settings, max_stored_bytes=used))
    with pytest.raises(StorageFullError, match="delete runs"):
        with_limit.usage.check_bytes(used)
    assert kept() == [True, True, True]
    with_limit.usage.check_bytes(size)
    assert kept() == [True, True, False]
    with_limit.usage.check_bytes(10**7 // 5)
    assert kept()[0] is False
    assert "room" in with_limit.store.log(first)[-1][1]
    assert with_limit.launcher.rest([first]).runs[0].step == 0
    with_limit.close()


def test_a_part_of_a_run_is_forecast_as_a_part_of_its_time(lab: Lab) -> None:
    id = finish(lab, lab.launcher.launch(PRETRAIN.but(optim=short(epochs=20, rate=0.001))).id)[0].id
    run = lab.store.run(id)
    whole, half = lab.estimates.rest([replace(run, step=0)]), lab.estimates.rest([replace(run, step=run.steps // 2)])
    assert whole == lab.estimates.whole([run.spec])
    assert whole.seconds
    assert half.seconds == pytest.approx(whole.seconds / 2, rel=0.05)
    queued = replace(run, state="queued", step=run.steps // 2, experiment=None)
    assert lab.estimates.remaining([queued]) == half


def test_the_same_question_after_a_stop_finds_what_is_there(lab: Lab) -> None:
    asked = preset_configuration(lab.catalog, "rotation-45", "digits", None, SHORTER, BOTH, range(2))
    experiment = stopped_early(lab, asked)
    again = lab.launcher.plan(asked)
    assert lab.experiments.find(again) == lab.store.experiment(experiment.id)
    assert [id for id, _ in again.bases] == [experiment.base]
    anew = lab.experiments.start(again)
    assert anew.name == f"{experiment.name} (2)"
    ended = finish(lab, experiment.base, *anew.runs)
    assert {run.state for run in ended} == {"finished"}
    assert lab.experiments.find(again) == anew
    # The name still follows what is added.
    lab.experiments.grow(anew, BOTH, [0, 1, 2])
    assert lab.store.experiment(anew.id).name.endswith("3 seeds")
    lab.stop(*lab.store.experiment(anew.id).runs)


def test_a_dataset_that_is_gone_is_said_before_anything_is_queued(lab: Lab) -> None:
    id = stopped(lab)
    gone = PRETRAIN.but(task=DIGITS.but(dataset="gone")).to_json()
    with lab.store.transaction() as db:
        db.execute("UPDATE runs SET spec = ? WHERE id = ?", (gone, id))
    with pytest.raises(LabError, match="gone"):
        lab.launcher.finish([id])
    assert lab.store.run(id).state == "stopped"
