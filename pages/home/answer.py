"""An experiment's answer on the first page: verdict, figures, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from core.answer.lines import name_of
from core.lab import Lab
from core.numbers import bytes_text, capitalized, count_text, unbroken
from core.results.arm import Arm, named
from core.results.choice import chosen_arms, dropped_sentences
from core.results.row import Row, rows_of
from core.rule.controls import misleading_sentence
from core.rule.place import Place
from core.store.record import Experiment, Run, stages_of
from core.study.figures.palette import colours_of
from core.study.report.answer import answer_before, place_of
from core.wording.tasks import bases_text, judged_text
from pages.shared.experiment.actions import experiment_actions, rank_view
from pages.shared.experiment.start import was_known
from pages.shared.experiment.state import deleted_line, state_line
from pages.shared.experiment.verdict_view import adapter_button, before_view, checks_view, difference_view, verdict_view
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when


def answer(lab: Lab, experiment: Experiment, is_asked: bool = True) -> None:
    """Draw the experiment's verdict. Args: is_asked: whether it is the answer to the question of the page."""
    members = lab.store.members(experiment)
    rows, found = rows_of(members), place_of(lab, experiment, members)
    with st.container(border=True):
        judged = f"{bases_text(members[0].spec)} · judged by {judged_text(members[0].spec.objective)}"
        st.caption(f"{called(lab, experiment, members)} · {when(experiment.created)} · {judged}")
        if is_asked and was_known(experiment) and not found.reason:
            st.info("This was compared before: here is the answer.", icon=":material/info:")
        state_line(lab, members, f"home-{experiment.id}", found)
        deleted_line(lab, experiment, members, f"home-{experiment.id}")
        before = answer_before(lab, experiment, members) if found.unread else None
        verdict_view(found, before)
        if before is not None:
            _before(before, experiment, members)
        for sentence in [] if found.unread else dropped_sentences(rows):
            st.warning(literal(sentence))
        evidence_of(found, rows, experiment.id, lambda: rank_view(lab, experiment, found))
        with st.container(horizontal=True, vertical_alignment="center"):
            adapter_button(found if before is None else before, f"home-{experiment.id}")
            link("experiment", "Open", {"experiment": experiment.id})
            experiment_actions(lab, experiment, found)


def called(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> str:
    """Name of an experiment, followed by what it trained if the name was chosen by somebody; Markdown."""
    return " · ".join(
        literal(each) for each in (experiment.name, lab.experiments.trained_text(experiment, members)) if each
    )


def answer_while_growing(lab: Lab, experiment: Experiment) -> None:
    """Draw the answer that an experiment had before runs were added that train now; nothing where it had none."""
    members = lab.store.members(experiment)
    before = answer_before(lab, experiment, members)
    if before is not None:
        with st.container(border=True):
            st.caption(f"{called(lab, experiment, members)} · judged by {judged_text(members[0].spec.objective)}")
            _before(before, experiment, members)
            adapter_button(before, f"home-{experiment.id}")
    elif experiment.plan is None and len(stages_of(members)) > 1:
        st.caption("The answer comes back, with what was added, once all of these runs have ended.")


def _before(before: Place, experiment: Experiment, members: Sequence[Run]) -> None:
    before_view(before, members)
    evidence_of(before, before.rows, experiment.id)


def evidence_of(found: Place, rows: Sequence[Row], owner: str, ranks: Callable[[], None] | None = None) -> None:
    """Draw the figure, accuracy, parameters and storage of both sides, and the checks.

    Args:
        found: the verdict.
        rows: all of the experiment.
        owner: its id.
        ranks: draws whether the rank mattered.
    """
    told, full = found.told, found.full
    if told is None or full is None or found.unread:
        return
    measure = told.arm.spec.objective.primary
    left, right = st.columns([3, 2], gap="large", vertical_alignment="center")
    with left:
        difference_view(found, named(chosen_arms(rows)), colours_of(row.setting for row in rows), owner)
    arms = [full, told.arm]
    with right:
        table = pd.DataFrame(
            {
                "Setting": [capitalized(name_of(full, found)), name_of(told.arm, found)],
                f"Test {measure.noun}": [unbroken(measure.text(arm.interval(measure.name).mean, 1)) for arm in arms],
                "Trained": [count_text(arm.trained) for arm in arms],
                "File": [unbroken(bytes_text(stored(arm))) for arm in arms],
            }
        )
        st.table(
            table,
            hide_index=True,
            border="horizontal",
            alt=f"Test {measure.noun}, trained parameters and size of the file",
        )
    if warning := misleading_sentence(full.rows[0]):
        st.warning(warning)
    if ranks is not None:
        ranks()
    checks_view(found, f"checks-{owner}")


def stored(arm: Arm) -> float:
    """Bytes that one run of an arm takes to store."""
    return arm.interval("stored_bytes").mean
