"""Scores of a base and of the base with an adapter, on some tasks."""

from __future__ import annotations

from collections.abc import Sequence

from core.artifacts.trial import Score
from core.data.task_spec import TaskSpec
from core.numbers import count_text, listed
from core.wording.tasks import task_text
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.pickers import base_label


def show_scores(scores: Sequence[Score], own: TaskSpec | None, has_new_head: bool, learned: TaskSpec | None) -> None:
    """Draw a table.

    Args:
        scores: one row each, at least one; all by one measure.
        own: the task that the base was trained on, if any.
        has_new_head: whether the base has a head that nothing has trained, so that its score is chance, and the
            difference from it says nothing.
        learned: the task that the adapter was trained on, where one is known.
    """
    notes = {own: " (the base's task)"} | {learned: " (the adapter's task)"}
    before, after = ([score.measure.text(score.values[k]) for score in scores] for k in (0, 1))
    differences = [score.measure.change_text(score.values[1] - score.values[0]) for score in scores]
    titles = list(dict.fromkeys(score.measure.title for score in scores))
    dataframe(
        {
            "Task": [task_text(score.task, score.objective) + notes.get(score.task, "") for score in scores],
            "Test examples": [count_text(score.examples) for score in scores],
            base_label(has_new_head): before,
            "With the adapter": after,
        }
        | ({} if has_new_head else {"Difference": differences}),
        hide_index=True,
        alt=f"{listed(titles)} of the base and of the base with the adapter on each task",
    )
