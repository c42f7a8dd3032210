"""Where runs train: the choice of an executor, the nodes of a cluster, and which jobs are on them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.engine.jobs.executor import ClusterJob, Node
from core.errors import LabError
from core.lab import Lab
from core.numbers import bytes_text, counted
from core.settings import THREADS
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.literal import literal

CHOICE = "runs-executor"
"""Session state key of the choice."""

PROBLEM = "runs-executor-problem"
"""Session state key of why the last choice was not possible."""

TICK = 2.0
"""Seconds between two updates."""


def where_runs_train(lab: Lab) -> None:
    """Draw the choice and the cluster, where there is more than this machine."""
    if len(lab.executors.titles) > 1 or lab.executors.name != THREADS:
        with st.expander("Where runs train", icon=":material/lan:"):
            st.fragment(_cluster, run_every=TICK)(lab)


def _cluster(lab: Lab) -> None:
    titles = lab.executors.titles
    if len(titles) > 1:
        st.session_state[CHOICE] = lab.executors.name  # somebody else may have changed it
        st.segmented_control(
            "The next jobs run on",
            list(titles),
            format_func=titles.__getitem__,
            required=True,
            key=CHOICE,
            on_change=_choose,
            args=(lab,),
            help="For everybody who uses this dashboard, until it is restarted. Jobs that run stay where they are.",
        )
    if problem := st.session_state.get(PROBLEM) or lab.executors.current.machines.problem():
        st.warning(literal(problem))
    nodes, running = lab.executors.nodes(), lab.executors.running()
    if nodes:
        dataframe(_table(nodes, running), hide_index=True, alt="The nodes of the cluster, and the jobs on each")
    for job in (job for job in running if not job.node):
        st.caption(f"{literal(_text(job))}: waiting for room in the cluster.")


def _choose(lab: Lab) -> None:
    try:
        lab.train_on(st.session_state[CHOICE])
        st.session_state.pop(PROBLEM, None)
    except LabError as error:
        st.session_state[PROBLEM] = str(error)


def _table(nodes: Sequence[Node], running: Sequence[ClusterJob]) -> pd.DataFrame:
    """A row per node."""
    return pd.DataFrame(
        {
            "Node": node.name,
            "CPUs": node.cpus,
            "GPUs": node.gpus,
            "Memory": bytes_text(node.memory),
            "In training": "; ".join(_text(job) for job in running if job.node == node.id),
        }
        for node in nodes
    )


def _text(job: ClusterJob) -> str:
    return f"{job.label}, {counted(len(job.runs), 'run')}"
