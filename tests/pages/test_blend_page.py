"""Blending on the Adapters page."""

from __future__ import annotations

import re

from core.lab import Lab
from core.study.arms.arm import arms_of
from tests.pages.test_pages import draw, texts

BLEND = {"adapters-from": "Blend two"}
"""The address of the tab."""


def test_two_adapters_are_blended_and_offered_as_a_file(filled: Lab) -> None:
    app = draw("adapters", **BLEND)
    assert not app.error
    runs = {run.id for run in filled.members(filled.experiments()[0]) if run.spec.role == "adapter"}
    assert {app.selectbox(key="blend-first").value, app.selectbox(key="blend-second").value} == runs
    app.button(key="blend-run").click().run()
    assert "LoRA r=8" in texts(app)
    assert not app.warning
    table = next(frame.value for frame in app.dataframe if "With the adapter" in frame.value)
    assert list(table["Task"]) == ["digits, rotated 45°", "digits (the base's task)"]
    app.run()  # the blend stays
    assert "LoRA r=8" in texts(app)
    app.slider(key="blend-first-weight").set_value(1.0).run()
    assert "LoRA r=8" not in texts(app)
    app.selectbox(key="blend-rank").set_value(2).run()
    app.button(key="blend-run").click().run()
    assert "LoRA r=2" in texts(app)
    assert re.match(r"Rank 2 keeps \d+\.\d\d % of the sum's energy", app.warning[0].value)


def test_one_adapter_is_not_enough(opened: Lab) -> None:
    assert "A blend takes two adapters" in texts(draw("adapters", **BLEND))


def test_the_second_choice_begins_with_the_best_of_the_task_and_not_with_the_newest(everything: Lab) -> None:
    app = draw("adapters", **BLEND)
    first = everything.run(app.selectbox(key="blend-first").value)
    second = everything.run(app.selectbox(key="blend-second").value)
    own = [
        run
        for run in everything.runs(states=["finished"])
        if run.spec.role == "adapter" and run.spec.task == first.spec.task and run.spec.base == first.spec.base
    ]
    assert len(own) > 3
    arms = [arm.finished_only for arm in arms_of(run for run in own if run.id != first.id)]
    beside = [arm for arm in arms if arm.spec.own_base == second.spec.own_base]  # those of one comparison
    (better,) = {arm.key for arm in beside if arm.validated.mean == max(each.validated.mean for each in beside)}
    assert len(beside) > 2
    assert second.spec.arm == better
