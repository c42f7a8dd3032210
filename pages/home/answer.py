"""An experiment's answer on the first page: verdict, figures, and what to do next."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.numbers import bytes_text, count_text, unbroken
from core.store.record import Experiment, Run
from core.study.arms.arm import Arm, judged_by
from core.study.arms.balance import macro_f1_sentence, misleading_sentence
from core.study.arms.choice import dropped_sentences
from core.study.arms.verdict import Verdict
from core.study.arms.verdict_words import headline, name_of
from core.study.figures.differences import difference_rows
from core.study.figures.palette import colours_of
from core.study.report.answer import answer_of
from core.wording.tasks import judged_text
from pages.shared.experiment.actions import experiment_actions
from pages.shared.experiment.start import was_known
from pages.shared.experiment.state import deleted_line, state_line
from pages.shared.experiment.verdict_view import level_badge, verdict_view
from pages.shared.ui.download import download_of_run
from pages.shared.ui.figure_panel import readable
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when


def answer(lab: Lab, experiment: Experiment) -> None:
    """Draw the experiment's verdict as the answer to the question of the page."""
    members = lab.members(experiment)
    found = answer_of(lab, experiment, members)
    with st.container(border=True):
        judged = judged_text(judged_by(members))
        st.caption(f"{literal(experiment.name)} · {when(experiment.created)} · judged by {judged}")
        if was_known(experiment):
            st.caption("This was compared before: here is the answer. Add seeds to make it more certain.")
        state_line(lab, members, f"home-{experiment.id}", found)
        deleted_line(lab, experiment, members, f"home-{experiment.id}")
        verdict_view(found)
        for sentence in dropped_sentences(members):
            st.warning(literal(sentence))
        evidence_of(found, members)
        experiment_actions(lab, experiment, found)
        with st.container(horizontal=True, vertical_alignment="center"):
            link("compare", "Compare", {"experiment": experiment.id})
            link("report", "Report", {"experiment": experiment.id})
            _adapter(found)


def evidence_of(found: Verdict, members: list[Run]) -> None:
    """Draw the difference with its interval, accuracy, parameters and storage of both sides, and their macro-F1."""
    told, full = found.told, found.full
    if told is None or full is None or found.unread:
        return
    measure = told.arm.spec.objective.primary
    left, right = st.columns([3, 2], gap="large", vertical_alignment="center")
    with left:
        figure = difference_rows(found, colours_of(run.spec for run in members), [told])
        alt = f"{measure.title} of {told.arm.label} minus that of full fine-tuning, by seed, with mean and interval"
        st.plotly_chart(readable(figure), key="home-difference", alt=alt, config={"displayModeBar": False})
    with right:
        arms = [full, told.arm]
        table = pd.DataFrame(
            {
                "Setting": ["Full fine-tuning", name_of(told.arm, found)],
                measure.title: [unbroken(measure.text(arm.interval(measure.name).mean, 1)) for arm in arms],
                "Trained": [count_text(arm.trained) for arm in arms],
                "Stored": [unbroken(bytes_text(stored(arm))) for arm in arms],
            }
        )
        st.table(
            table, hide_index=True, border="horizontal", alt=f"{measure.title}, trained parameters and stored size"
        )
    if sentence := macro_f1_sentence([replace(arm, label=arm.name) for arm in arms]):
        st.caption(literal(sentence))
    if warning := misleading_sentence(full.runs[0]):
        st.warning(warning)


def stored(arm: Arm) -> float:
    """Bytes that one run of an arm takes to store."""
    return arm.interval("stored_bytes").mean


def _adapter(found: Verdict) -> None:
    run = found.offered
    if run is None or run.result is None:
        return
    download_of_run(
        f"Adapter {run.spec.label.removeprefix('LoRA ')} · {run.score_text(1)}",
        run.id,
        ADAPTER,
        f"home-adapter-{run.id}",
        help=f"For Hugging Face PEFT. Seed {run.spec.seed}, the best on the validation part; its "
        f"{run.spec.objective.primary.noun} on the test part is on the link.",
    )


def earlier(lab: Lab, experiments: list[Experiment]) -> None:
    """Draw one row per experiment: name, level, headline, and a link."""
    st.subheader("Earlier")
    for experiment in experiments:
        members = lab.members(experiment)
        found = answer_of(lab, experiment, members)
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            st.markdown(f"**{literal(experiment.name)}**", width="content")
            if not found.reason and not found.withheld:
                level_badge(found)
            st.caption(literal(headline(found)), width="stretch")
            link("home", "Open", {"experiment": experiment.id})
