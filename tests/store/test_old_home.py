"""A home of the oldest version that opens has all it had, and those of earlier versions are refused and left alone."""

from __future__ import annotations

import hashlib
import json
import lzma
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import main
from core.adapter import verify_adapter
from core.artifacts.artifacts import MERGED
from core.engine.jobs.run_files import ADAPTER, NETWORK, PREDICTIONS
from core.files import sha256_of
from core.lab import Lab
from core.networks.file import read_network
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.settings import Settings
from core.store.looks import Look
from core.store.record import Run
from core.study.report.answer import answer_of, is_study, place_of
from core.study.report.judged import judged_evidence
from core.study.weights.predicted import predictions, true_targets
from core.training.sharing import bank_key
from tests.conftest import Opener, finish, sentence_of, wait_until
from tests.same_numbers.homes import TESTS, copy_of
from tests.store.harm import lose

EXPECTED: dict[str, Any] = json.loads(lzma.decompress((TESTS / "old_home" / "expected.json.xz").read_bytes()))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(copy_of("old_home", tmp_path), threads=1)


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The same, for tests that train and write nothing."""
    lab = Lab(Settings(copy_of("old_home", tmp_path_factory.mktemp("old")), threads=1))
    lab.start()
    yield lab
    lab.close()


def said(lab: Lab) -> dict[str, Any]:
    """Every run and experiment as this version reads it, in the format of ``expected.json.xz``."""
    runs = {}
    for entry in lab.search.entries([run.id for run in lab.store.runs()]):
        run, curve = entry.run, lab.store.curve(entry.run.id)
        runs[run.id] = {
            "spec": json.loads(run.spec.to_json()),
            "label": run.spec.label,
            "arm": run.spec.arm,
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
        experiment.id: {
            "name": experiment.name,
            "base": experiment.base,
            "runs": list(experiment.runs),
            "trim": experiment.trim,
            "plan": experiment.plan and json.loads(experiment.plan),
        }
        for experiment in lab.store.experiments()
    }
    return {"runs": runs, "experiments": experiments}


def expected() -> dict[str, Any]:
    """What that version said of runs and experiments."""
    read_here = ("name", "base", "runs", "trim", "plan")
    experiments = {id: {name: known[name] for name in read_here} for id, known in EXPECTED["experiments"].items()}
    return {"runs": EXPECTED["runs"], "experiments": experiments}


def one_of_each(runs: list[Run]) -> list[Run]:
    """A run of each method on each network."""
    return list({(run.spec.kind, run.spec.network.kind): run for run in runs}.values())


def test_every_run_and_experiment_is_as_it_was_left(read_only: Lab) -> None:
    assert said(read_only) == expected()
    assert read_only.notice == ""
    kinds = {run.spec.network.kind for run in read_only.store.runs(states=["finished"])}
    assert kinds == {"perceptron", "transformer", "decoder", "causal"}
    assert {run.state for run in read_only.store.runs()} == {"finished", "stopped", "failed", "interrupted"}


def test_datasets_and_imported_networks_are_as_they_were_left(read_only: Lab) -> None:
    assert {card.digest: {"name": card.name, "files": dict(card.files)} for card in read_only.networks.list()} == (
        EXPECTED["networks"]
    )
    for name, known in EXPECTED["datasets"].items():
        found = read_only.catalog.load(name)
        assert (found.kind, list(found.class_names)) == (known["kind"], known["classes"])
        assert [len(found.train_labels), len(found.test_labels)] == known["sizes"]


def accounts(looks: list[dict[str, Any]]) -> list[Look]:
    """Looks of that version; what one has shown is not known of any settings until it is found again."""
    return [
        Look(
            tuple((name, look["epochs"]) for name in look["family"]),
            look["seeds"],
            look["level"],
            None if look["claims"] else (),
            look["at"],
        )
        for look in looks
    ]


def test_verdicts_studies_and_judged_results_are_found_again_and_their_looks_count(lab: Lab) -> None:
    studies = 0
    for experiment in lab.store.experiments():
        known, members = EXPECTED["experiments"][experiment.id], lab.store.members(experiment)
        assert lab.looks.of(experiment.id) == accounts(known["looks"])
        if is_study(experiment):
            studies += len(answer_of(lab, experiment).places)
        else:
            assert sorted(arm.key for arm in chosen_arms(rows_of(members))) == known["chosen"]
            place_of(lab, experiment)
    assert studies == 2
    (judged,) = lab.judged.list()
    known = EXPECTED["judged"][judged.id]
    assert (judged.name, judged.note, judged.content) == (known["name"], known["note"], known["content"])
    assert lab.looks.of(judged.id) == accounts(known["looks"])
    found = judged_evidence(lab, judged).verdict
    assert found.best is not None
    assert found.best.arm.label == known["best"]
    (look,) = lab.looks.of(judged.id)
    before = {(rule, methods) for shown in known["looks"][0]["claims"].values() for rule, methods in shown.items()}
    assert {(shown.rule, shown.methods) for shown in look.claims or ()} == before


def test_a_run_and_its_repeat_are_one_arm(lab: Lab) -> None:
    picked = one_of_each(lab.store.runs(states=["finished"]))
    again = finish(lab, *lab.launcher.repeat(*(run.id for run in picked)))
    assert [run.state for run in again] == ["finished"] * len(picked), [run.cause for run in again]
    assert [run.spec.arm for run in again] == [run.spec.arm for run in picked]


def test_what_waited_has_the_bank_key_of_a_new_run(read_only: Lab) -> None:
    keys = dict(read_only.store.rows("SELECT id, bank_key FROM runs"))
    left = read_only.store.runs(states=["interrupted"])
    assert len(left) == 2
    assert [keys[run.id] for run in left] == [bank_key(run.spec) for run in left]


def test_every_file_reads_back_and_every_adapter_holds(read_only: Lab) -> None:
    counts = dict.fromkeys((ADAPTER, MERGED, NETWORK), 0)
    for run in (run for run in read_only.store.runs() if run.result):
        for name in counts.keys() & read_only.store.files(run.id):  # some experiments keep chosen networks alone
            counts[name] += 1
            path = read_only.artifacts.path(run.id, name)
            if name == ADAPTER:
                verify_adapter(path, read_only.artifacts.base_network(run))
            else:
                read_network(path)
    assert counts[MERGED] == 1
    assert min(counts[ADAPTER], counts[NETWORK]) >= 30


def test_answers_to_the_test_part_are_those_that_were_kept(read_only: Lab) -> None:
    runs = [run for run in read_only.store.runs() if run.result and run.spec.objective.has_classes]
    assert len(runs) > 60
    for run in runs:
        path = read_only.settings.runs / run.id / PREDICTIONS
        assert read_only.store.files(run.id)[PREDICTIONS] == sha256_of(path)
        accuracy = 100 * np.mean(predictions(read_only, run).predicted == true_targets(read_only, run.spec))
        assert accuracy == pytest.approx(run.score)


def test_interrupted_runs_go_on_from_their_checkpoints(lab: Lab) -> None:
    left = lab.store.runs(states=["interrupted"])
    assert {run.spec.network.kind for run in left} == {"perceptron", "transformer"}
    lab.launcher.finish([run.id for run in left])
    wait_until(lambda: all(lab.store.run(run.id).step > run.step for run in left))
    assert [lab.store.run(run.id).resumed_step for run in left] == [run.step for run in left]
    assert all(run.step for run in left)
    lab.stop(*(run.id for run in left))
    assert {run.state for run in finish(lab, *(run.id for run in left))} <= {"stopped", "finished"}


def test_what_was_stopped_or_failed_is_trained_to_its_end(lab: Lab) -> None:
    (failed,) = lab.store.runs(states=["failed"])
    base = str(failed.spec.base)  # was stopped before it had learned anything, and so the other failed
    (stopped,) = (run for run in lab.store.runs(states=["stopped"]) if run.id != base)
    rest = lab.launcher.rest([failed.id, stopped.id])
    assert [run.id for run in rest.bases] == [base]
    ids = [run.id for run in rest.everything]
    assert sorted(ids) == sorted([failed.id, stopped.id, base])
    assert lab.launcher.finish(ids) == 3
    for run in finish(lab, *ids):
        assert (run.state, run.step) == ("finished", run.steps), run.cause
        assert run.resumed_step == (stopped.step if run.id == stopped.id else 0)
        assert lab.store.curve(run.id).step.tolist() == list(range(1, run.steps + 1))


def test_a_store_that_is_lost_comes_back_as_it_was(lab: Lab, opened: Opener) -> None:
    lab.close()
    lose(lab.settings)
    assert said(opened()) == expected()


def older_spec(db: sqlite3.Connection) -> None:
    """Give a run the spec of a version that had the name of the method, and its settings, beside each other."""
    spec = json.dumps({"schema": 1, "method": "pretrain", "model": {"num_classes": 10}, "task": {"dataset": "digits"}})
    db.execute("UPDATE runs SET spec = ? WHERE id IN (SELECT id FROM runs LIMIT 1)", (spec,))


@pytest.mark.parametrize(
    ("version", "has_older_spec", "what_opens_it"),
    [
        (11, False, "open it once with commit 3fc5ed74, then with this one."),
        (6, True, "open it with commit 3fc5ed74."),
        (12, True, "open it with commit 3fc5ed74."),
    ],
)
def test_a_home_of_an_earlier_version_is_refused_in_a_sentence_and_left_as_it_is(
    settings: Settings, capsys: pytest.CaptureFixture[str], version: int, has_older_spec: bool, what_opens_it: str
) -> None:
    with closing(sqlite3.connect(settings.store)) as db, db:
        if has_older_spec:
            older_spec(db)
        db.execute(f"PRAGMA user_version = {version}")
    before = {path: path.read_bytes() for path in settings.home.rglob("*") if path.is_file()}
    assert main(["list", "--home", str(settings.home)]) == 1
    sentence = sentence_of(capsys)
    assert f"made by a version of LoRA Lab before 2026-12-01 (store version {version}): {what_opens_it}" in sentence
    assert {path: path.read_bytes() for path in settings.home.rglob("*") if path.is_file()} == before
