"""The labels that runs predicted: kept when they are trained, computed again where they are not there or damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.engine.jobs.run_files import NETWORK, PREDICTIONS, StoredAnswers, compact, predictions_bytes, read_predictions
from core.errors import DamagedFileError, LabError, PredictionsError, RunStateError
from core.files import sha256_of, write_atomically
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.run_spec import RunSpec
from core.study.weights.predicted import (
    arm_predictions,
    disagreed,
    predictions,
    results_by_class,
    true_targets,
)
from tests.conftest import DIGITS, finish, short
from tests.study.samples import measured


def test_runs_of_a_bank_keep_what_their_stored_networks_predict(studied):
    lab, experiment = studied
    for run in [*lab.store.members(experiment), *lab.bases()]:
        path = lab.settings.runs / run.id / PREDICTIONS
        kept = read_predictions(path, lab.store.files(run.id)[PREDICTIONS]).predicted
        assert kept.dtype == np.uint8
        task = lab.tasks.get(run.spec.task)
        with torch.no_grad():
            again = lab.artifacts.trained(run)(task.test.all_pixels()).argmax(1).numpy()
        assert np.count_nonzero(kept != again) <= 1  # merging an adapter rounds
        np.testing.assert_array_equal(true_targets(lab, run.spec), task.test.labels)
        assert 100 * np.mean(kept == true_targets(lab, run.spec)) == pytest.approx(run.score)
        np.testing.assert_array_equal(predictions(lab, run).predicted, kept)


def test_arms_are_summarised_as_their_results_are(studied):
    lab, experiment = studied
    arms = chosen_arms(rows_of(lab.store.members(experiment)))
    found = results_by_class(lab, arms)
    counts = np.bincount(true_targets(lab, arms[0].spec))
    for arm, single in zip(arms, arm_predictions(lab, arms), strict=True):
        np.testing.assert_allclose(100 * single.right.mean(1), arm.values("accuracy"))
        by_class = [interval.mean for interval in found.accuracies[arm.key]]
        assert np.average(by_class, weights=counts) == pytest.approx(arm.interval("accuracy").mean)
    a, b = arms[:2]
    one, other = disagreed(lab, a, b, 5), disagreed(lab, b, a, 5)
    gap = sum(a.by_seed("accuracy").values()) - sum(b.by_seed("accuracy").values())
    everything = [disagreed(lab, *pair, 10_000).first for pair in ((a, b), (b, a))]
    plus, minus = (sum(each.seeds for each in found) for found in everything)
    assert 100 * (plus - minus) / len(true_targets(lab, a.spec)) == pytest.approx(gap)
    for part, all_of_them in zip((one, other), everything, strict=True):
        assert part.first == all_of_them[:5]
        assert part.count == len(all_of_them)
        assert part.seeds == 3
        assert part.pixels.shape == (len(part.first), 28, 28)
    assert disagreed(lab, a, b, 0).pixels.shape == (0, 28, 28)
    pixels = lab.tasks.get(a.spec.task).test.all_pixels()
    for shown, image in zip(one.first, one.pixels, strict=True):
        np.testing.assert_allclose(image.ravel() / 255, pixels[shown.example], atol=0.002)


def test_a_damaged_file_is_replaced_and_a_replaced_dataset_is_named(lab):
    (run,) = finish(lab, lab.launcher.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short())).id)
    path, kept = lab.settings.runs / run.id / PREDICTIONS, predictions(lab, run).predicted
    for harm in (lambda: path.write_bytes(b"no tensors"), path.unlink):
        harm()
        np.testing.assert_array_equal(predictions(lab, run).predicted, kept)
        assert lab.store.files(run.id)[PREDICTIONS] == sha256_of(path)
    # As if the network had been measured on other images of this name.
    other = replace(run, result=measured(run.result, accuracy=run.score - 2))
    with pytest.raises(PredictionsError, match="replaced by another of the same name"):
        predictions(lab, other)
    path.unlink()
    with pytest.raises(PredictionsError):
        predictions(lab, other)
    assert not path.exists()
    (path.parent / NETWORK).write_bytes(b"no tensors")
    with pytest.raises(DamagedFileError):
        predictions(lab, run)


def test_a_run_without_a_result_has_none(studied, monkeypatch):
    lab, experiment = studied
    waiting = replace(lab.store.members(experiment)[0], result=None)
    monkeypatch.setattr(lab.store, "run", lambda id: waiting)
    with pytest.raises(RunStateError, match="has predicted nothing"):
        predictions(lab, waiting)


@pytest.mark.parametrize(("labels", "dtype"), [([0, 255, 3], np.uint8), ([0, 256, 999], np.uint16), ([], np.uint8)])
def test_a_file_of_labels_reads_back(tmp_path, labels, dtype):
    path = tmp_path / PREDICTIONS
    answers = StoredAnswers(compact(torch.tensor(labels, dtype=torch.int64)), None)
    digest = write_atomically(path, predictions_bytes(answers))
    found = read_predictions(path, digest).predicted
    assert found.tolist() == labels
    assert found.dtype == dtype == answers.predicted.dtype
    with pytest.raises(LabError):
        read_predictions(path, "0" * 64)
    path.write_bytes(path.read_bytes().replace(b"predicted", b"projected"))
    with pytest.raises(PredictionsError, match="has no predictions in it"):
        read_predictions(path, sha256_of(path))
