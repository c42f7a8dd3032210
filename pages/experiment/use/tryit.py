"""A base and the networks fine-tuned from it answer the same input, side by side."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import streamlit as st

from core.data.dataset import LANGUAGE
from core.errors import LabError
from core.lab import Lab, current
from core.methods.method import Role
from core.networks.forward import forward
from core.networks.scoring import token_nats
from core.numbers import listed, number_text
from core.serving.panes import BASE, Answers, Panes
from core.spec import bounds
from core.store.record import Experiment, Run
from core.study.weights.predicted import MERGED, panes_of
from pages.experiment.use.answers import show_answers, show_scores
from pages.experiment.use.choice import Chosen, choose
from pages.experiment.use.disputes import find_disputes, show_disputes
from pages.experiment.use.inputs import Asked, ask_input
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import base_label, has_new_head

STRONGEST = 4.0
"""Maximum of the alpha of an adapter, as a multiple of that of its training."""


@st.cache_resource(max_entries=2, ttl="30m", show_spinner="Reading networks")
def _read(ids: tuple[str, ...], merged: bool, _runs: tuple[Run, ...]) -> tuple[Panes, dict[str, str]]:
    """Read networks; cached because every click redraws the page."""
    return panes_of(current(), _runs, merged)


def strengths_of(chosen: Chosen, panes: Panes, unread: Collection[str]) -> dict[str, float]:
    """Draw a slider for the alpha of each adapter; return its factors, by run.

    Args:
        chosen: the networks.
        panes: has them.
        unread: runs whose network could not be read.
    """
    adapted = [
        (arm.label, run.id, run.spec.method)
        for arm, run in zip(chosen.arms, chosen.runs, strict=True)
        if run.spec.method.strength_field and run.id not in unread
    ]
    found: dict[str, float] = {}
    if adapted:
        st.caption("Alpha scales the adapter's matrices; at first it is that of the run.")
        for label, id, method in adapted:
            trained = float(method.strength)
            alpha = st.slider(
                f"{bounds(type(method), method.strength_field).title} of {literal(label)}",
                0.0,
                STRONGEST * trained,
                trained,
                trained / 8,
                key=f"try-alpha-{id}",
                help=_at_zero(panes.left_at_zero(id)),
            )
            found[id] = alpha / trained
    return found


def _at_zero(left: Sequence[str]) -> str:
    """What the network is at an alpha of 0. Args: left: see :meth:`core.serving.panes.Panes.left_at_zero`."""
    return f"At 0 it is the base with the trained {listed([*left])}." if left else "At 0 it is the base."


@st.fragment
def tried(chosen: Chosen, disputed: Sequence[int]) -> None:
    """Draw what the networks are, and what they answer; draw only these again at each change.

    Args:
        chosen: the networks.
        disputed: test examples to step through first.
    """
    try:
        _tried(chosen, disputed)
    except LabError as error:
        st.error(literal(str(error)))


def _tried(chosen: Chosen, disputed: Sequence[int]) -> None:
    first = chosen.runs[0]
    place = st.container()  # the input stands before what is set about the networks
    with st.expander("Strength and merging", icon=":material/tune:"):
        merged = st.toggle(
            "Merged networks too",
            key="try-merged",
            help="Each adapter added to the weights of the base, with the alpha of its training: an ordinary network, "
            "which should answer the same.",
        )
        panes, problems = _read(tuple(run.id for run in chosen.runs), merged, chosen.runs)
        strengths = strengths_of(chosen, panes, problems)
        if merged and any(factor != 1 for factor in strengths.values()):
            st.caption("Merged networks keep the alpha of their training.")
    for sentence in problems.values():
        st.warning(literal(sentence))
    labels = {BASE: base_label(has_new_head(first.spec))}
    for arm, run in zip(chosen.arms, chosen.runs, strict=True):
        if run.id in problems:
            continue
        labels[run.id] = arm.label
        if merged and run.spec.role is Role.ADAPTER:
            labels[run.id + MERGED] = f"{arm.label}, merged"
    with place:
        answered(chosen, disputed, panes, labels, strengths)


@st.fragment
def answered(
    chosen: Chosen, disputed: Sequence[int], panes: Panes, labels: Mapping[str, str], strengths: Mapping[str, float]
) -> None:
    """Draw input and answers, and draw only these again at each input: the sliders take as long as the answers.

    Args:
        chosen: the networks.
        disputed: test examples to step through first.
        panes: has the networks.
        labels: what each network is called, by its name.
        strengths: factors on the adapters, by run.
    """
    try:
        _answered(chosen, disputed, panes, labels, strengths)
    except LabError as error:
        st.error(literal(str(error)))


def _answered(
    chosen: Chosen, disputed: Sequence[int], panes: Panes, labels: Mapping[str, str], strengths: Mapping[str, float]
) -> None:
    lab, first = current(), chosen.runs[0]
    task = lab.tasks.get(chosen.task, network=first.spec.network)
    given, told = st.columns([1, 2], gap="large")
    with told:
        answers_place, below = st.container(), st.container()
    with given:
        asked = ask_input(Asked(lab, first, task, disputed, below))
    with answers_place:
        if asked is None:
            st.info("The networks answer as soon as there is an input.", icon=":material/info:")
            return
        start = time.perf_counter()
        continues = first.spec.network.learns == LANGUAGE
        answers = panes.answer(asked.batch, list(labels), strengths, token_nats if continues else forward)
        milliseconds = 1000 * (time.perf_counter() - start)
        if continues:
            tokenizer = lab.artifacts.tokenizer(first)
            show_scores({label: asked.scored_by(answers.logits[name][0], tokenizer) for name, label in labels.items()})
        else:
            show_answers(answers, labels, task.class_names, asked.truth, first.spec.objective)
        st.caption(f"{len(labels)} networks answered in {number_text(milliseconds, 1)} ms. {_base_text(answers)}")
        if not answers.base_is_base:
            st.error("Something changed the base in memory: restart LoRA Lab.")


def _base_text(answers: Answers) -> str:
    how = f"to within {answers.difference:.0e} of" if answers.difference else "bit for bit as"
    return f"The base answered {how} a copy that was read anew and shares no memory with the others."


def try_part(lab: Lab, experiment: Experiment) -> None:
    """Draw networks of an experiment to choose from, an input, and what each answers. Raises: LabError: one is gone."""
    chosen = choose(lab, experiment)
    if chosen is None:
        return
    if not chosen.runs[0].spec.objective.has_classes:  # numbers are hardly ever the same
        tried(chosen, ())
        return
    found = find_disputes(lab, chosen)
    tried(chosen, found.rows)
    show_disputes(lab, experiment, chosen, found)
