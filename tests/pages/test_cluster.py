"""Runs shows where runs train if there is more than this machine, and offers the choice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.engine.executors import EXECUTORS, ThreadExecutor
from core.engine.jobs.executor import ClusterJob, Machines, Node
from core.engine.jobs.job import Dependencies
from core.errors import ExecutorError
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.configuration import Configuration
from core.settings import Settings
from core.store.record import Run
from pages.experiments.cluster import CHOICE
from tests.conftest import HANG, TURNED, short
from tests.pages.test_pages import draw, texts
from tests.trained_home import TrainedHome


class Surface(Machines):
    """A cluster of two nodes with a job on one, and another that waits."""

    missing = ""

    def open(self) -> None:
        if self.missing:
            raise ExecutorError(self.missing)

    def count(self) -> int:
        return 2

    def problem(self) -> str | None:
        return "The moon has *set*."

    def nodes(self) -> list[Node]:
        return [Node("a", "crater", 4, 1, 2 * 10**9), Node("b", "sea", 2, 0, 10**9)]

    def running(self) -> list[ClusterJob]:
        return [ClusterJob("b", "LoRA r=4", ("r-1", "r-2")), ClusterJob("", "Full", ("r-3",))]


class Moon(ThreadExecutor):
    """Its machines are elsewhere."""

    title = "Moon [base](http://example.com)"

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies)
        self.machines = Surface()


@pytest.fixture
def beside(trained_home: TrainedHome, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setitem(EXECUTORS, "moon", Moon)
    lab = open_lab(settings)
    trained_home.bring(lab, str(trained_home.plain.base))
    yield lab
    close_lab()


def test_nodes_and_what_trains_on_them_are_shown_and_the_choice_counts(beside: Lab) -> None:
    app = draw("runs")
    table = next(frame.value for frame in app.dataframe if "Node" in frame.value)
    assert table["Node"].tolist() == ["crater", "sea"]
    assert table["In training"].tolist() == ["", "LoRA r=4, 2 runs"]
    assert "Full, 1 run: waiting for room in the cluster." in texts(app)
    assert beside.executors.name == "threads"
    app.segmented_control(key=CHOICE).set_value("moon").run()
    assert beside.executors.name == "moon"
    assert [warning.value for warning in app.warning] == [r"The moon has \*set\*."]


def test_two_machines_are_expected_to_take_half_the_time(beside: Lab) -> None:
    base = beside.bases()[0]
    arms = [(short(epochs=50), FullSpec()), (short(epochs=50), LoRASpec.of())]
    specs = beside.launcher.plan(Configuration.on(base.spec, TURNED, arms, [0, 1]), base).specs
    here = beside.estimates.wait(specs, HANG)
    beside.executors.choose("moon")
    there = beside.estimates.whole(specs)
    assert there.seconds == pytest.approx(here.seconds / 2)
    one = beside.estimates.wait(specs[:1], HANG)  # a single bank is on one machine
    beside.executors.choose("threads")
    assert one == beside.estimates.whole(specs[:1])


def test_what_is_not_installed_is_a_sentence_and_changes_nothing(beside: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Surface, "missing", "Fly there first.")
    app = draw("runs")
    app.segmented_control(key=CHOICE).set_value("moon").run()
    assert beside.executors.name == "threads"
    assert [warning.value for warning in app.warning] == ["Fly there first."]


def test_one_machine_has_nothing_to_choose(opened: Lab, base: Run) -> None:
    app = draw("runs")
    assert CHOICE not in [control.key for control in app.segmented_control]
