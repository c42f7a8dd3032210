"""Blends of runs: evaluated on the tasks of all, refused where the runs started from different networks."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from core.adapter import apply_adapter, read_adapter
from core.adapter.archive import CARD
from core.artifacts.blends import Blend, blended
from core.errors import LoRAError
from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment, Run
from core.training.evaluation import evaluate
from tests.conftest import BOTH, DIGITS, TURNED, compared, finish, short
from tests.trained_home import TrainedHome


def test_a_blend_of_two_runs_is_measured_on_their_tasks_and_their_bases(lab: Lab) -> None:
    first = compared(lab, "rotation-45", "digits", None, short(epochs=5, rate=0.001), BOTH[1:], seeds=[0])
    base, one = finish(lab, first.base, *first.runs)
    other = TURNED.but(rotation=-45.0)
    (two,) = finish(lab, *lab.fine_tune(base, other, BOTH[1:], [1]).runs)
    found = blended(lab.artifacts, lab.tasks, [(one, 0.5), (two, 0.5)])
    assert [score.task for score in found.scores] == [TURNED, DIGITS, other]
    network = apply_adapter(lab.artifacts.network(base.id), read_adapter(found.content))
    for score in found.scores:
        task = lab.tasks.get(score.task)
        accuracy = evaluate(network, task.test, task.classes).measures["accuracy"]
        assert accuracy == pytest.approx(score.after.measures["accuracy"], abs=0.3)
        assert score.examples == len(task.test)
    assert found.scores[1].before.measures["accuracy"] == base.score


def adapters(lab: Lab, experiment: Experiment) -> list[Run]:
    return [run for run in lab.members(experiment) if run.spec.role == "adapter"]


def test_blends_of_texts_take_their_heads_with_them(trained_home: TrainedHome) -> None:
    lab = Lab(Settings(home=trained_home.home))
    runs = adapters(lab, trained_home.after_source)
    whole = blended(lab.artifacts, lab.tasks, [(runs[0], 1.0)])
    assert whole.scores[0].after.measures["accuracy"] == pytest.approx(runs[0].score, abs=1e-6)
    mean = blended(lab.artifacts, lab.tasks, [(runs[0], 0.5), (runs[1], 0.5)])
    heads = [read_adapter(blend.content).head for blend in (whole, mean)]
    own = [lab.artifacts.adapter(run.id).head for run in runs]
    for name, tensor in heads[1].items():
        assert ((own[0][name] + own[1][name]) / 2 - tensor).abs().max() < 1e-6
        assert (own[0][name] - heads[0][name]).abs().max() < 1e-6


def card_of(blend: Blend) -> str:
    with zipfile.ZipFile(io.BytesIO(blend.content)) as archive:
        return archive.read(CARD).decode()


def test_a_card_says_how_texts_are_read_what_was_compared_and_what_a_lower_rank_keeps(
    trained_home: TrainedHome,
) -> None:
    lab = Lab(Settings(home=trained_home.home))
    runs = adapters(lab, trained_home.after_source)
    parts = [(runs[0], 0.5), (runs[1], 0.5)]
    whole, cut = blended(lab.artifacts, lab.tasks, parts), blended(lab.artifacts, lab.tasks, parts, 1)
    card = card_of(whole)
    own = lab.tasks.get(runs[0].spec.task, network=runs[0].spec.network)
    assert f"max_length={runs[0].spec.task.length}" in card
    (named,) = (line for line in card.splitlines() if line.startswith("classes = "))
    assert json.loads(named.removeprefix("classes = ")) == list(own.class_names)
    assert "from those of the blend by at most" in card
    assert "trained network" not in card
    assert (whole.kept, whole.cut) == (1, "")
    assert "keeps" not in card
    assert 0 < cut.kept < 1
    assert cut.cut == f"rank 1 keeps {100 * cut.kept:.2f} % of the sum's energy, its squared Frobenius norm"
    assert cut.cut in card_of(cut).replace("\\", "")


def test_runs_that_started_from_different_networks_are_refused(trained_home: TrainedHome) -> None:
    lab = Lab(Settings(home=trained_home.home))
    parts = [(adapters(lab, each)[0], 0.5) for each in (trained_home.direct, trained_home.after_source)]
    with pytest.raises(LoRAError, match="the same network"):
        blended(lab.artifacts, lab.tasks, parts)
