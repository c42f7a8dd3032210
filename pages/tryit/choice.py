"""The networks that answer on the Try it page: an experiment, a seed, and some of its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from core.data.task_spec import TaskSpec
from core.store.record import Run
from core.study.arms.arm import Arm, arms_of
from core.study.weights.change import main_arms
from core.wording.tasks import task_text
from pages.shared.ui.literal import literal

FIRST = 8
"""Number of settings that are chosen at first."""


@dataclass(frozen=True)
class Chosen:
    """What answers, and what it is asked about."""

    runs: tuple[Run, ...]
    """One per setting, of one seed; at least one."""
    arms: tuple[Arm, ...]
    """The setting of each."""
    task: TaskSpec
    """The target or the source."""

    @property
    def is_target(self) -> bool:
        """Whether the task is the one that all were fine-tuned on."""
        return self.task == self.runs[0].spec.task


def choose(members: Sequence[Run]) -> Chosen | None:
    """Draw the choices; say why and return None if no run has a result yet, or nothing is chosen.

    Args:
        members: all runs of one experiment.
    """
    done = [run for run in members if run.result is not None]
    arms = {arm.key: arm for arm in arms_of(done)}
    if not arms:
        st.info("Networks can be tried once a run of this experiment has a result.", icon=":material/info:")
        return None
    seeds = sorted({run.spec.seed for run in done})
    first = [arm.key for arm in main_arms(done)][:FIRST]
    networks, number, view = st.columns([4, 1, 2], gap="medium", vertical_alignment="bottom")
    with networks:
        keys = st.pills(
            "Networks",
            list(arms),
            selection_mode="multi",
            default=first,
            format_func=lambda key: literal(arms[key].label),
            key=f"try-networks-{members[0].experiment}",
            wrap=True,
            help="Each setting of the experiment, at first those that validation chose.",
        )
    with number:
        seed = st.selectbox("Seed", seeds, key="try-seed")
    specs = done[0].spec
    tasks = {"Target": specs.task} | ({"Source": specs.source} if specs.source is not None else {})
    with view:
        name = st.segmented_control(
            "Task",
            list(tasks),
            default="Target",
            required=True,
            key="try-task",
            bind="query-params",
            help="Whose test examples are shown and compared, and as whose your own images are transformed. On the "
            "source one sees what was forgotten.",
        )
    task = tasks[name or "Target"]
    st.caption(f"{name or 'Target'}: {literal(task_text(task, specs.objective))}")
    found = [(arms[key], run) for key in keys for run in arms[key].runs if run.spec.seed == seed]
    missing = [arms[key].label for key in keys if key not in {arm.key for arm, _ in found}]
    if missing:
        st.caption(f"Not trained with seed {seed}: {literal(', '.join(missing))}.")
    if not found:
        st.info("Choose at least one network that was trained with this seed.", icon=":material/info:")
        return None
    return Chosen(tuple(run for _, run in found), tuple(arm for arm, _ in found), task)
