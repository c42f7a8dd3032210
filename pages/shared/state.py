"""What became of runs, in the same words on every page, and the buttons that stop and resume all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.store.record import Run
from core.study.report.evidence import bases_of

STATES = ("running", "queued", "stopped", "failed", "interrupted")


def state_text(runs: Sequence[Run]) -> str:
    """Describe the states of runs, as in ``12 of 20 finished, 8 interrupted``."""
    count = Counter(run.state for run in runs)
    words = [f"{count['finished']} of {len(runs)} finished"]
    return ", ".join(words + [f"{count[state]} {state}" for state in STATES if count[state]])


def state_line(lab: Lab, runs: Sequence[Run], key: str) -> None:
    """Say how many runs are not finished, and offer to resume the interrupted ones; draw nothing if all finished."""
    if all(run.state == "finished" for run in runs):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(state_text(runs), width="content")
        resume_button(lab, runs, key)


def resume_button(lab: Lab, runs: Sequence[Run], key: str) -> None:
    """Draw a button that resumes the interrupted ones of these runs, in one call; nothing if there are none."""
    interrupted = [run.id for run in runs if run.state == "interrupted"]
    if interrupted and st.button("Resume all", icon=":material/play_arrow:", key=f"{key}-resume"):
        lab.resume(interrupted)
        st.rerun()


def interrupted_bases(lab: Lab, runs: Sequence[Run]) -> list[Run]:
    """Bases that were interrupted, and for which live ones of these runs wait until somebody resumes them."""
    bases = lab.runs_of(bases_of([run for run in runs if run.is_live]))
    return [base for base in bases if base.state == "interrupted"]


def seconds_left(lab: Lab, live: Sequence[Run]) -> tuple[float | None, float | None]:
    """The least and the most seconds that live runs will still take; None for both while that is not known."""
    try:
        left = lab.estimates.remaining(live)
    except LabError:
        return None, None  # A dataset is gone: its runs will fail, and say so.
    return left.seconds_low, left.seconds_high


def stop_all(lab: Lab, ids: Sequence[str]) -> None:
    """Stop those of these runs that are queued or running, in one call."""
    lab.stop(*(run.id for run in lab.runs_of(ids) if run.is_live))
