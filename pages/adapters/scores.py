"""Accuracy of a base and of the base with an adapter, on some tasks."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.data.task_spec import TaskSpec
from core.engine.trial import Score
from core.wording.numbers import count_text, percent, points_text
from core.wording.tasks import task_text


def show_scores(scores: Sequence[Score], own: TaskSpec | None) -> None:
    """Draw a table. Args: scores: one row each; own: the task that the base was trained on, if any."""
    st.dataframe(
        {
            "Task": [task_text(score.task) + (" (the base's task)" if score.task == own else "") for score in scores],
            "Test examples": [count_text(score.examples) for score in scores],
            "Base": [percent(score.before.accuracy) for score in scores],
            "With the adapter": [percent(score.after.accuracy) for score in scores],
            "Difference": [points_text(score.after.accuracy - score.before.accuracy) for score in scores],
        },
        hide_index=True,
        alt="Accuracy of the base and of the base with the adapter on each task",
    )
