"""What finished is told, whatever became of the rest: with a status of its own, and what did not finish by its name."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from core.cli.comparison import INCOMPLETE, answer
from core.engine.jobs.run_files import NETWORK
from core.errors import DivergedError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.settings import Settings
from core.store.record import Experiment, Run
from tests import forked
from tests.conftest import compared, finish, short, training_lab

FULL, LORA, HIGH = (short(rate=0.001), FullSpec()), (short(), LoRASpec.of()), (short(rate=0.5), LoRASpec.of())
JSON = argparse.Namespace(report=None, json=True)


def diverge(lab: Lab, run: Run) -> None:
    """Record of a queued run what is recorded where the loss is no longer a number."""
    (claimed,) = lab.store.claim([run])
    lab.store.fail(claimed, str(DivergedError(9)), None)


def answered(settings: Settings, experiment: Experiment, new: list[str], options: argparse.Namespace = JSON) -> int:
    """The exit status of a command that trains these runs."""
    with training_lab(settings) as lab:
        return answer(lab, lab.store.experiment(experiment.id), new, options)


def missing(found: dict[str, Any]) -> list[tuple[str, int, str, bool]]:
    return [(run["label"], run["seed"], run["state"], run["diverged"]) for run in found["missing"]]


def test_a_diverged_a_failed_and_a_stopped_run_cost_nobody_what_finished(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with training_lab(settings) as lab:
        experiment = compared(lab, "rotation-45", "digits", None, short(), [FULL], range(3), own_bases=True)
        finish(lab, *experiment.runs)
    with closing(Lab(settings)) as idle:
        new = idle.experiments.grow(experiment, [FULL, LORA, HIGH], [0, 1, 2])
        queued = {(run.spec.optim.learning_rate, run.spec.seed): run for run in idle.store.runs_of(new)}
        diverge(idle, queued[0.5, 0])
        with closing(Lab(settings)) as other:
            other.stop(queued[0.005, 1].id)
        (settings.runs / str(queued[0.005, 2].spec.base) / NETWORK).write_bytes(b"damaged")
    capsys.readouterr()

    assert answered(settings, experiment, new) == INCOMPLETE == 3
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [(arm["learning_rate"], len(arm["accuracy"])) for arm in found["arms"]] == [(0.001, 3), (0.005, 1), (0.5, 1)]
    low, high = "LoRA r=4, lr 0.005", "LoRA r=4, lr 0.5"
    lacking = [
        (low, 1, "stopped", False),
        (low, 2, "failed", False),
        (high, 0, "failed", True),
        (high, 2, "failed", False),
    ]
    assert sorted(missing(found)) == lacking
    causes = {(run["label"], run["seed"]): run["cause"] for run in found["missing"]}
    assert causes[high, 0] == str(DivergedError(9))
    assert "damaged" in causes[low, 2]
    assert found["base"]["run"] is not None
    told = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(told) == 4
    assert any(line.startswith("error: LoRA r=4, seed 1: ") for line in told)

    report = tmp_path / "report.html"
    home = ["--home", str(settings.home)]
    done = forked.run(["-m", "core", "grow", experiment.id, "--json", *home])
    assert done.returncode == INCOMPLETE, done.stderr
    found = json.loads(done.stdout)
    assert sorted(missing(found)) == lacking
    assert {value for arm in found["arms"] for value in arm["accuracy"]} == {None}, "not before the end"

    for options in ([], ["--without-stopped"]):
        done = forked.run(["-m", "core", "grow", experiment.id, *options, "--report", str(report), *home])
        assert done.returncode == INCOMPLETE, done.stderr
        assert "Full" in done.stdout
        assert "3 runs failed" in done.stdout
        assert f"{low} (seed 2) and {high} (seeds 0 and 2)" in done.stdout
        waits = "No verdict yet: 1 of 12 runs was stopped." in done.stdout
        assert waits is ("error: No verdict yet" in done.stderr) is (not report.exists()) is (not options)
        assert (f"stopped early take no part in the verdict: {low} (seed 1)" in done.stdout) is waits
    text = unescape(report.read_text())
    assert f"{low} (seed 2); {high} (seeds 0 and 2)" in text


def test_a_rate_that_diverges_is_no_missing_run_where_another_one_finished(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Lab(settings)) as idle:
        experiment = compared(idle, "rotation-45", "digits", None, short(), [FULL, LORA, HIGH], [0])
        (high,) = (run for run in idle.store.members(experiment) if run.spec.optim.learning_rate == 0.5)
        diverge(idle, high)
    assert answered(settings, experiment, list(experiment.runs)) == 0
    found = json.loads(capsys.readouterr().out)
    assert missing(found) == [("LoRA r=4, lr 0.5", 0, "failed", True)]
    assert [arm["chosen"] for arm in found["arms"]] == [True, True]


def test_where_nothing_finished_there_is_no_answer(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Lab(settings)) as idle:
        experiment = compared(idle, "rotation-45", "digits", None, short(), [FULL], [0])
        idle.stop(experiment.runs[0])
    assert answered(settings, experiment, list(experiment.runs)) == 1
    assert capsys.readouterr().out == ""


def test_an_adapter_that_fails_its_checks_is_a_failure_that_counts_as_diverged(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.adapter.certificate.MERGED_TOLERANCE", -1.0)  # every adapter fails
    with closing(Lab(settings)) as idle:
        experiment = compared(idle, "rotation-45", "digits", None, short(), [FULL, LORA], [0])
    assert answered(settings, experiment, list(experiment.runs)) == INCOMPLETE
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [arm["method"] for arm in found["arms"]] == ["full"]
    assert missing(found) == [("LoRA r=4", 0, "failed", True)]
    assert found["missing"][0]["cause"].startswith("The adapter failed verification: logits of the merged and unmerged")
    assert "error: LoRA r=4, seed 0: The adapter failed verification" in captured.err
