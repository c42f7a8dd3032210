"""The adapters of runs to choose from: that of the answer first."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.methods.method import Role
from core.methods.registry import methods
from core.numbers import count_text
from core.store.record import Run
from core.study.arms.sweep import setting_text
from pages.shared.experiment.current import offered_here
from pages.shared.ui.pickers import task_text, when

LISTED = 500
"""Maximum number of adapters to choose from, the newest."""


def listed_adapters(lab: Lab, asked: str | None = None) -> dict[str, Run]:
    """The runs with an adapter, by id, that of the answer first; say where there are more of them than are listed.

    Args:
        lab: has the runs.
        asked: id of a run that is listed in any case, if it exists and has an adapter.
    """
    found = lab.runs(methods=list(methods(Role.ADAPTER)), states=["finished", "stopped"], limit=LISTED + 1)
    if len(found) > LISTED:
        st.caption(f"Only the newest {count_text(LISTED)} adapters are listed; the Runs page links to older ones.")
    listed = found[:LISTED]
    older = lab.runs_of([asked]) if asked and asked not in {run.id for run in listed} else []
    offered = offered_here(lab)
    everything = [*([offered] if offered else []), *listed, *older]
    return {run.id: run for run in everything if run.result is not None and run.spec.role is Role.ADAPTER}


def adapter_text(run: Run) -> str:
    """Describe a run's adapter in one line: setting, seed, score on the test part, task and time."""
    spec = run.spec
    return (
        f"{setting_text(spec)}, seed {spec.seed} · {run.score_text()} · {task_text(spec.task, spec.objective)} · "
        f"{when(run.created)}"
    )
