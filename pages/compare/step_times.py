"""Measuring the time of a training step: a button on Compare, its progress, and the table."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.errors import LabError
from core.forecast.step_time import ROUNDS, StepTimeSpec
from core.lab import Lab
from core.settings import choose_device
from core.study.arms.arm import Arm
from core.study.arms.step_times import conditions_sentence, step_time_spec, step_times_sentence, step_times_table
from pages.shared.ui.literal import literal

TICK = 1.0
"""Seconds between two updates while something is measured."""


def step_times(lab: Lab, arms: Sequence[Arm]) -> None:
    """Offer to measure full fine-tuning and LoRA alternately, and show what was measured."""
    spec = step_time_spec(arms, choose_device(arms[0].spec.device).type)
    if spec is None:
        return
    st.markdown("**Time of one step under the same conditions**")
    st.caption(
        "Times of stored runs are no comparison of methods: runs of one bank share their time, and others may have "
        "trained beside them. This times one step of each method, alternately and alone, here and in plain PyTorch."
    )
    progress = lab.timer.progress(spec)
    measuring = progress is not None and not progress.ended
    st.fragment(_panel, run_every=TICK if measuring else None)(lab, spec, measuring)


def _panel(lab: Lab, spec: StepTimeSpec, was_measuring: bool) -> None:
    progress = lab.timer.progress(spec)
    if progress is not None and not progress.ended:
        words = "Waits until training has ended" if progress.waiting else f"Round {progress.done + 1} of {ROUNDS}"
        st.progress(progress.done / ROUNDS, words)
        st.button("Cancel", icon=":material/close:", key="cancel-step-times", on_click=lab.timer.cancel)
        return
    if was_measuring:
        st.rerun()
    if st.button("Measure time", icon=":material/timer:", key="measure-step-times"):
        try:
            lab.timer.start(spec)
        except LabError as error:
            st.error(literal(str(error)))
        else:
            st.rerun()
    if progress is not None and progress.error:
        st.error(literal(progress.error))
    if (times := lab.timer.found(spec)) is not None:
        st.dataframe(
            step_times_table(times), hide_index=True, alt="Milliseconds per step and ratio to full fine-tuning"
        )
        st.markdown(literal(step_times_sentence(times)))
        st.caption(literal(conditions_sentence(times)))
