"""Stored networks measured once more, against what was measured when they were trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from core.engine.jobs.run_files import NETWORK
from core.errors import RunStateError
from core.lab import Lab
from core.networks.file import read_network
from core.results.arm import arms_of
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.settings import Settings
from core.study.weights.remeasured import base_accuracies, parallel, remeasure


@pytest.fixture(scope="session")
def chosen(studied):
    lab, experiment = studied
    return chosen_arms(rows_of(lab.store.members(experiment)))


def of(arms, label):
    return next(arm for arm in arms if arm.spec.label == label)


def test_the_base_stands_where_fine_tuning_began(studied, chosen):
    lab, experiment = studied
    by_base = {run.spec.base: run for run in lab.store.members(experiment)}
    assert len(by_base) == 3
    right = []
    for run in by_base.values():
        part = lab.tasks.get(run.spec.source).validation
        with torch.no_grad():
            predicted = read_network(lab.artifacts.base(run))(part.all_pixels()).argmax(1)
        right.append(100 * float((predicted == part.labels).double().mean()))
    assert base_accuracies(lab, chosen).source == pytest.approx(np.mean(right))
    assert base_accuracies(lab, []) is None


@pytest.mark.parametrize("label", ["LoRA r=1", "LoRA r=4", "Head only", "From scratch"])
def test_one_by_one_adds_up_to_the_difference_in_accuracy(studied, chosen, label):
    lab, a, b = studied[0], of(chosen, label).runs[1], of(chosen, "Full").runs[1]
    found = parallel(lab, a, b)
    assert found.interval.n == len(lab.tasks.get(a.spec.task).test.labels)
    assert found.interval.mean == pytest.approx(a.score - b.score)
    assert found.interval.low <= found.interval.mean <= found.interval.high


def test_runs_of_two_tasks_are_not_put_side_by_side(studied, chosen):
    lab, run = studied[0], of(chosen, "Full").runs[0]
    with pytest.raises(RunStateError, match="different tasks"):
        parallel(lab, run, lab.store.run(run.spec.base))


def test_a_report_says_what_is_gone_instead_of_failing(filled_home, tmp_path):
    lab = Lab(Settings(Path(shutil.copytree(filled_home, tmp_path / "home"))))
    runs = lab.store.members(lab.store.experiments()[0])
    for base in {run.spec.base for run in runs}:
        (lab.settings.runs / base / NETWORK).unlink()
    found = remeasure(lab, arms_of(rows_of(runs)))
    assert NETWORK in found.missing
    lab.close()
