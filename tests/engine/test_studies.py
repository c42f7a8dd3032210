"""Studies: what is trained at each point, what is shared with other experiments, and the family of all points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.__main__ import main
from core.answer.check import Outcome
from core.answer.checks.registry import checks_of
from core.engine.experiments import plan_of
from core.errors import LabError, SpecError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.plan.axes import AXES, VarySpec, axis_of, matched
from core.plan.configuration_file import read_configuration, write_configuration
from core.plan.experiment import Recipe
from core.plan.search import TuneSpec
from core.results.results import Results
from core.results.row import rows_of
from core.rule.claims import Level
from core.rule.decide import decide
from core.rule.family import p_values
from core.rule.spending import level_of
from core.rule.tuning import rate_choices
from core.run_spec import OptimSpec
from core.settings import Settings
from core.store.record import Experiment
from core.study.arms.study_words import study_headline, study_reason
from core.study.report.answer import answer_of, place_of
from tests.conftest import short
from tests.launching import compare
from tests.searched_home import ended, trained_on
from tests.studied_home import POINTS, SEEDS, study_asked
from tests.study.samples import measured

NETWORK = PerceptronSpec()
OPTIM = OptimSpec()


@pytest.fixture
def training(studied: tuple[Lab, Experiment], tmp_path: Path) -> Iterator[tuple[Lab, Experiment]]:
    """A lab that trains, with a copy of the study."""
    with trained_on(tmp_path / "home", studied) as found:
        yield found


def test_learning_rates_are_found_at_each_point(studied: tuple[Lab, Experiment]) -> None:
    lab, experiment = studied
    found = answer_of(lab, experiment)
    assert [at.point for at in found.places] == list(POINTS)
    for at in found.places:
        assert {row.setting.epochs for row in at.rows} == {at.point}
        choices = rate_choices(at.rows)
        assert {choice.arm.spec.label for choice in choices} == {"Full", "LoRA r=2"}
        for choice in choices:
            assert (choice.at_end, choice.arm.seeds) == (None, tuple(range(SEEDS)))
    assert {run.plan for run in lab.store.members(experiment)} == {"complete"}


def test_every_point_and_rank_is_one_family_whose_look_is_kept_once(studied: tuple[Lab, Experiment]) -> None:
    lab, experiment = studied
    found = answer_of(lab, experiment)
    (look,) = found.looks
    assert look.family == tuple(f"epochs={point} lora 2" for point in POINTS)
    assert (look.seeds, look.level) == (SEEDS, level_of(SEEDS))
    assert [each.key for each in lab.looks.of(experiment.id)] == [look.key]
    width = found.candidates[0].arm.spec.objective.primary.width
    together = p_values([each.compared for each in found.candidates], found.margin, 0, width)
    assert [each.found for each in found.candidates] == together
    alone = [p_values([each.compared], found.margin, 0, width)[0].differs for each in found.candidates]
    assert all(each.differs >= one for each, one in zip(together, alone, strict=True))
    # Written out by hand: the mean over seeds of a setting minus full fine-tuning at the same point.
    for at in found.places:
        (candidate,) = at.by_line.values()
        full = at.full
        ours, theirs = candidate.arm.by_seed("accuracy"), full.by_seed("accuracy")
        mean = np.mean([ours[seed] - theirs[seed] for seed in range(SEEDS)])
        assert candidate.difference.interval.mean == pytest.approx(mean)
        assert at.looks == found.looks
    assert found.level is (Level.SHOWN if any(each.claims for each in found.candidates) else Level.OPEN)
    assert place_of(lab, experiment).reason
    assert [each.key for each in lab.looks.of(experiment.id)] == [look.key], "reading it again is no other look"


def test_a_setting_whose_seed_failed_stays_in_the_family(studied: tuple[Lab, Experiment]) -> None:
    lab, experiment = studied
    members = lab.store.members(experiment)
    failed = [
        replace(run, state="failed", result=None, cause="Diverged at step 1: the loss is no longer a finite number.")
        if (run.spec.kind, run.spec.optim.epochs) == ("lora", POINTS[0])
        else run
        for run in members
    ]
    found = decide(Results(rows_of(failed)), plan=plan_of(experiment))
    assert [len(at.by_line) for at in found.places] == [0, 1]
    (look,) = found.looks
    assert len(look.family) == 2, "what failed is p = 1, and makes no other p smaller"


def test_what_few_seeds_decide_is_said_to_be_in_their_mean_alone(studied: tuple[Lab, Experiment]) -> None:
    """At the first point some seeds of LoRA fail; at the second one all are worse."""
    lab, experiment = studied
    runs = []
    for run in lab.store.members(experiment):
        for seed in (run.spec.seed, run.spec.seed + SEEDS, run.spec.seed + 2 * SEEDS):
            behind = 2.0 if run.spec.optim.epochs == POINTS[1] else 10.0 if seed % 8 in (1, 4, 6) else -0.2
            score = 90 + seed / 100 - behind * (run.spec.kind == "lora") * (1 + seed / 100)
            result = measured(run.result, accuracy=score)
            runs.append(replace(run, id=f"{run.id}{seed}", spec=run.spec.but(seed=seed), result=result))
    found = decide(Results(rows_of(runs)), plan=plan_of(experiment))
    assert found.level is Level.SHOWN
    first = f"{study_headline(found)} {study_reason(found)}"
    assert "less accurate than full fine-tuning at every point" in first
    assert "in the mean and not in the median of these runs" in first
    outliers = checks_of(found)["outliers"]
    assert (outliers.outcome, outliers.where) == (Outcome.FAILS, "at 1 epochs")
    assert outliers.line.startswith("The median difference, +0.2")


def test_too_few_seeds_say_what_was_seen_and_that_none_of_it_is_a_claim(studied: tuple[Lab, Experiment]) -> None:
    lab, experiment = studied
    found = decide(
        Results(rows_of([run for run in lab.store.members(experiment) if run.spec.seed < 3])), plan=plan_of(experiment)
    )
    assert (found.seeds, found.level is Level.SHOWN) == (3, False)
    seen = [at.point for at in found.places for each in at.by_line.values() if not each.difference.holds_zero]
    said = study_reason(found)
    assert ("which is not enough for a claim" in said) == bool(seen)
    assert all(str(point) in said or len(seen) == len(POINTS) for point in seen)
    assert checks_of(found)["seeds"].line == "3 seeds: a claim takes at least 7."


def test_runs_that_another_experiment_has_are_not_trained_again_and_stay_when_one_is_deleted(
    training: tuple[Lab, Experiment],
) -> None:
    lab, first = training
    before = {run.id: run for run in lab.store.members(first)}
    asked = study_asked(lab, points=(*POINTS, 3))
    planned = lab.launcher.plan(asked)
    assert len(planned.at_least) < len(planned.least), "what is shared costs nothing"
    second = compare(lab, asked)
    runs = ended(lab, second)
    assert before.keys() < {run.id for run in runs}
    new = [run for run in runs if run.id not in before]
    assert {run.spec.optim.epochs for run in new} == {3}
    assert {run.experiment for run in runs} == {second.id}
    assert {run.experiment for run in lab.store.members(first)} == {first.id}
    assert len(Counter(run.spec for run in runs)) == len(runs)
    assert [at.point for at in answer_of(lab, second).places] == [*POINTS, 3]
    # An experiment without an axis that asks for the same as one point has its runs, too.
    alone = compare(lab, asked.at(POINTS[1]))
    assert {run.id for run in ended(lab, alone)} < before.keys()
    effects = lab.notes.effects_of_deleting([run.id for run in runs], second.id)
    assert (set(effects.kept), set(effects.runs)) == (before.keys(), {run.id for run in new})
    assert effects.experiments == (lab.store.experiment(second.id).name,)
    assert set(lab.notes.delete([run.id for run in runs], second.id)) == {run.id for run in new}
    assert {experiment.id for experiment in lab.store.experiments()} == {first.id, alone.id}
    assert [run.result for run in lab.store.members(first)] == [run.result for run in before.values()]
    lab.notes.delete([run.id for run in lab.store.members(first)], first.id)
    assert [experiment.id for experiment in lab.store.experiments()] == [alone.id]
    assert {run.experiment for run in lab.store.runs_of(lab.store.experiment(alone.id).runs)} == {alone.id}


def test_a_store_that_is_lost_comes_back_with_the_members_of_each_experiment(training: tuple[Lab, Experiment]) -> None:
    lab, _ = training
    alone = compare(lab, study_asked(lab).at(POINTS[0]))
    ended(lab, alone)
    home = lab.settings.home
    found = {experiment.id: set(experiment.runs) for experiment in lab.store.experiments()}
    lab.close()
    for file in home.glob("lab.sqlite3*"):
        file.unlink()
    with closing(Lab(Settings(home, threads=1))) as other:
        assert {experiment.id: set(experiment.runs) for experiment in other.store.experiments()} == found


def test_a_study_is_a_file_and_the_same_question_again(studied: tuple[Lab, Experiment]) -> None:
    lab, experiment = studied
    asked = study_asked(lab)
    assert lab.experiments.configuration(experiment).asks_the_same(asked)
    assert not lab.experiments.configuration(experiment).asks_the_same(asked.at(POINTS[0]))
    assert read_configuration(write_configuration(asked), lab.catalog, lab.networks) == asked
    assert lab.experiments.find(lab.launcher.plan(asked)) == lab.store.experiment(experiment.id)
    assert lab.experiments.find(lab.launcher.plan(study_asked(lab, points=(1, 3)))) is None
    assert "epochs 1, 2" in experiment.name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("depth=1,2", "There is no axis 'depth'; choose one of: epochs, shots, layers, batch, batch-updates."),
        ("epochs=3", "A study has 2 to 8 points that differ"),
        ("epochs=3,3", "A study has 2 to 8 points that differ"),
        ("epochs=3,x", "Epochs: 'x' is no whole number."),
        ("shots=0,5", "Shots per class must be 1 to 10000, not 0."),
        ("layers=all-linear,layers.9", "Layers with adapters: there is no 'layers.9'"),
    ],
)
def test_what_is_no_study_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SpecError, match="^" + sentence.replace("(", r"\(").replace(".", r"\.")):
        VarySpec.of_text(text, NETWORK, OPTIM)


def test_a_study_searches_at_each_point_and_trains_no_longer(studied: tuple[Lab, Experiment]) -> None:
    lab, _ = studied
    asked = study_asked(lab)
    for tune in (None, TuneSpec.of(rates=3), TuneSpec.of(longer=1)):
        with pytest.raises(LabError, match="A study finds learning rates at each of its points"):
            asked.but(tune=tune)
    with pytest.raises(LabError, match="whole numbers in ascending order"):
        VarySpec.of(name="epochs", points=(3, 1))


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_an_axis_changes_what_it_names_at_each_of_its_usual_points(studied: tuple[Lab, Experiment], axis) -> None:  # type: ignore[no-untyped-def]
    lab, _ = studied
    asked = study_asked(lab)
    points = axis.usual(NETWORK, OPTIM)
    whole = asked.but(vary=VarySpec.of(name=axis.name, points=points))
    assert [axis.point(str(point), NETWORK) for point in points] == list(points)
    assert axis.texts(points).count(str(points[-1])) == 1
    seen = [(part.task, part.arms) for part in whole.parts]
    assert len(set(seen)) == len(points), "each point is another experiment"
    assert {len(part.arms) for part in whole.parts} == {2}
    full = {(part.task, part.arms[0]) for part in whole.parts}
    assert len(full) == (1 if axis.name == "layers" else len(points)), "full fine-tuning does not depend on where"
    planned = lab.launcher.plan(whole)
    assert len(set(planned.runs)) == len(planned.runs)
    assert {spec.seed for spec in planned.runs} == {0, 1, 2}


def test_batches_at_equal_updates_train_for_more_epochs() -> None:
    setting: Recipe = OPTIM.but(epochs=10, batch_size=64), FullSpec()
    for name, epochs in (("batch", (10, 10, 10)), ("batch-updates", (3, 12, 48))):
        found = [axis_of(name).setting(setting, size, NETWORK)[0] for size in (16, 64, 256)]
        assert [optim.batch_size for optim in found] == [16, 64, 256]
        assert tuple(optim.epochs for optim in found) == epochs


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_ranks_are_matched_to_equal_numbers_of_parameters(rank: int) -> None:
    sizes = {"layers.0": 784 + 128, "layers.2": 128 + 256, "layers.4": 256 + 10}
    wanted = rank * (sizes["layers.0"] + sizes["layers.2"]) + min(rank, 10) * sizes["layers.4"]
    for layer, size in sizes.items():
        found = matched(LoRASpec.of(rank=rank), (layer,), NETWORK)
        most = {"layers.0": 128, "layers.2": 128, "layers.4": 10}[layer]
        by_hand = min(range(1, most + 1), key=lambda r: (abs(r * size - wanted), r))
        assert (found.size, found.targets, found.strength) == (by_hand, (layer,), 8.0)


def test_points_may_be_given_in_any_order_and_names_are_trimmed() -> None:
    found = VarySpec.of_text("shots = 30, 10,100", NETWORK, OPTIM)
    assert found.points == (10, 30, 100)
    assert all(one < two for one, two in pairwise(VarySpec.of_text("epochs", NETWORK, short()).points))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("--vary shots=5,10 --shots 5", "--vary shots says what each point has: leave --shots out."),
        ("--vary layers --targets layers.0", "--vary layers says what each point has: leave --targets out."),
        ("--vary epochs=1,3 --epochs 2", "--vary epochs says what each point has: leave --epochs out."),
        ("--vary epochs=1,3 --tune 3", "--vary finds learning rates at each point: leave --longer and the number"),
        ("--vary epochs=1,3 --longer 1", "--vary finds learning rates at each point: leave --longer and the number"),
    ],
)
def test_options_that_contradict_a_study_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, sentence: str
) -> None:
    home = ["--home", str(tmp_path / "home"), "--save-config", str(tmp_path / "study.json")]
    assert main(["compare", "--source", "digits", *more.split(), *home]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "study.json").exists()


def test_a_study_grows_by_seeds_and_ranks_and_not_by_rates_or_epochs(
    training: tuple[Lab, Experiment], capsys: pytest.CaptureFixture[str]
) -> None:
    lab, experiment = training
    settings = lab.experiments.settings(experiment)
    more = lab.experiments.growth(experiment, [*settings, (settings[1][0], LoRASpec.of(rank=3))], range(SEEDS + 1))
    assert {(spec.optim.epochs, spec.method.size) for spec in more.runs if spec.method.size == 3} == {(1, 3), (2, 3)}
    assert {spec.seed for spec in more.runs if spec.method.size != 3} == {SEEDS}
    assert {spec.optim.epochs for spec in more.runs} == set(POINTS)
    home = str(lab.settings.home)
    lab.close()
    assert main(["grow", experiment.id, "--epochs", "--home", home]) == 1
    assert "A study has the epochs of its points" in capsys.readouterr().err


def test_ranks_that_are_one_where_a_layer_is_small_are_trained_once(studied: tuple[Lab, Experiment]) -> None:
    lab, _ = studied
    asked = study_asked(lab)
    arms = (*asked.arms, *(asked.arms[1].but(method=LoRASpec.of(rank=rank)) for rank in (4, 16)))
    whole = asked.but(arms=arms, vary=VarySpec.of(name="layers", points=("all-linear", "layers.4")))
    sizes = [[arm.method.size for arm in part.arms if arm.method.size] for part in whole.parts]
    assert sizes == [[2, 4, 16], [10]], "the last layer has ten outputs"
    assert sum(spec.method.targets == ("layers.4",) for spec in lab.launcher.plan(whole).runs) == 3 * 3
