"""Which runs an answer lacks, and how they are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import DivergedError, VerificationError
from core.store.record import Run
from core.study.arms.arm import labels_of
from core.study.arms.choice import chosen_arms
from core.study.arms.missing import MAX_NAMED, lost_runs, missing_runs, named_runs
from tests.study.samples import make_arm_runs, make_run

CAUSES = [str(DivergedError(9)), str(VerificationError("logits differ by 2e-4, more than 1e-4"))]


def at(rate: float, seed: int = 0, cause: str | None = None) -> Run:
    run = make_run("lora", seed, state="failed" if cause else "finished", optim={"learning_rate": rate})
    return replace(run, cause=cause)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_run_that_diverged_or_failed_its_certificate_is_not_chosen_and_no_lost_run(cause: str) -> None:
    full = make_arm_runs("full", [90.0])
    runs = [*full, at(0.005), at(0.5, cause=cause)]
    assert runs[-1].has_diverged
    assert [arm.learning_rate for arm in chosen_arms(runs)] == [0.001, 0.005]
    assert missing_runs(runs) == [runs[-1]]
    assert lost_runs(runs) == []
    assert lost_runs([*full, at(0.005, cause=cause), at(0.5, cause=cause)]) == [
        at(0.005, cause=cause),
        at(0.5, cause=cause),
    ]
    other = at(0.5, cause="The disk is gone.")
    assert not other.has_diverged
    assert lost_runs([*full, at(0.005), other]) == [other]


def test_what_was_trained_again_or_put_away_is_not_missing() -> None:
    stopped = make_run("full", 1, state="stopped")
    again = make_run("full", 1, created=1.0)
    failed_again = make_run("full", 1, state="failed", created=2.0)
    assert missing_runs([stopped]) == [stopped]
    assert missing_runs([stopped, failed_again]) == [failed_again]
    assert missing_runs([failed_again, again, stopped]) == []
    assert missing_runs([replace(stopped, archived=True)]) == []


def test_runs_are_named_by_setting_and_seed_and_many_settings_are_counted() -> None:
    runs = [make_run("full", 1), make_run("lora", 2), make_run("lora", 0)]
    assert named_runs(runs, labels_of(run.spec for run in runs)) == "Full (seed 1) and LoRA r=4 (seeds 0 and 2)"
    many = [make_run("lora", rank=rank) for rank in range(1, MAX_NAMED + 3)]
    named = named_runs(many, labels_of(run.spec for run in many))
    assert named.count("seed 0") == MAX_NAMED
    assert named.endswith(" and 2 more settings")
