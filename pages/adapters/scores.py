"""Accuracy of a base and of the base with an adapter, on some tasks."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.data.task_spec import TaskSpec
from core.engine.trial import Score
from core.wording.numbers import count_text, percent, points_text
from core.wording.tasks import task_text
from pages.shared.pickers import base_label


def show_scores(scores: Sequence[Score], own: TaskSpec | None, has_new_head: bool) -> None:
    """Draw a table.

    Args:
        scores: one row each.
        own: the task that the base was trained on, if any.
        has_new_head: whether the base has a head that nothing has trained, so that its accuracy is chance, and the
            difference from it says nothing.
    """
    accuracies = [(score.before.measures["accuracy"], score.after.measures["accuracy"]) for score in scores]
    differences = [points_text(after - before) for before, after in accuracies]
    st.dataframe(
        {
            "Task": [task_text(score.task) + (" (the base's task)" if score.task == own else "") for score in scores],
            "Test examples": [count_text(score.examples) for score in scores],
            base_label(has_new_head): [percent(before) for before, _ in accuracies],
            "With the adapter": [percent(after) for _, after in accuracies],
        }
        | ({} if has_new_head else {"Difference": differences}),
        hide_index=True,
        alt="Accuracy of the base and of the base with the adapter on each task",
    )
