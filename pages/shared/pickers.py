"""Names of runs and experiments for people, and the widgets that choose among them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import streamlit as st

from core.lab import Lab
from core.store.record import Experiment, Run
from core.wording.numbers import percent
from core.wording.tasks import task_text

__all__ = ["base_picker", "base_text", "experiment_picker", "pick", "state_badge", "task_text", "when"]

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


def base_text(run: Run) -> str:
    """A base in one line."""
    accuracy = percent(run.result.accuracy) if run.result else run.state
    return f"{task_text(run.spec.task)} · {accuracy} · {run.spec.optim.epochs} epochs · {run.id}"


def pick(label: str, names: Mapping[str, str], query: str, help: str | None = None) -> str:
    """A choice that always stands in the address, so that a link to it keeps its meaning when newer things come.

    Args:
        label: of the widget.
        names: what can be chosen, and how it is called; the first is chosen where the address names none.
        query: the address's parameter.
        help: shown at the label.
    """
    ids, wanted = list(names), st.query_params.get(query)
    place = ids.index(wanted) if wanted in names else 0
    choice: str = st.selectbox(label, ids, place, format_func=names.__getitem__, help=help, key=f"pick-{query}")
    st.query_params[query] = choice
    return choice


def base_picker(lab: Lab) -> Run | None:
    """A choice among the bases, the newest first; None where there is none yet."""
    bases = {run.id: run for run in lab.bases()}
    if not bases:
        return None
    names = {id: base_text(run) for id, run in bases.items()}
    return bases[pick("Base", names, "base", "The pretrained network that every run of the experiment starts from.")]


def experiment_text(lab: Lab, experiment: Experiment) -> str:
    """An experiment in one line."""
    live = sum(run.is_live for run in lab.members(experiment))
    return f"{experiment.name} · {when(experiment.created)}" + (f" · {live} still to come" if live else "")


def experiment_picker(lab: Lab) -> Experiment | None:
    """A choice among the experiments, the newest first; None where there is none yet."""
    experiments = {experiment.id: experiment for experiment in lab.experiments()}
    if not experiments:
        return None
    names = {id: experiment_text(lab, experiment) for id, experiment in experiments.items()}
    return experiments[pick("Experiment", names, "experiment")]


def state_badge(run: Run) -> None:
    """The run's state, as a coloured word."""
    if run.stop_asked and run.is_live:  # its result is still to be made: of a large network that takes seconds
        st.badge("stopping", icon=":material/stop_circle:", color="orange")
        return
    st.badge(run.state, icon=STATE_ICONS[run.state], color=STATE_COLOURS[run.state])  # type: ignore[arg-type]
