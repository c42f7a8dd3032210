"""The networks that answer: a seed of an experiment, and some of its settings."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.results.arm import Arm, arms_of, named
from core.results.row import rows_of
from core.store.record import Experiment, Run
from core.study.report.answer import last_read
from core.study.weights.change import main_arms
from core.wording.tasks import task_text
from pages.shared.ui.literal import literal

FIRST = 8
"""Maximum number of settings that are chosen at first where there is no answer."""


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


def choose(lab: Lab, experiment: Experiment) -> Chosen | None:
    """Draw the choices; say why and return None if no run has a result yet, or nothing is chosen.

    Args:
        lab: has the experiment.
        experiment: at first, the settings that its answer is about are chosen.
    """
    members = lab.store.members(experiment)
    done = [run for run in members if run.result is not None]
    arms = {arm.key: arm for arm in arms_of(rows_of(done))}
    if not arms:
        st.info("Networks can be tried once a run of this experiment has a result.", icon=":material/info:")
        return None
    answered = [arm.key for arm in last_read(lab, experiment, members).compared if arm.key in arms]
    first = answered if len(answered) > 1 else [arm.key for arm in main_arms(done)][:FIRST]
    specs = done[0].spec
    tasks = {"Target": specs.task} | ({"Source": specs.source} if specs.source is not None else {})
    networks, seeds = f"try-networks-{experiment.id}", sorted({run.spec.seed for run in done})
    with st.container(horizontal=True, vertical_alignment="bottom"):
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
        count = len(st.session_state.get(networks, first))
        menu = st.popover(f"Networks: the base and {count} of {len(arms)}", icon=":material/hub:", key="try-menu")
    with menu:
        asked = st.pills(
            "Networks",
            list(arms),
            selection_mode="multi",
            default=first,
            wrap=True,
            format_func=lambda key: literal(arms[key].label),
            key=networks,
            help="Each setting of the experiment, at first those that its answer is about.",
        )
        seed = st.selectbox("Seed", seeds, key="try-seed")
    keys = [key for key in arms if key in asked]
    task = tasks[name or "Target"]
    st.caption(f"{name or 'Target'}: {literal(task_text(task, specs.objective))}")
    found = [(arms[key], run) for key in keys for run in arms[key].runs if run.spec.seed == seed]
    missing = [arms[key].label for key in keys if key not in {arm.key for arm, _ in found}]
    told = st.empty()  # always there: a fragment below is known by its place, and so are presses in it
    if missing:
        told.caption(f"Not trained with seed {seed}: {literal(', '.join(missing))}.")
    if not found:
        st.info("Choose at least one network that was trained with this seed.", icon=":material/info:")
        return None
    return Chosen(tuple(run for _, run in found), tuple(named([arm for arm, _ in found])), task)
