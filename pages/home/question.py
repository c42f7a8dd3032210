"""The question on the first page: what was pretrained, what is to be learned, and how thoroughly to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import streamlit as st

from core.data.dataset import LANGUAGE
from core.engine.launcher import Planned
from core.errors import LabError
from core.lab import Lab
from core.numbers import bytes_text, range_text
from core.run_spec import default_length
from core.store.record import Experiment
from core.study.report.expected import expected_sentences
from core.tasks.presets import suggested_preset
from pages.home.asked import Question, is_imported, is_made, shots_of, target_line, targets, tasks_of
from pages.home.plans import PLANS
from pages.shared.experiment.estimate import redraw_when_measured
from pages.shared.experiment.keep import keep_networks
from pages.shared.experiment.start import runs_text, start_button
from pages.shared.forms.datasets import dataset_picker, learned
from pages.shared.forms.fit import fit_warning
from pages.shared.forms.network import default_network
from pages.shared.forms.task_preview import before_and_after
from pages.shared.forms.view import length
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal

KEY = "home"
"""Prefix of the widget keys."""

LEARNED = f"{KEY}-learned"
"""Key of the choice between the classes of texts and the texts themselves."""


def target_key(kind: str) -> str:
    """Key of the choice of what is learned. Args: kind: of the data, as the network learns it."""
    return f"{KEY}-target-{kind}" if kind == LANGUAGE else f"{KEY}-target"


def direct_key(kind: str) -> str:
    """Key of the choice to fine-tune a network as it was imported. Args: kind: of what is learned."""
    return f"{KEY}-direct-{kind}" if is_made(kind) else f"{KEY}-direct"


@dataclass(frozen=True)
class Asked:
    """What came of the form."""

    started: Experiment | None = None
    """The experiment that was just started, if any."""
    draw_price: Callable[[], None] = lambda: None
    """Draws below the button what the runs will cost and can show, which takes longer than all that is above it."""


def question(lab: Lab) -> Asked:
    """Draw the question and its button, which waits for no forecast."""
    left, right = st.columns(2, gap="medium")
    with left:
        source = dataset_picker(lab, "Dataset" if _is_direct(lab) else "Pretrained on", f"{KEY}-dataset")
        info = learned(lab.catalog.info(source or lab.catalog.best()), LEARNED)
        direct = _choose_start(info.kind)
    with right:
        choices = targets(lab, info, direct)
        target = st.selectbox(
            "Learn",
            list(choices),
            list(choices).index(suggested_preset(info.kind, direct, info.has_classes) or next(iter(choices))),
            format_func=choices.__getitem__,
            key=target_key(info.kind),
            persist_state="session",
        )
        st.caption(target_line(lab, target, info, direct))
    with st.container(horizontal=True):
        link("data", "Upload images or texts")
        link("networks", "Import a network")
    if source is None:
        return Asked()
    try:
        if not direct:
            before, after = tasks_of(lab, source, target, info.kind)
            before_and_after(lab, before, after)
            if shots := shots_of(lab, after):
                st.caption(f"Learned from {shots} images of each class; Fine-tune also takes all of them.")
        network = default_network(lab, info, KEY, direct)
        if network is None:
            return Asked()
        longest = default_length(network)
        if network.reads_tokens:
            longest = length(info.kind, f"{KEY}-length", network)
        asked = Question(source, target, direct, network, longest)
        planned = {name: lab.planned(asked.configuration(lab, plan)) for name, plan in PLANS.items()}
        name = st.radio(
            "How thoroughly",
            list(PLANS),
            format_func=lambda name: PLANS[name].title,
            captions=[f"{runs_text(planned[name])}: {plan.caption(network)}" for name, plan in PLANS.items()],
            key=f"{KEY}-plan",
            persist_state="session",
            horizontal=True,
            label_visibility="collapsed",
        )
        trim = keep_networks(lab, planned[name].at_most, KEY)
    except LabError as error:
        st.error(literal(str(error)))
        return Asked()
    started = None
    try:
        started = start_button(lab, planned[name], trim, "Run the comparison", f"{KEY}-run", check_memory=True)
    except LabError as error:
        st.error(literal(str(error)))
    below = st.container()

    def draw_price() -> None:
        with below:
            _price(lab, planned, planned[name])

    return Asked(started, draw_price)


def _price(lab: Lab, planned: Mapping[str, Planned], chosen: Planned) -> None:
    """Draw time and memory of each plan, what the chosen one can show, and what of it does not fit."""
    try:
        words = []
        for name, each in planned.items():
            forecast = lab.estimates.between(each.at_least, each.at_most)
            redraw_when_measured(lab, forecast, each)
            time = range_text(forecast.seconds_low, forecast.seconds_high)
            words.append(f"{PLANS[name].title}: {time}, {bytes_text(forecast.memory)} of memory.")
        st.caption(" ".join(words))
        if sentences := expected_sentences(lab, chosen.at_least):
            st.caption(literal(" ".join(sentences)))
        if not fit_warning(lab, chosen.specs, KEY):
            link("finetune", "Choose other settings on Fine-tune")
    except LabError as error:
        st.error(literal(str(error)))


def _is_direct(lab: Lab) -> bool:
    """Whether the choice of :func:`_choose_start` was made, and is drawn for the dataset that was chosen."""
    kinds = {info.name: info.kind for info in lab.catalog.list()}
    kind = kinds.get(st.session_state.get(f"{KEY}-dataset", ""), "")
    kind = st.session_state.get(LEARNED, kind) if kind == "text" else kind
    return is_imported(kind) and st.session_state.get(direct_key(kind), not is_made(kind))


def _choose_start(kind: str) -> bool:
    """Where people import networks, draw the choice to fine-tune one as it is; return whether that is chosen."""
    return is_imported(kind) and st.toggle(
        "Fine-tune the network as it was imported",
        value=not is_made(kind),
        key=direct_key(kind),
        persist_state="session",
        help="Without pretraining it on a source task first, so that there is nothing whose forgetting could be "
        "measured.",
    )
