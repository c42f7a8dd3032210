"""Progress of what was launched: one share that never falls while a search adds runs, and begins anew with new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from core.engine.progress import Progress
from core.lab import Lab
from core.plan.plan import Plan
from core.store.record import Experiment, Run, State
from tests.engine.test_plan_epochs import Value, asked, ended, levelling


class Replayed:
    """A store at the moments of a search, whose runs are trained one after another."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.runs = plan, dict[str, Run]()

    def experiment(self, id: str) -> Experiment:
        return Experiment(id, "", 0.0, "base", tuple(self.runs), plan=self.plan.to_json())

    def runs_of(self, ids: list[str]) -> list[Run]:
        return [self.runs[id] for id in ids]

    def members(self, id: str = "") -> list[Run]:
        return list(self.runs.values())

    def moments(self, value: Value) -> Iterator[int]:
        """Queue what the plan wants and train it; the number of runs that were queued is told after each change."""
        while True:
            done = [run for run in self.members() if run.state in ("finished", "failed")]
            known = {(run.spec.optim, run.spec.method, run.spec.seed) for run in done}
            queued = [(*setting, seed) for _, setting, seed in self.plan.wanted(done)]
            queued = [each for each in queued if each not in known]
            if not queued:
                self.runs = {id: replace(run, plan="complete") for id, run in self.runs.items()}
                yield 0
                return
            new = [replace(ended(*each, value), created=1e-3 * len(self.runs), plan="open") for each in queued]
            new = [replace(run, id=f"r-{len(self.runs) + place:04}") for place, run in enumerate(new)]
            self.runs |= {run.id: replace(run, state="queued", step=0) for run in new}
            yield len(new)
            for run in new:
                for state, step in (("running", 50), (run.state, 100)):
                    self.runs[run.id] = replace(run, state=cast(State, state), step=step)
                    yield 0


@pytest.mark.parametrize(
    ("lasts", "longer", "wall", "shift"),
    [
        ({"full": 10, "lora": 10}, 2, 2.0, 1.0),  # settled at once
        ({"full": 10, "lora": 10}, 0, 2.0, 30.0),  # the best rates lie three points below the first ones
        ({"full": 90, "lora": 30}, 2, 2.0, 10.0),  # and training becomes nine times as long
        ({"full": 30, "lora": 30}, 1, 0.005, 1.0),  # a wall
    ],
)
def test_a_bar_never_falls_while_a_search_adds_runs(
    lab: Lab, lasts: dict[str, int], longer: int, wall: float, shift: float
) -> None:
    level = levelling(lasts, wall)

    def value(kind: str, epochs: int, rate: float, seed: int) -> float | None:
        return level(kind, epochs, rate * shift, seed)

    replayed = Replayed(asked(longer))
    progress = Progress(cast(Any, replayed), lab.tasks)
    shares, stages = [0.0], 0
    for added in replayed.moments(value):
        stages += added > 0
        shares.append(progress.share_done(replayed.members()))
        assert shares[-1] >= shares[-2]
        is_over = all(run.state in ("finished", "failed") and run.plan == "complete" for run in replayed.members())
        assert (shares[-1] == 1.0) is is_over
    assert stages > 1


def test_what_is_expected_of_a_search_that_ends_as_soon_as_it_can_is_what_it_trains(lab: Lab) -> None:
    replayed = Replayed(asked(0))
    progress = Progress(cast(Any, replayed), lab.tasks)
    moments = replayed.moments(levelling({"full": 10, "lora": 10}))
    begun = next(moments)
    ((id, expected),) = progress.coming(replayed.members()).items()
    assert id == replayed.members()[0].experiment
    for _ in moments:
        pass
    assert len(replayed.members()) > begun
    after = [run.spec for run in replayed.members()[begun:]]
    kinds = [Counter((spec.method, spec.optim.epochs, spec.task) for spec in specs) for specs in (expected, after)]
    assert kinds[0] == kinds[1]
    assert progress.coming(replayed.members()) == {}, "nothing follows once the plan is complete"


def test_it_begins_anew_with_new_seeds(lab: Lab) -> None:
    replayed = Replayed(asked(0))
    progress = Progress(cast(Any, replayed), lab.tasks)
    for _ in replayed.moments(levelling({"full": 10, "lora": 10})):
        progress.share_done(replayed.members())
    whole = replayed.members()
    assert progress.share_done(whole) == 1.0
    later = [replace(run, id=f"{run.id}-later", created=run.created + 10, state="queued", step=0) for run in whole]
    assert progress.share_done([*whole, *later]) == pytest.approx(0.5), "of another launch"


def test_what_is_stopped_is_over_and_goes_on_from_where_it_was(lab: Lab) -> None:
    replayed = Replayed(asked(0))
    progress = Progress(cast(Any, replayed), lab.tasks)
    next(replayed.moments(levelling({"full": 10, "lora": 10})))
    queued = [replace(run, plan="complete") for run in replayed.members()]

    def share_of(state: State, step: int) -> float:
        return progress.share_done([replace(run, state=state, step=step) for run in queued])

    assert share_of("running", 25) == pytest.approx(0.25)
    assert share_of("queued", 0) == pytest.approx(0.25), "a page that read the runs earlier asks later"
    assert share_of("stopped", 50) == 1.0
    assert share_of("queued", 50) == pytest.approx(0.5)
    assert share_of("running", 60) == pytest.approx(0.6)
