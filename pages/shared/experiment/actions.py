"""What can be done with an experiment as a whole: its next step as a button, everything in a menu."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from core.answer.design import examples_sentence
from core.lab import Lab
from core.numbers import counted
from core.rule.place import Place
from core.rule.withheld import NextStep
from core.store.record import Experiment
from core.study.arms.difference_tables import rank_sentences
from core.study.report.answer import is_study
from core.wording.tasks import MAX_NAME
from pages.shared.experiment.configuration import save_experiment
from pages.shared.experiment.growing import (
    OPEN,
    add_seeds,
    add_settings,
    close,
    extend_rates,
    find_epochs,
    find_rates,
    seeds_suggested,
    train_longer,
)
from pages.shared.experiment.like import open_like
from pages.shared.experiment.trackers import send_to_tracker
from pages.shared.ui.links import PLACES, link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import start_id
from pages.shared.ui.primary import on_primary

SAID = "said-action"
"""Session state key: what the page says once it was drawn again without the dialog, whose own toasts go with it."""


@dataclass(frozen=True)
class Action:
    """One entry of the menu."""

    title: str
    icon: str
    draw: Callable[[Lab, Experiment, Place], None]
    """Draws the content of its dialog."""
    has_dialog: bool = True
    """Whether it has one; else ``draw`` does something at once."""


def experiment_actions(lab: Lab, experiment: Experiment, found: Place) -> None:
    """Draw the experiment's next step and the menu of all actions, and the dialog of the one that was pressed.

    Args:
        lab: queues runs.
        experiment: what to act on.
        found: its verdict, which says what would help it.
    """
    along = is_study(experiment)
    next_step_button(lab, experiment, found, is_primary=True)
    known = {name: action for name, action in ACTIONS.items() if not (along and name in NOT_OF_STUDIES)}
    if experiment.plan is not None:  # the search finds its rates
        known.pop("find")
    step = found.step
    if step is not NextStep.RATES or not found.rates.several:
        known.pop("rates", None)
    if step is not NextStep.EPOCHS:
        known.pop("epochs", None)
    titles = {name: f"{action.icon} {action.title}" for name, action in known.items()}
    st.menu_button(
        "More",
        list(titles),
        format_func=titles.__getitem__,
        key=(key := f"actions-{experiment.id}"),
        icon=":material/more_horiz:",
        on_click=lambda: _ask(experiment, st.session_state[key]),
    )
    action_dialog(lab, experiment, found)


def next_step_button(lab: Lab, experiment: Experiment, found: Place, is_primary: bool = False) -> None:
    """Draw the experiment's next step as a button, if it has one; arguments as of :func:`action_button`."""
    step = found.step
    name = STEPS.get(step) if step is not None else None
    if name is not None and not (is_study(experiment) and name in NOT_OF_STUDIES):
        action_button(lab, experiment, found, name, is_primary)
    if found.needs_examples and step in (None, NextStep.LONGER, NextStep.SEEDS):
        _more_examples(found)


def rank_view(lab: Lab, experiment: Experiment | None, found: Place) -> None:
    """Draw whether the rank mattered, beside a button that adds ranks.

    Args:
        lab: has the experiment.
        experiment: to add ranks to, whose actions the page has; None for runs that are no experiment.
        found: the verdict.
    """
    if said := rank_sentences(found):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(literal(" ".join(said)), width="stretch")
            if experiment is not None:
                action_button(lab, experiment, found, "settings")


def _more_examples(found: Place) -> None:
    """Draw what takes more test examples, how many, and where these come from. Args: found: it needs them."""
    limits, told = found.limits, found.told
    if limits is None or told is None:
        return
    measure, kind = told.arm.spec.objective.primary, told.arm.spec.network.learns
    with st.popover("More test examples", icon=PLACES["data"].icon):
        st.markdown(
            f"{literal(examples_sentence(limits, measure, found.margin, kind))} Upload a file with more of them under "
            "another name, or choose a dataset that has them, and ask again."
        )
        link("data", "Datasets")


def action_button(lab: Lab, experiment: Experiment, found: Place, name: str, is_primary: bool = False) -> None:
    """Draw a button that opens the dialog of an action; see :func:`action_dialog`.

    Args:
        lab: has the experiment.
        experiment: what to act on.
        found: its verdict.
        name: of the action, in :data:`ACTIONS`.
        is_primary: whether it is the primary button of its place.
    """
    title = ACTIONS[name].title
    if name == "seeds":
        title = f"Add {counted(seeds_suggested(lab, experiment, found), 'seed')}"
    elif name == STEPS[NextStep.OTHER_SIDE] and found.step is NextStep.OTHER_SIDE:
        title = f"Add {'LoRA' if found.leading is None else 'full fine-tuning'}"
    st.button(
        on_primary(title) if is_primary else title,
        type="primary" if is_primary else "secondary",
        icon=ACTIONS[name].icon,
        key=f"{name}-{experiment.id}",
        on_click=_ask,
        args=(experiment, name),
    )


def _ask(experiment: Experiment, name: str) -> None:
    st.session_state[OPEN] = experiment.id, name


def action_dialog(lab: Lab, experiment: Experiment, found: Place) -> None:
    """Draw the dialog of the experiment's action that was pressed, if there is one."""
    if said := st.session_state.pop(SAID, None):
        st.toast(said, icon=":material/check:")
    id, name = st.session_state.get(OPEN, ("", ""))
    if id != experiment.id:
        return
    action = ACTIONS[name]
    if action.has_dialog:
        st.dialog(action.title, icon=action.icon, on_dismiss=close)(action.draw)(lab, experiment, found)
    else:
        close()
        action.draw(lab, experiment, found)


def _rename(lab: Lab, experiment: Experiment, _: Place) -> None:
    """Draw the name in a field."""
    key = f"rename-{experiment.id}-{experiment.name}"
    name = st.text_input(
        "Name",
        experiment.name[:MAX_NAME],
        max_chars=MAX_NAME,
        key=f"{key}-text",
        help="Leave it empty for a name that says what was trained.",
    )
    if st.button(on_primary("Save name"), type="primary", key=f"{key}-save"):
        with errors_shown():
            lab.experiments.rename(experiment.id, name or "")
            st.session_state[SAID] = "Name saved"
            close()
            st.rerun()


def _save(lab: Lab, experiment: Experiment, _: Place) -> None:
    """Offer the experiment as a file."""
    st.markdown("All that was asked for, as a JSON file that forms and the command line open.")
    save_experiment(lab, experiment, f"save-{experiment.id}")


def _run_again(lab: Lab, experiment: Experiment, _: Place) -> None:
    """Go to the form that takes most of the experiment's settings, where they can be changed."""
    first = lab.store.members(experiment)[0].spec
    open_like(experiment.id, start_id(first))


def _track(lab: Lab, experiment: Experiment, _: Place) -> None:
    send_to_tracker(lab, experiment)


ACTIONS = {
    "find": Action("Find the learning rates", ":material/search:", find_rates),
    "rates": Action("Extend rates", ":material/tune:", extend_rates),
    "seeds": Action("Add seeds", ":material/add:", add_seeds),
    "settings": Action("Add ranks or methods", ":material/add_row_below:", add_settings),
    "longer": Action("Train longer", ":material/timer:", train_longer),
    "epochs": Action("Find the epochs", ":material/timer:", find_epochs),
    "again": Action("Run again with changes", ":material/replay:", _run_again, has_dialog=False),
    "save": Action("Save experiment as file", ":material/save:", _save),
    "rename": Action("Rename", ":material/edit:", _rename),
    "track": Action("Send to a tracker", ":material/monitoring:", _track),
}
"""All actions, by the name that :data:`pages.shared.experiment.growing.OPEN` has."""

NOT_OF_STUDIES = ("rates", "longer", "epochs")
"""Actions that a study has none of: it searches for rates at its points, and another study has others."""

STEPS = {
    NextStep.RATES: "find",
    NextStep.SEEDS: "seeds",
    NextStep.LONGER: "longer",
    NextStep.EPOCHS: "epochs",
    NextStep.SETTINGS: "find",
    NextStep.OTHER_SIDE: "settings",
}
"""The action that takes a next step."""
