"""A home folder of version 1 opens with every run, experiment, adapter, tag, note and dataset unchanged."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.adapter import verify_adapter
from core.artifacts.artifacts import MERGED
from core.engine.jobs.predictions import PREDICTIONS
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.files import sha256_of
from core.lab import Lab
from core.networks.file import read_network
from core.settings import Settings
from core.study.weights.predicted import predictions, true_targets
from core.training.sharing import bank_key
from tests.conftest import Opener, copied, finish, wait_until
from tests.store.harm import lose

OLD = Path(__file__).parents[1] / "old_home"
EXPECTED: dict[str, Any] = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(Path(shutil.copytree(OLD / "home", tmp_path / "home")), threads=1)


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The same, for tests that train and write nothing."""
    home = Path(shutil.copytree(OLD / "home", tmp_path_factory.mktemp("old") / "home"))
    lab = Lab(Settings(home, threads=1))
    lab.start()
    yield lab
    lab.close()


def said(lab: Lab) -> dict[str, Any]:
    """Every run and experiment as this version reads it, in the format of ``expected.json``."""
    runs = {}
    for entry in lab.search.entries([run.id for run in lab.store.runs()]):
        run, curve = entry.run, lab.store.curve(entry.run.id)
        runs[run.id] = {
            "spec": json.loads(run.spec.to_json()),
            "label": run.spec.label,
            "state": run.state,
            "experiment": run.experiment,
            "step": run.step,
            "cause": run.cause,
            "result": run.result.to_dict() if run.result else None,
            "files": lab.store.files(run.id),
            "states": [state for _, state in lab.store.transitions(run.id)],
            "log": [text for _, text in lab.store.log(run.id)],
            "losses": hashlib.sha256(curve.loss.tobytes() + curve.seconds.tobytes()).hexdigest(),
            "steps": len(curve.step),
            "epochs": len(curve.epochs),
            "note": entry.note,
            "tags": list(entry.tags),
            "archived": entry.run.archived,
        }
    experiments = {
        experiment.id: {"name": experiment.name, "base": experiment.base, "runs": list(experiment.runs)}
        for experiment in lab.store.experiments()
    }
    return {"runs": runs, "experiments": experiments}


PLAIN_ADAM = {
    "accumulation": 1,
    "clip": 0.0,
    "decay": "constant",
    "precision": "float32",
    "warmup": 0.0,
    "weight_decay": 0.0,
}
"""The settings of training that are newer than version 1, as all its runs had them."""


def expected() -> dict[str, Any]:
    """Every run and experiment as version 1 read it, specs as in version 2."""
    runs = {id: run | {"spec": upgraded(json.loads(run["spec"]))} for id, run in EXPECTED["runs"].items()}
    for run in runs.values():
        unknown = {"peak_memory": None}  # was not measured
        run["result"] = run["result"] and run["result"] | unknown
        del run["arm"]  # the key is another one, see below
    experiments = {
        id: {key: known[key] for key in ("name", "base", "runs")} for id, known in EXPECTED["experiments"].items()
    }
    return {"runs": runs, "experiments": experiments}


def upgraded(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec of version 1 in JSON as one of version 2."""
    method, control, lora = spec.pop("method"), spec.pop("control", None), spec.pop("lora")
    network = spec.pop("model") | {"kind": "perceptron"}
    own = {"kind": control or method} | (lora or {})
    parts = {"optim": spec["optim"] | PLAIN_ADAM}
    parts |= {name: spec[name] and spec[name] | {"length": 128} for name in ("task", "source")}  # of texts only
    return {"own_base": False} | spec | parts | {"schema": 2, "method": own, "network": network}


def test_runs_are_arms_as_they_were(read_only: Lab) -> None:
    now, then = {}, {}
    for run in read_only.store.runs():
        now.setdefault(run.spec.arm, set()).add(run.id)
        then.setdefault(EXPECTED["runs"][run.id]["arm"], set()).add(run.id)
    assert len(now) > 10
    assert sorted(map(sorted, now.values())) == sorted(map(sorted, then.values()))


def test_a_run_and_its_repeat_are_one_arm(lab: Lab) -> None:
    old = list(lab.store.runs(states=["finished"]))
    kinds = {run.spec.kind for run in old}
    assert {"pretrain", "full", "lora"} < kinds
    picked = [next(run for run in old if run.spec.kind == kind) for kind in sorted(kinds)]
    again = finish(lab, *lab.launcher.repeat(*(run.id for run in picked)))
    assert [run.state for run in again] == ["finished"] * len(picked)
    assert [run.spec.arm for run in again] == [run.spec.arm for run in picked]


def test_what_waited_has_the_bank_key_of_a_new_run(read_only: Lab) -> None:
    (left,) = read_only.store.runs(states=["interrupted"])
    ((found,),) = read_only.store.rows("SELECT bank_key FROM runs WHERE id = ?", left.id)
    assert found == bank_key(left.spec)


def test_everything_is_as_version_1_left_it(read_only: Lab) -> None:
    assert said(read_only) == expected()
    assert list(read_only.catalog.load("stripes").class_names) == EXPECTED["dataset"]
    assert read_only.unlisted() == []


def test_every_file_reads_back_and_every_adapter_holds(read_only: Lab) -> None:
    for run in (run for run in read_only.store.runs() if run.result):
        if run.spec.role == "adapter":
            verify_adapter(read_only.artifacts.path(run.id, ADAPTER), read_only.artifacts.base(run))
            read_network(read_only.artifacts.path(run.id, MERGED))
        else:
            read_network(read_only.artifacts.path(run.id, NETWORK))


def test_predictions_of_its_runs_are_computed_once_and_kept(lab: Lab) -> None:
    runs = [run for run in lab.store.runs() if run.result]
    assert len(runs) > 20
    assert not any(PREDICTIONS in lab.store.files(run.id) for run in runs)
    made = {run.id: predictions(lab, run).predicted for run in runs}
    for run in runs:
        assert run.result is not None
        labels = made[run.id]
        assert labels.dtype == np.uint8
        # To one image, since another machine trained them.
        accuracy = 100 * np.mean(labels == true_targets(lab, run.spec))
        assert accuracy == pytest.approx(run.score, abs=100 / len(labels) + 1e-9)
        path = lab.settings.runs / run.id / PREDICTIONS
        assert lab.store.files(run.id)[PREDICTIONS] == sha256_of(path)
        for name in (ADAPTER, NETWORK):
            path.with_name(name).unlink(missing_ok=True)
    for run in runs:
        np.testing.assert_array_equal(predictions(lab, run).predicted, made[run.id])


def test_the_interrupted_run_goes_on_from_its_checkpoint(lab: Lab) -> None:
    (left,) = lab.store.runs(states=["interrupted"])
    lab.launcher.finish([left.id])
    wait_until(lambda: lab.store.run(left.id).step > left.step)
    assert lab.store.run(left.id).resumed_step == left.step
    lab.stop(left.id)
    assert finish(lab, left.id)[0].state == "stopped"


@pytest.mark.minutes  # test_finish.py has one that was trained today
def test_what_was_stopped_or_failed_is_trained_from_its_first_step_since_no_checkpoint_is_left(lab: Lab) -> None:
    (failed,), (one, other) = lab.store.runs(states=["failed"]), lab.store.runs(states=["stopped"])
    base = str(failed.spec.base)  # was stopped before it had learned anything, and so the other failed
    rest = lab.launcher.rest([failed.id, next(run.id for run in (one, other) if run.id != base)])
    assert [run.id for run in rest.bases] == [base]
    assert {run.step for run in rest.everything} == {0}
    ids = [run.id for run in rest.everything]
    assert sorted(ids) == sorted(run.id for run in (failed, one, other))
    assert lab.launcher.finish(ids) == 3
    for run in finish(lab, *ids):
        assert (run.state, run.step, run.resumed_step) == ("finished", run.steps, 0)
        assert lab.store.curve(run.id).step.tolist() == list(range(1, run.steps + 1))


def test_its_runs_get_copies_and_a_store_that_is_lost_is_made_anew(lab: Lab, opened: Opener) -> None:
    ids = [run.id for run in lab.store.runs()]
    wait_until(lambda: all(copied(lab, id) for id in ids))
    lab.close()
    lose(lab.settings)
    again = opened()
    assert again.runs() == []
    assert sorted(again.unlisted()) == sorted(ids)
    assert again.restore().runs == tuple(sorted(ids))
    assert said(again) == expected()
