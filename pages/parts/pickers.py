"""Names of runs and experiments for people, and the widgets that choose among them."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from core.lab import Lab
from core.runs.record import Experiment, Run
from core.spec import TaskSpec
from core.study.wording import percent

STATE_ICONS = {
    "queued": ":material/schedule:",
    "running": ":material/play_circle:",
    "finished": ":material/check_circle:",
    "stopped": ":material/stop_circle:",
    "failed": ":material/error:",
    "interrupted": ":material/power_off:",
}
STATE_COLOURS = {
    "queued": "gray",
    "running": "blue",
    "finished": "green",
    "stopped": "orange",
    "failed": "red",
    "interrupted": "orange",
}


def when(seconds: float) -> str:
    """A moment, in this machine's time."""
    return datetime.fromtimestamp(seconds).strftime("%d %b %H:%M")


def task_text(task: TaskSpec) -> str:
    """A task in a few words, as in ``mnist, classes 0–4, turned 45°``."""
    words = [task.dataset]
    if task.classes:
        first, last = task.classes[0], task.classes[-1]
        run = task.classes == tuple(range(first, last + 1))
        words.append(f"classes {first}–{last}" if run else f"classes {', '.join(map(str, task.classes))}")
    if task.rotation:
        words.append(f"turned {task.rotation:g}°")
    if task.invert:
        words.append("inverted")
    if task.permutation is not None:
        words.append("pixels shuffled")
    if task.shots:
        words.append(f"{task.shots} a class")
    return ", ".join(words)


def base_text(run: Run) -> str:
    """A base in one line."""
    accuracy = percent(run.result.accuracy) if run.result else run.state
    return f"{task_text(run.spec.task)} · {accuracy} · {run.spec.optim.epochs} epochs · {run.id}"


def base_picker(lab: Lab, key: str) -> Run | None:
    """A choice among the bases, the newest first; None where there is none yet."""
    bases = {run.id: run for run in lab.bases()}
    if not bases:
        return None
    wanted = st.query_params.get("base")
    choice = st.selectbox(
        "Base",
        list(bases),
        list(bases).index(wanted) if wanted in bases else 0,
        format_func=lambda id: base_text(bases[id]),
        help="The pretrained network that every run of the experiment starts from.",
        key=key,
    )
    return bases[choice]


def experiment_text(lab: Lab, experiment: Experiment) -> str:
    """An experiment in one line."""
    live = sum(run.is_live for run in lab.members(experiment))
    return f"{experiment.name} · {when(experiment.created)}" + (f" · {live} still to come" if live else "")


def experiment_picker(lab: Lab) -> Experiment | None:
    """A choice among the experiments; it stands in the URL, so the page can be shared."""
    experiments = {experiment.id: experiment for experiment in lab.experiments()}
    if not experiments:
        return None
    names = {id: experiment_text(lab, experiment) for id, experiment in experiments.items()}
    choice = st.selectbox(
        "Experiment", list(experiments), format_func=names.__getitem__, key="experiment", bind="query-params"
    )
    return experiments[choice]


def state_badge(run: Run) -> None:
    """The run's state, as a coloured word."""
    st.badge(run.state, icon=STATE_ICONS[run.state], color=STATE_COLOURS[run.state])  # type: ignore[arg-type]
