"""The question on the first page: what was pretrained, what is to be learned, and how thoroughly to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.data.dataset import LANGUAGE
from core.data.sources.source import DatasetInfo
from core.engine.launcher import Planned
from core.errors import LabError
from core.lab import Lab
from core.numbers import bytes_text
from core.run_spec import default_length
from core.store.record import Experiment
from core.study.report.expected import expected_sentences
from core.tasks.presets import suggested_preset
from pages.home.asked import (
    DATASET,
    Question,
    is_imported,
    is_made,
    question_of,
    shots_of,
    target_line,
    targets,
    tasks_of,
)
from pages.home.plans import PLANS, usual_plan
from pages.shared.experiment.current import QUERY as QUERY_EXPERIMENT
from pages.shared.experiment.estimate import fit_warning, redraw_when_measured, time_text
from pages.shared.experiment.keep import keep_networks
from pages.shared.experiment.start import runs_text, start_button
from pages.shared.forms import widgets
from pages.shared.forms.datasets import QUERY, dataset_picker, follow, learned, learned_first, take_dataset
from pages.shared.forms.network import default_network
from pages.shared.forms.task import forgetting_form, forgetting_key
from pages.shared.forms.task_preview import before_and_after
from pages.shared.forms.view import length
from pages.shared.ui.in_view import ask_to_see
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import imported_for

KEY = "home"
"""Prefix of the widget keys."""

LEARNED = f"{KEY}-learned"
"""Key of the choice between the classes of texts and the texts themselves."""


def target_key(kind: str, direct: bool) -> str:
    """Key of the choice of what is learned.

    Args:
        kind: of the data, as the network learns it.
        direct: whether an imported network is fine-tuned as it is; what is learned after a source is another choice.
    """
    key = f"{KEY}-target-{kind}" if kind == LANGUAGE else f"{KEY}-target"
    return f"{key}-direct" if direct and is_made(kind) else key


def direct_key(kind: str, own: bool) -> str:
    """Key of the choice to fine-tune a network as it was imported, which for own data is another one.

    Args:
        kind: of what is learned.
        own: whether somebody uploaded it.
    """
    return f"{KEY}-direct-{kind}{'-own' if own else ''}" if is_made(kind) else f"{KEY}-direct"


@dataclass(frozen=True)
class Asked:
    """What came of the form."""

    started: Experiment | None = None
    """The experiment that was just started, if any."""
    question: Question | None = None
    """What is asked; None while something is missing."""
    draw_price: Callable[[], None] = lambda: None
    """Draws below the button what the runs will cost and can show, which takes longer than all that is above it."""


def question(lab: Lab) -> Asked:
    """Draw the question and its button, which waits for no forecast."""
    left, right = st.columns(2, gap="medium")
    with left:
        source = dataset_picker(lab, "Dataset" if _is_direct(lab) else "Pretrained on", f"{KEY}-dataset")
        info = learned(lab, lab.catalog.info(source or lab.catalog.best()), LEARNED)
        direct = _choose_start(lab, info)
    with right:
        choices = targets(lab, info, direct)
        target = st.selectbox(
            "Learn",
            list(choices),
            list(choices).index(suggested_preset(info.kind, direct, info.num_classes) or next(iter(choices))),
            format_func=choices.__getitem__,
            key=target_key(info.kind, direct),
            persist_state="session",
        )
        st.caption(target_line(lab, target, info, direct))
    links = st.container(horizontal=True)
    with links:
        link("data", "Upload images or texts")
    if source is None:
        return Asked()
    try:
        if not direct:
            before, after = tasks_of(lab, source, target, info.kind)
            before_and_after(lab, before, after)
            if shots := shots_of(lab, after):
                st.caption(f"Learned from {shots} images of each class; All settings also takes all of them.")
        network = default_network(lab, info, KEY, direct)
        if network is None:
            return Asked()  # which has that link
        with links:
            link("networks", "Import a network")
        longest = default_length(network)
        if network.reads_tokens:
            longest = length(info.kind, f"{KEY}-length", network)
        forgetting = forgetting_form(lab, network, source, longest, KEY) if direct else None
        asked = Question(source, target, direct, network, longest, forgetting.dataset if forgetting else "")
        planned = {name: lab.launcher.plan(asked.configuration(lab, plan)) for name, plan in PLANS.items()}
        follow(f"{KEY}-plan", usual_plan(network))
        name = st.radio(
            "How thoroughly",
            list(PLANS),
            list(PLANS).index(usual_plan(network)),
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
    with errors_shown():
        started = start_button(lab, planned[name], trim, "Run the comparison", f"{KEY}-run", check_memory=True)
    below = st.container()

    def draw_price() -> None:
        with below:
            _price(lab, planned, planned[name])

    return Asked(started, asked, draw_price)


def _price(lab: Lab, planned: Mapping[str, Planned], chosen: Planned) -> None:
    """Draw time and memory of each plan, what the chosen one can show, and what of it does not fit."""
    with errors_shown():
        words = []
        for name, each in planned.items():
            forecast = lab.estimates.between(each.at_least, each.at_most)
            redraw_when_measured(lab, forecast, each)
            words.append(f"{PLANS[name].title}: {time_text(lab, forecast)}, {bytes_text(forecast.memory)} of memory.")
        st.caption(" ".join(words))
        if sentences := expected_sentences(lab, chosen.at_least):
            told, more = (literal(" ".join(part)) for part in (sentences[:2], sentences[2:]))
            st.caption(told, help=more or None)
        if not fit_warning(lab, chosen.specs):
            link("new", "All settings")


def _is_direct(lab: Lab) -> bool:
    """Whether the choice of :func:`_choose_start` was made, and is drawn for the dataset that was chosen."""
    infos = {info.name: info for info in lab.catalog.list()}
    info = infos.get(st.session_state.get(f"{KEY}-dataset", ""))
    kind = "" if info is None else info.kind
    kind = st.session_state.get(LEARNED, learned_first(lab, info)) if kind == "text" else kind
    if info is None or not is_imported(kind) or not imported_for(lab, info.seen_by(kind)):
        return is_imported(kind) and not is_made(kind)
    return bool(st.session_state.get(direct_key(kind, info.is_own), is_usually_direct(info, kind)))


def is_usually_direct(info: DatasetInfo, kind: str) -> bool:
    """Whether an imported network is at first fine-tuned as it is: of people's own data it is what they came for."""
    return info.is_own or not is_made(kind)


def _choose_start(lab: Lab, info: DatasetInfo) -> bool:
    """Where a network was imported that learns a dataset, draw the choice to fine-tune it as it is; return whether a
    network is fine-tuned so, which it is where none is made here.
    """
    kind = info.kind
    if not imported_for(lab, info):
        return not is_made(kind)
    return st.toggle(
        "Fine-tune the network as it was imported",
        value=is_usually_direct(info, kind),
        key=direct_key(kind, info.is_own),
        persist_state="session",
        help="Without pretraining it on a source task first, whose forgetting could be measured.",
    )


SHOWN = f"{KEY}-shown"
"""Session state key: id of the experiment that Home showed last; empty for none."""


def fill_question(lab: Lab, named: Experiment | None, shown: Experiment | None, running: Experiment | None) -> None:
    """Fill the form before it is drawn, so that after a reload and in a second tab it shows what is asked; bring an
    experiment in sight that the address names, as by Open, where Home has not shown it last.

    It is filled at the visit that opens an experiment: where the address names another one than Home showed last, or at
    the first visit of a session. Nothing that happens later fills it again, whatever ends, starts or gets more runs,
    because the form then has what a person or a link has chosen.

    Args:
        lab: has the experiments.
        named: the experiment that the address names, or else the current one of the session; None if there is none.
        shown: the experiment whose answer Home shows; None if there is none.
        running: an experiment that trains or waits; None if there is none.
    """
    is_first, before = SHOWN not in st.session_state, st.session_state.get(SHOWN)
    if not _take_dataset(lab):
        is_new = QUERY_EXPERIMENT in st.query_params and named is not None and named.id != before
        new = named if is_new else None
        opened = new or ((named or running or shown) if is_first else None)
        if opened is not None:
            _fill(lab, opened)
        if new is not None:
            ask_to_see(new.id)
    st.session_state[SHOWN] = shown.id if shown is not None else ""  # at last: a press may end this run of the page


def _fill(lab: Lab, opened: Experiment) -> None:
    """Choose in the form what an experiment asked, as far as Home can ask it."""
    question, plan = question_of(lab, opened)
    if question is None:
        return
    target = target_key(question.network.learns, question.direct)
    values: dict[str, Any] = {f"{KEY}-dataset": question.source, target: question.target}
    if question.network.learns in ("text", LANGUAGE):
        values[LEARNED] = question.network.learns
    if is_imported(question.network.learns):
        own = any(info.is_own for info in lab.catalog.list() if info.name == question.source)
        values |= {
            direct_key(question.network.learns, own): question.direct,
            f"{KEY}-length": question.length,
            forgetting_key(KEY): question.forgetting,
        }
        if question.network.brought is not None:
            values[f"{KEY}-network"] = question.network.brought
    widgets.fill(values if plan is None else values | {f"{KEY}-plan": plan})


def _take_dataset(lab: Lab) -> bool:
    """Choose the dataset that the address names, as the target where networks are pretrained here; whether it does."""
    name = st.query_params.get(QUERY)
    if name is None:
        return False
    take_dataset(lab, f"{KEY}-dataset")
    if st.session_state.get(f"{KEY}-dataset") == name and not is_imported(lab.catalog.info(name).kind):
        best = lab.catalog.info(lab.catalog.best(lab.catalog.info(name).kind))
        if f"{DATASET}{name}" in targets(lab, best, direct=False):
            widgets.fill({f"{KEY}-dataset": best.name, f"{KEY}-target": f"{DATASET}{name}"})
    return True
