"""Networks of settings that were not chosen go where somebody asked for it, and nothing else does."""

from __future__ import annotations

import pytest

from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.engine.writes import Trim
from core.errors import UnknownRunError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.study.arms.choice import chosen_arms
from tests.conftest import DIGITS, TURNED, finish, short, wait_until


@pytest.mark.parametrize("trim", [True, False])
def test_only_the_networks_of_settings_that_were_not_chosen_go(lab: Lab, trim: bool) -> None:
    base = lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short()))
    rates = (0.01, 1e-6)
    arms = [(short().but(learning_rate=rate), FullSpec()) for rate in rates] + [(short(), LoRASpec.of())]
    experiment = lab.fine_tune(base, TURNED, arms, [0, 1], trim=trim)
    assert lab.experiment(experiment.id) == experiment
    finish(lab, base.id, *experiment.runs)

    def kept() -> set[str]:
        files = {run.id: (lab.settings.runs / run.id) for run in lab.members(experiment)}
        return {id for id, folder in files.items() if (folder / NETWORK).exists() or (folder / ADAPTER).exists()}

    members = lab.members(experiment)
    chosen = {arm.key for arm in chosen_arms(members)}
    wanted = {run.id for run in members if not trim or run.spec.arm in chosen}
    assert len(wanted) == (4 if trim else 6)
    wait_until(lambda: kept() == wanted)
    for run in lab.members(experiment):
        assert run.result is not None  # every number stays
        if run.id not in wanted:
            with pytest.raises(UnknownRunError, match="was not kept, since validation chose another setting"):
                lab.artifacts.path(run.id, NETWORK)
            assert any("was not kept" in text for _, text in lab.log(run.id))
    assert lab.artifacts.path(base.id, NETWORK).exists()


def test_what_cannot_be_deleted_ends_no_worker(lab: Lab) -> None:
    """A worker calls this for every bank; an experiment may have been deleted, and a file may be in the way."""
    lab.workers.writes.put(Trim("e-deleted"))
    base = lab.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short()))
    arms = [(short().but(learning_rate=rate), FullSpec()) for rate in (0.01, 1e-6)]
    experiment = lab.fine_tune(base, TURNED, arms, [0])
    finish(lab, base.id, *experiment.runs)
    members = lab.members(experiment)
    chosen = {arm.key for arm in chosen_arms(members)}
    (other,) = (run for run in members if run.spec.arm not in chosen)
    path = lab.settings.runs / other.id / NETWORK
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    with lab.store.transaction() as db:
        db.execute("UPDATE experiments SET trim = 1 WHERE id = ?", (experiment.id,))
    lab.workers.writes.put(Trim(experiment.id))
    assert path.is_dir()
    (after,) = finish(lab, lab.launch(RunSpec.of(method="pretrain", task=TURNED, optim=short())).id)
    assert after.result is not None
