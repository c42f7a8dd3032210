"""One experiment has one verdict: on Home, Sweep, Compare and Report, and from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pytest

from core.cli.comparison import as_json
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.settings import Settings
from core.store.record import Experiment, Run
from core.study.arms.arm import arms_of
from core.study.arms.choice import chosen_arms
from core.study.arms.verdict import verdict
from core.study.arms.verdict_words import SELECTED, headline
from core.study.stats.claims import Level
from core.study.stats.words import p_text
from pages.shared.ui.literal import literal
from tests.conftest import compared, finish, short, some_of
from tests.pages.test_pages import draw, texts
from tests.study.samples import measured

SEEDS = 8
RATES = (0.001, 0.00316)
SETTINGS = [(short(rate=rate), FullSpec()) for rate in RATES] + [
    (short(rate=rate), LoRASpec.of(rank=rank)) for rank in (1, 4) for rate in RATES
]
SETTINGS.append((short(rate=RATES[0]), LoRASpec.of(rank=4, target_modules=("layers.0",))))
SPREAD = (0.3, -0.2, 0.1, -0.4, 0.2, 0.0, -0.1, 0.4)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The process-wide lab that pages use, with one trained experiment."""
    yield open_lab(Settings(tmp_path_factory.mktemp("home")))
    close_lab()


@pytest.fixture(scope="module")
def experiment(lab: Lab) -> Experiment:
    found = compared(lab, "rotation-45", "digits", None, short(rate=0.001), SETTINGS, seeds=range(SEEDS))
    finish(lab, found.base, *found.runs)
    return found


def planted(run: Run, offsets: dict[str, float], seeds: int) -> tuple[str, str | None]:
    """State and result of a run whose accuracies are made up."""
    if run.spec.seed >= seeds or run.result is None:
        return "stopped", None
    noise = SPREAD[run.spec.seed] * (1 if run.spec.role != "adapter" else -1)
    accuracy = 90.0 + offsets[run.spec.label] + noise - (0 if run.spec.optim.learning_rate == RATES[0] else 5)
    result = measured(run.result, accuracy=accuracy, validation_accuracy=accuracy - 1)
    return "finished", json.dumps(result.to_dict())


CASES = {
    "trained": None,
    "full is better": ({"Full": 0, "LoRA r=1": -9, "LoRA r=4": -4}, 8),
    "LoRA is enough": ({"Full": 0, "LoRA r=1": 0.4, "LoRA r=4": 0.4}, 8),
    "LoRA is better": ({"Full": 0, "LoRA r=1": 3, "LoRA r=4": -9}, 8),
    "leaning": ({"Full": 0, "LoRA r=1": -9, "LoRA r=4": -4}, 3),
    "open": ({"Full": 0, "LoRA r=1": -1, "LoRA r=4": -0.6}, 2),
}


@pytest.mark.parametrize("case", some_of(zip(CASES), lambda case: case in ("trained", "LoRA is enough", "open")))
def test_every_page_and_command_gives_one_verdict(lab: Lab, experiment: Experiment, case: str) -> None:
    with as_planted(lab, experiment, CASES[case]):
        check(lab, experiment)


def test_to_show_two_settings_changes_nothing_that_is_said(lab: Lab, experiment: Experiment) -> None:
    """Six seeds show a difference of one setting, and of two they do not."""
    with as_planted(lab, experiment, ({"Full": 0, "LoRA r=1": 3, "LoRA r=4": -9}, 6)):
        members = lab.members(experiment)
        two = [arm for arm in chosen_arms(members) if arm.spec.label in ("Full", "LoRA r=1")]
        found = verdict(members)
        alone = [run for run in members if run.spec.arm in {arm.key for arm in two}]
        assert (found.level, verdict(alone).level) == (Level.LEANING, Level.SHOWN)

        query = {"experiment": experiment.id, "arms": ",".join(arm.key for arm in two)}
        every, narrow = draw("compare", experiment=experiment.id), draw("compare", **query)
        assert "the verdict, its warnings and the tests are those of all" in texts(narrow)
        assert literal(headline(found)) in texts(narrow)
        assert "trained at one learning rate" not in texts(narrow)
        assert [warning.value for warning in narrow.warning] == [warning.value for warning in every.warning]
        tests = [[f.value for f in app.dataframe if "Finding" in f.value] for app in (every, narrow)]
        for left, right in zip(*tests, strict=True):
            pd.testing.assert_frame_equal(left, right)
        assert "chose one for each" in texts(draw("compare", **query, view="Rates"))
        (table,) = [f.value for f in draw("compare", **query, view="Table").dataframe if "Setting" in f.value]
        assert list(table["Setting"]) == ["Full", "LoRA r=1"]

        # A setting that validation did not choose is drawn where it is asked for, beside the one that it did.
        rates = [arm for arm in arms_of(members) if arm.spec.label == "Full"]
        query["arms"] = ",".join(arm.key for arm in rates)
        (table,) = [f.value for f in draw("compare", **query, view="Table").dataframe if "Setting" in f.value]
        assert list(table["Setting"]) == ["Full, lr 0.001", "Full, lr 0.00316"]

        # Runs that somebody selected are said to be that.
        assert literal(SELECTED) in texts(draw("compare", runs=",".join(run.id for arm in two for run in arm.runs)))
        assert literal(SELECTED) not in texts(every)


@contextmanager
def as_planted(lab: Lab, experiment: Experiment, case: tuple[dict[str, float], int] | None) -> Iterator[None]:
    """The experiment with made-up accuracies, until the block ends."""
    kept = [(run.state, json.dumps(run.result.to_dict()), run.id) for run in lab.members(experiment)]
    if case is not None:
        rows = [(*planted(run, *case), run.id) for run in lab.members(experiment)]
        with lab.store.transaction() as db:
            db.executemany("UPDATE runs SET state = ?, result = coalesce(?, result) WHERE id = ?", rows)
            db.execute("UPDATE runs SET archived = 1 WHERE state = 'stopped'")  # so that no verdict waits for them
    try:
        yield
    finally:
        with lab.store.transaction() as db:
            db.executemany("UPDATE runs SET state = ?, result = ?, archived = 0 WHERE id = ?", kept)


def check(lab: Lab, experiment: Experiment) -> None:
    members = lab.members(experiment)
    found = verdict(members)
    assert not found.reason
    said = literal(headline(found))

    drawn = {page: draw(page, experiment=experiment.id) for page in ("home", "compare", "report", "sweep")}
    for page, app in drawn.items():
        assert said in texts(app).replace("#### ", ""), page
        assert page == "report" or any(f"[{found.level}]" in str(m.value) for m in app.markdown), page

    printed = json.loads(json.dumps(as_json(lab, [lab.run(experiment.base)], members)))["verdict"]
    assert printed["sentence"] == headline(found)
    assert printed["level"] == found.level
    assert printed["choice"] == (found.choice.label if found.choice else None)
    told = found.told.difference
    assert (printed["difference"], printed["seeds_needed"]) == (told.interval.mean, told.seeds_needed)
    assert printed["adapter_run"] == found.offered.id

    # p-values in the tables of Compare and of the report are those of the verdict.
    for page in ("compare", "report"):
        table = next(frame.value for frame in drawn[page].dataframe if "Finding" in frame.value)
        rows = dict(zip(table["Setting"], table["p"], strict=True))
        assert rows[found.told.arm.name] == p_text(told.p), page
