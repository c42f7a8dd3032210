"""Results go into a DataFrame and come back, and are decided by whatever rule is plugged in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.answer.lines import headline
from core.errors import JudgeError
from core.judge.reading import Reading
from core.judge.results import results_of_frame
from core.results.results import Results
from core.results.row import rows_of
from core.rule.candidate import Candidate, Claim, Family, Rule
from core.rule.decide import decide
from core.store.looks import Look, Shown
from tests.study.samples import SPREAD, settled, tuned


def results(points: float, seeds: int) -> Results:
    """Full fine-tuning, and LoRA so many points below it, each at three learning rates."""
    full, lora = 95 + SPREAD[:seeds], 95 - points + SPREAD[::-1][:seeds]
    return Results(tuple(rows_of(tuned("full", list(full)) + tuned("lora", list(lora)))))


@pytest.mark.parametrize("points", [4.0, 0.05])
def test_a_table_that_comes_back_from_a_frame_is_decided_alike(points: float) -> None:
    before = results(points, 9)
    frame = before.to_frame()
    assert (len(frame), frame["accuracy"].tolist()) == (54, [row.value for row in before.rows])
    after = results_of_frame(frame, Reading.of(measure="accuracy", within=before.margin))
    found, again = decide(before).place, decide(after).place
    assert again.told.difference.values == found.told.difference.values
    assert again.told.difference.interval == found.told.difference.interval
    assert (again.rule, again.told.found) == (found.rule, found.told.found)
    assert [look.level for look in again.looks] == [look.level for look in found.looks]


def test_a_frame_that_lacks_something_says_what() -> None:
    frame = results(1.0, 3).to_frame()
    with pytest.raises(JudgeError, match="seed"):
        results_of_frame(frame.drop(columns="seed"))


def bayesian(family: Family, candidates: Sequence[Candidate], margin: float) -> tuple[Look, list[Candidate]]:
    """Another rule: a claim stands where its posterior probability is 95 %, with a flat prior of the mean difference
    over seeds, by which it is Student's t.
    """
    draws = np.random.default_rng(0).standard_t(max(len(candidates[0].difference.seeds) - 1, 1), 20_000)
    done = []
    for candidate in candidates:
        values = candidate.compared.chosen.mean(1)
        posterior = values.mean() + draws * values.std(ddof=1) / np.sqrt(len(values))
        likely = {
            Rule.WITHIN: (posterior > -margin).mean(),
            Rule.HIGHER: (posterior > 0).mean(),
            Rule.LOWER: (posterior < 0).mean(),
        }
        claims = [Claim(rule, len(values), about_methods=True, holds=True) for rule, p in likely.items() if p >= 0.95]
        done.append(replace(candidate, claims=tuple(claims), among=len(candidates)))
    shown = tuple(Shown(str(claim.rule), each.settings, True) for each in done for claim in each.claims)
    return Look(family.account, len(candidates[0].difference.seeds), 0.05, shown), done


def test_another_rule_is_one_function() -> None:
    few = results(4.0, 3)
    assert decide(few).place.rule is Rule.NONE, "three seeds show nothing"
    found = decide(few, by=bayesian).place
    assert (found.rule, found.choice) == (Rule.LOWER, found.full)
    assert headline(found).startswith("Use full fine-tuning")
    assert decide(results(0.0, 9), by=bayesian).place.rule is Rule.WITHIN
    (look,) = found.looks
    assert (look.seeds, [claim.rule for claim in look.claims]) == (3, ["lower"])
    # What is withheld is so by any rule: at the highest of the rates tried a better one may lie beyond.
    ends = settled("full", [95.0] * 3, 0.001, 95.0) + settled("full", [94.0] * 3, 0.0003, 94.0)
    rows = rows_of(ends + [row.run for row in few.rows if row.run and row.setting.method == "lora"])
    assert decide(Results(tuple(rows)), by=bayesian).place.withheld
