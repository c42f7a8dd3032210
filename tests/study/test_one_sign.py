"""A claim is about the settings that it was computed for: what is said, printed, drawn and reported has one sign."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.__main__ import main
from core.answer.lines import headline, reason
from core.cli import as_json
from core.judge.sources import Given
from core.lab import Lab
from core.results.arm import named
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.rule.place import About, Place
from core.rule.spending import level_of
from core.settings import Settings
from core.store.looks import Looks
from core.store.record import Run
from core.store.store import Store
from core.study.figures.intervals import difference_rows
from core.study.report import answer as answers
from core.study.report.answer import place_of
from core.study.report.evidence import Evidence
from core.study.report.parts import Table
from core.study.report.report import opening
from core.study.report.results_export import results_files
from core.study.report.sections import difference_section
from tests.judge.samples import judged_files
from tests.study.samples import SPREAD, decided_on, said_of, settled

MARGIN = 0.5
RATES = (0.0001, 0.000316, 0.001, 0.00316, 0.01)
SIGNS = {"more": 1, "less": -1, "higher": 1, "lower": -1}


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def printed(runs: Sequence[Run], found: Place) -> dict[str, Any]:
    """What ``--json`` prints of runs and their verdict."""
    lab: Any = SimpleNamespace(artifacts=SimpleNamespace(path=lambda *_: "adapter.zip"))
    experiment: Any = SimpleNamespace(plan=None)
    with patch.object(as_json, "place_of", lambda *_: found):
        told: dict[str, Any] = json.loads(json.dumps(as_json.as_json(lab, experiment, [], list(runs))))
    return told["verdict"]


def evidence_of(runs: Sequence[Run], found: Place) -> Evidence:
    """What a report is made of, without what does not depend on the verdict."""
    unread: Any = None
    return Evidence(unread, (), tuple(runs), {}, unread, None, found, {}, {}, {}, "")


def said_sign(sentence: str) -> int:
    """The sign of the difference in a sentence: that which is last, since a margin may stand before it."""
    found = re.findall(r"[\d.]+ points (more|less) accurate", sentence)
    return SIGNS[found[-1]] if found else 0


def disagreements(runs: Sequence[Run], found: Place) -> list[str]:
    """Where what is told of runs differs in sign from the difference on the test part, or claims what it denies."""
    if found.told is None or found.full is None or found.reason:
        return []
    seeds = found.told.difference.seeds
    ours, theirs = (arm.by_seed("accuracy") for arm in (found.told.arm, found.full))
    mean = float(np.mean([ours[seed] - theirs[seed] for seed in seeds]))
    wrong, seen = [], sign(mean)
    told, evidence = printed(runs, found), evidence_of(runs, found)
    both = f"{headline(found)} {reason(found)}"
    if found.claim is not None and found.about is About.METHODS and said_sign(both) != seen:
        wrong.append(f"sentence: {headline(found)}")
    if told["sentence"] != headline(found) or opening(evidence).answer[0] != headline(found):
        wrong.append("the sentences differ")
    if sign(told["difference"]) != seen:
        wrong.append(f"JSON: {told['difference']}")
    if told["choice"] is not None and told["choice"].startswith("Full") != (seen < 0 and found.rule == "lower"):
        wrong.append(f"JSON: {told['choice']} is chosen by {mean}")
    for setting in told["settings"]:
        limits = {"higher": (0, np.inf), "lower": (-np.inf, 0), "within": (-MARGIN, np.inf)}
        for claim in setting["claims"]:
            low, high = limits[claim["rule"]]
            if claim["holds"] and not low < setting["difference"] < high:
                wrong.append(f"JSON: {claim} of {setting['difference']}")
    arms = named(chosen_arms(rows_of(runs)))
    label = next(arm.label for arm in arms if arm.key == found.told.arm.key)
    figure = json.loads(difference_rows(found, arms, {}).to_json())
    drawn = [trace["x"] for trace in figure["data"] if trace["marker"].get("symbol") == "diamond"]
    at = [trace["name"] for trace in figure["data"] if trace["marker"].get("symbol") == "diamond"].index(label)
    if sign(_numbers(drawn[at])[0]) != seen:
        wrong.append(f"figure: {drawn[at]}")
    section = difference_section(evidence.shown())
    (table, *_) = [part for part in section.parts if isinstance(part, Table)]
    rows = {row["Setting"]: row for row in table.frame.to_dict("records")}
    if SIGNS.get(rows[label]["Finding"].rpartition(" ")[2], seen) != seen:
        wrong.append(f"report: {rows[label]}")
    if (rows[label]["Difference"][0] == "−") != (seen < 0):
        wrong.append(f"report: {rows[label]}")
    return wrong


def _numbers(values: Any) -> list[float]:
    """Numbers of a figure, which may be packed."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return list(values)


@dataclass(frozen=True)
class Stage:
    """What an experiment has when somebody looks."""

    seeds: int
    full: int | None
    """The only learning rate of full fine-tuning; None for all of them."""
    lora: int | None
    """The same of the adapters."""
    ranks: int


rates = st.sampled_from([None, None, 0, 1, 2, 3, 4])
stages = st.builds(Stage, st.sampled_from([8, 8, 8, 16, 5]), rates, rates, st.integers(1, 2))
full_points = st.lists(st.sampled_from([-4.0, 0.0, 4.0]), min_size=5, max_size=5)
lora_points = st.lists(st.sampled_from([-6.0, -2.0, -0.3, 0.3, 2.0, 6.0]), min_size=5, max_size=5)
bests = st.tuples(st.integers(1, 3), st.integers(1, 3))
"""Which rate is best on the validation part, with 8 seeds and with more."""


def runs_at(stage: Stage, tests: Sequence[Sequence[float]], best: Sequence[tuple[int, int]]) -> list[Run]:
    """Runs of a stage. Args: tests: points on the test part by method and rate; best: on the validation part."""
    found = []
    for place, only in enumerate([stage.full, *[stage.lora] * stage.ranks]):
        for index in range(5) if only is None else [only]:
            noise = SPREAD[(np.arange(stage.seeds) + 3 * place + index) % 10]
            validation = 80.0 - abs(index - best[place][stage.seeds > 8])
            accuracies = list(90 + tests[place][index] + noise)
            found += settled("lora" if place else "full", accuracies, RATES[index], validation, rank=4 * place or 4)
    return found


@settings(max_examples=50, deadline=None)
@given(
    st.lists(stages, min_size=2, max_size=3),
    st.tuples(full_points, lora_points, lora_points),
    st.tuples(bests, bests, bests),
)
def test_sentence_json_figure_and_report_have_the_sign_of_the_difference(
    history: list[Stage], tests: Sequence[Sequence[float]], best: Sequence[tuple[int, int]]
) -> None:
    """Seeds, rates and ranks come and go, and other settings are chosen; each stage is looked at and kept."""
    with TemporaryDirectory() as folder:
        looks = Looks(Store(Path(folder) / "lab.sqlite3"))
        for stage in history:
            runs = runs_at(stage, tests, best)
            found = decided_on(rows_of(runs), looks=looks.of("e"))
            looks.record("e", found.looks)
            assert disagreements(runs, found) == [], stage
            assert headline(decided_on(rows_of(runs), looks=looks.of("e"))) == headline(found), "it is read again"


def test_rates_that_are_added_do_not_leave_a_claim_that_the_new_choice_contradicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Full fine-tuning got a learning rate that is far too low, so that LoRA is better; rates beside them are added."""

    def told(*arguments: str) -> dict[str, Any]:
        assert main([*arguments, "--home", str(tmp_path), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    asked = ["--source", "digits", "--preset", "rotation-45", "--rank", "16", "--seeds", "8", "--epochs", "10"]
    first = told("compare", *asked, "--lr-full", "0.0001", "--lr-lora", "0.01")["verdict"]
    (before,) = first["settings"]
    assert (first["level"], [claim["rule"] for claim in before["claims"]]) == ("shown", ["higher"])
    with closing(Lab(Settings(tmp_path))) as lab:
        (experiment,) = lab.store.experiments()
        files = results_files(lab, experiment, "results")
        judged = judged_files(lab, [Given(name, content) for name, content in files.items()])
        assert judged.verdict.claim == place_of(lab, experiment).claim is not None
    after = told("grow", experiment.id, "--rates")["verdict"]
    (setting,) = after["settings"]
    assert (after["seeds"], setting["difference"] < 0 < before["difference"]) == (8, True), "the sign has turned"
    assert [claim for claim in setting["claims"] if claim["holds"]] == []
    assert (after["level"], after["choice"], after["about"]) == ("open", None, None)
    assert "robably" in after["sentence"]
    with closing(Lab(Settings(tmp_path))) as lab:
        runs, found = lab.store.members(experiment), place_of(lab, experiment)
        assert disagreements(runs, found) == []
        assert "seeds were looked at before, and count once" in " ".join(said_of(found))
        (look,) = lab.looks.of(experiment.id)
        assert (look.seeds, look.level) == (8, level_of(8))

        # As an earlier version kept it: the look is taken again of the runs that there were, or says nothing more.
        for before, claims in ((look.at, look.claims), (0.0, ())):
            old = ('{"lora 16": {"higher": null}}', before, experiment.id)
            with lab.store.transaction() as db:
                db.execute("UPDATE looks SET claims = ?, at = ? WHERE experiment = ?", old)
            answers._answers.clear()  # as in a process of its own
            again = place_of(lab, experiment)
            assert (headline(again), again.claim) == (headline(found), None)
            assert lab.looks.of(experiment.id) == [replace(look, claims=claims, at=before)]
