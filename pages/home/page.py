"""Home: the question, the button that answers it, and the answer."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from core.answer.lines import headline
from core.lab import Lab, current
from core.store.record import Experiment, is_under_way
from core.study.report.answer import last_read, with_bases
from core.study.report.example import example, example_verdict
from core.wording.tasks import bases_text
from pages.home.answer import answer, answer_while_growing, evidence_of
from pages.home.asked import asked_by
from pages.home.question import SHOWN, fill_question, question
from pages.shared.experiment.current import asked_for, known, missing_sentence, remember
from pages.shared.experiment.judged_row import judged_row
from pages.shared.experiment.live import is_watched, live_panel
from pages.shared.experiment.notice import notice_of_recovery
from pages.shared.experiment.start import was_known
from pages.shared.experiment.verdict_view import level_badge, verdict_view
from pages.shared.ui.in_view import ask_to_see, in_view
from pages.shared.ui.links import ENTRIES, link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import when


def example_answer() -> None:
    """Draw the answer of the experiment that ships with the project; no run of it can be opened."""
    shown = example()
    found = example_verdict()
    with st.container(border=True):
        st.caption(
            f"**Example: {literal(shown.name)}**, with {bases_text(shown.runs[0].spec)}. This is what an answer looks "
            f"like. These {len(shown.runs)} runs were not trained on this machine; your own answer takes their place."
        )
        verdict_view(found)
        evidence_of(found, found.rows, "example")


def earlier(lab: Lab, experiments: Iterable[Experiment]) -> None:
    """Draw one row per experiment: time, name and level, below them the answer, and a link."""
    st.subheader("Earlier")
    for experiment in experiments:
        members = lab.store.members(experiment)
        found = last_read(lab, experiment, members)
        with st.container(border=True, gap="small"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(when(experiment.created), width="content")
                st.markdown(f"**{literal(experiment.name)}**", width="content")
                level_badge(found)
                st.space("stretch")
                # A link to the page that is open leaves the address as it is.
                st.button(
                    "Open",
                    icon=ENTRIES["home"].icon,
                    key=f"open-{experiment.id}",
                    on_click=_open,
                    args=(experiment.id,),
                )
            if trained := lab.experiments.trained_text(experiment, members):
                st.caption(literal(trained))
            st.caption(literal(headline(found)))


def _open(id: str) -> None:
    """Show an experiment, whose answer is far above on a small screen."""
    remember(id)
    ask_to_see(id)


RUNNING = "running"
"""What :func:`in_view` calls the place of what trains."""


def jump(words: str, icon: str, place: str) -> None:
    """Draw a line above the form that says what is below it, far away on a small screen, and goes there when pressed.

    Args:
        words: plain text.
        icon: of the line.
        place: as of :func:`in_view`.
    """
    st.button(literal(words), icon=icon, type="tertiary", key=f"below-{place}", on_click=ask_to_see, args=(place,))


LISTED = 12
"""Number of experiments on the page; Compare has them all."""

lab = current()


def is_running(experiment: Experiment) -> bool:
    """Whether a run of an experiment is queued or running, or will be."""
    return is_under_way(lab.store.members(experiment))


def watch(experiment: Experiment) -> None:
    """Show the runs of an experiment and its bases."""
    runs = with_bases(lab, lab.store.members(experiment))
    live_panel(lab, [run.id for run in runs], _panel(experiment), experiment.name)


def _panel(experiment: Experiment) -> str:
    return f"home-{experiment.id}"


st.title("Full fine-tuning or LoRA?")
with st.container(horizontal=True, vertical_alignment="center"):
    st.caption(
        "Full fine-tuning trains every weight of a network; LoRA freezes it and trains two small matrices beside each.",
        width="content",
    )
    link("learn", "How LoRA works")
notice_of_recovery(lab)

experiments = lab.store.experiments(LISTED)
asked = asked_for(lab)
named = known(lab, asked) if asked else None
live = {row.id for row in lab.store.experiment_rows(LISTED) if row.live}
# What trains, or trained here, is what this page is about, also where it was asked before others.
foremost = [experiment for experiment in experiments if experiment.id in live or is_watched(_panel(experiment))]
shown = named if asked else next(iter(foremost or experiments), None)
running = [experiment for experiment in experiments if experiment.id in live]
if shown is not None and shown not in running and is_running(shown):
    running.append(shown)

fill_question(lab, named, shown, next(iter(running), None))
if running:
    jump(f"Training now: {running[-1].name}", ":material/play_circle:", RUNNING)
below = named if named is not None else shown if shown is not None and is_watched(_panel(shown)) else None
if below is not None and below not in running:
    jump(f"Shown below: {below.name}", ":material/arrow_downward:", below.id)
with st.container(border=True):
    form = question(lab)
if form.started is not None:
    remember(form.started.id)
    st.session_state[SHOWN] = form.started.id  # the form has its question
    if was_known(form.started) and not is_running(form.started):
        ask_to_see(form.started.id)
    st.rerun()
if asked and shown is None:
    st.warning(literal(f"{missing_sentence(asked)} Choose another one below."), icon=":material/link_off:")

if running:
    in_view(RUNNING)
    if shown is not None and shown in running:
        in_view(shown.id)
    st.subheader("Running now")
for experiment in running[::-1]:
    watch(experiment)

if shown is not None and shown in running:
    answer_while_growing(lab, shown)
elif shown is not None:
    in_view(shown.id)
    is_asked = form.question is None or form.question.is_like(asked_by(lab, lab.store.members(shown)))
    if not is_asked:
        st.subheader("Answer to another question")
    answer(lab, shown, is_asked)
    if is_watched(_panel(shown)):
        watch(shown)
if others := [e for e in experiments if e != shown and e not in running]:
    earlier(lab, others)
if judged := lab.judged.list(LISTED):
    st.subheader("Results from elsewhere")
    for each in judged:
        judged_row(lab, each)
if not experiments:
    example_answer()
form.draw_price()
