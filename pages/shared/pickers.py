"""Names of runs and experiments, and widgets that choose among them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import streamlit as st

from core.lab import Lab
from core.store.record import Experiment, Run
from core.wording.numbers import percent
from core.wording.tasks import task_text

__all__ = ["base_facts", "base_picker", "base_text", "experiment_picker", "pick", "state_badge", "task_text", "when"]

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
    """Format a Unix time in this machine's time zone, as in ``25 Nov 20:15``."""
    return datetime.fromtimestamp(seconds).strftime("%d %b %H:%M")


def base_text(run: Run) -> str:
    """Describe a base in one line."""
    return f"{task_text(run.spec.task)} · {base_facts(run)}"


def base_facts(run: Run) -> str:
    """Return accuracy, epochs and id of a base in one line, without its task."""
    accuracy = percent(run.result.accuracy) if run.result else run.state
    epochs = run.spec.optim.epochs
    return f"{accuracy} · {epochs} epoch{'' if epochs == 1 else 's'} · {run.id}"


def pick(label: str, names: Mapping[str, str], query: str, help: str | None = None) -> str:
    """Draw a choice that is always kept in the URL, so that a link to it stays valid when there are newer items.

    Args:
        label: of the widget.
        names: the items by id, with the text shown for each; the first is the default.
        query: name of the URL parameter.
        help: tooltip of the label.

    Returns:
        The id of the chosen item.
    """
    ids, wanted = list(names), st.query_params.get(query)
    place = ids.index(wanted) if wanted in names else 0
    choice: str = st.selectbox(label, ids, place, format_func=names.__getitem__, help=help, key=f"pick-{query}")
    st.query_params[query] = choice
    return choice


def base_picker(lab: Lab) -> Run | None:
    """Draw a choice of bases, newest first; return None if there are none."""
    bases = {run.id: run for run in lab.bases()}
    if not bases:
        return None
    names = {id: base_text(run) for id, run in bases.items()}
    return bases[pick("Base", names, "base", "The pretrained network to start from.")]


def experiment_text(lab: Lab, experiment: Experiment) -> str:
    """Describe an experiment in one line."""
    live = sum(run.is_live for run in lab.members(experiment))
    return f"{experiment.name} · {when(experiment.created)}" + (f" · {live} unfinished" if live else "")


def experiment_picker(lab: Lab) -> Experiment | None:
    """Draw a choice of experiments, newest first; return None if there are none."""
    experiments = {experiment.id: experiment for experiment in lab.experiments()}
    if not experiments:
        return None
    names = {id: experiment_text(lab, experiment) for id, experiment in experiments.items()}
    return experiments[pick("Experiment", names, "experiment")]


def state_badge(run: Run) -> None:
    """Draw a badge with the state of a run."""
    if run.stop_asked and run.is_live:  # it still writes its result, which takes seconds for a large network
        st.badge("stopping", icon=":material/stop_circle:", color="orange")
        return
    st.badge(run.state, icon=STATE_ICONS[run.state], color=STATE_COLOURS[run.state])  # type: ignore[arg-type]
