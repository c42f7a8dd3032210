"""Home: the question, the button that answers it, and the answer."""

from __future__ import annotations

import streamlit as st

from core.lab import current
from core.study.report.evidence import bases_of
from pages.home.answer import answer, earlier
from pages.home.example import example_answer
from pages.home.question import question
from pages.shared.live import live_panel
from pages.shared.restore import offer_to_restore

LISTED = 12
"""Number of experiments on the page; Compare has them all."""

lab = current()

st.title("Full fine-tuning or LoRA?")
offer_to_restore(lab)

with st.container(border=True):
    started = question(lab)
if started is not None:
    st.query_params["experiment"] = started.id
    st.rerun()

experiments = lab.experiments(LISTED)
running = [e for e in experiments if any(run.is_live for run in lab.members(e))]
if running:
    st.subheader("Running now")
    live = {run.id for run in lab.live()}
    bases = dict.fromkeys(id for e in running for id in bases_of(lab.members(e)) if id in live)
    live_panel(lab, [*bases, *(id for e in running[::-1] for id in e.runs)], "home-live")

done = [e for e in experiments if e not in running]
wanted = st.query_params.get("experiment")
shown = next((e for e in done if e.id == wanted), done[0] if done else None)
if shown is not None:
    answer(lab, shown)
    if others := [e for e in done if e is not shown]:
        earlier(lab, others)
if not experiments:
    example_answer()
