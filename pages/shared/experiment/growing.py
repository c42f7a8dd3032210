"""Forms that let an experiment grow: rates that a search finds, further rates, seeds, settings, and longer training.

Each is the content of a dialog of :mod:`pages.shared.experiment.actions`. It says how many runs are missing and what
they take, and closes when they are queued.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.answer.design import TOO_FEW, look_line
from core.lab import Lab
from core.methods.method import Role
from core.methods.registry import methods
from core.numbers import bytes_text, counted, listed
from core.plan.experiment import MAX_NEW_SEEDS, Recipe, next_seeds
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.rule.place import Place
from core.rule.spending import CLAIM_SEEDS
from core.rule.tuning import RATES_OFFERED, extended, is_tuned, longer, rates_beside
from core.run_spec import inner_ranks
from core.store.record import Experiment
from pages.shared.experiment.current import remember
from pages.shared.experiment.estimate import redraw_when_measured, time_text
from pages.shared.experiment.price import searched_sentence
from pages.shared.experiment.start import runs_text, start_button
from pages.shared.forms.adapter import RANK_CHOICES
from pages.shared.ui.literal import errors_shown
from pages.shared.ui.primary import on_primary

OPEN = "open-action"
"""Session state key: id of an experiment and name of the action whose dialog is open."""


def close() -> None:
    """Close the dialog when the page is drawn next."""
    st.session_state.pop(OPEN, None)


def seeds_suggested(lab: Lab, experiment: Experiment, found: Place) -> int:
    """How many seeds to add: those of the next look, or else as many as there are."""
    there = len({run.spec.seed for run in lab.store.members(experiment)})
    return min(found.seeds_to_add or max(there, CLAIM_SEEDS - there), MAX_NEW_SEEDS)


def find_rates(lab: Lab, experiment: Experiment, _: Place) -> None:
    """Ask the same again, with learning rates that a search finds, as an experiment of its own that the page shows."""
    st.markdown(
        "Asks the same again, as an experiment of its own that searches for the learning rate of every method and "
        "rank. What was trained with the same settings is used."
    )
    with errors_shown():
        planned = lab.experiments.rate_search(experiment)
        st.caption(searched_sentence(planned))
        price = lab.estimates.between(planned.at_least, planned.at_most)
        st.caption(f"{runs_text(planned)}. Time: {time_text(lab, price)}. Memory: {bytes_text(price.memory)}.")
        redraw_when_measured(lab, price, planned)
        key = f"find-rates-{experiment.id}-start"
        started = start_button(lab, planned, experiment.trim, "Find the learning rates", key, check_memory=True)
        if started is not None:
            close()
            remember(started.id)
            st.rerun()


def extend_rates(lab: Lab, experiment: Experiment, _: Place) -> None:
    """Try the learning rates beside chosen ones that were not tried."""
    members = lab.store.members(experiment)
    key = f"extend-rates-{experiment.id}-{len(members)}"
    rates = rates_beside(rows_of(members))
    st.markdown(f"Adds {listed([f'{rate:g}' for rate in rates])} for every method and rank.")
    with errors_shown():
        specs = [run.spec for run in members]
        settings = extended(lab.experiments.settings(experiment), rates=rates, network=specs[0].trained_network)
        _grow(lab, experiment, settings, sorted({spec.seed for spec in specs}), key)


def add_seeds(lab: Lab, experiment: Experiment, found: Place) -> None:
    """Train every setting with more seeds; the number is chosen here."""
    specs = [run.spec for run in lab.store.members(experiment)]
    there = len({spec.seed for spec in specs})
    suggested = seeds_suggested(lab, experiment, found)
    key = f"add-seeds-{experiment.id}-{len(specs)}"
    count = int(
        st.number_input(
            "More seeds for every setting",
            1,
            MAX_NEW_SEEDS,
            suggested,
            key=f"{key}-count",
            help="What was trained stays, and is used.",
        )
        or suggested
    )
    st.caption(look_line(there + count, found.spent))
    with errors_shown():
        _grow(lab, experiment, lab.experiments.settings(experiment), next_seeds(specs, count), key)


def add_settings(lab: Lab, experiment: Experiment, _: Place) -> None:
    """Choose ranks, methods and learning rates that the experiment does not have yet."""
    specs = [run.spec for run in lab.store.members(experiment)]
    key = f"add-settings-{experiment.id}-{len(specs)}"
    ranks = inner_ranks(specs)
    kinds = {spec.kind for spec in specs}
    tried: dict[object, set[float]] = {}
    for spec in specs:
        tried.setdefault((spec.kind, spec.method.size), set()).add(spec.optim.learning_rate)
    everywhere = set.intersection(*tried.values())  # a rate that one method has and another lacks is offered
    new_ranks = st.pills(
        "Ranks", [r for r in RANK_CHOICES if r not in ranks], selection_mode="multi", key=f"{key}-ranks"
    )
    sides = [methods(role) for role in (Role.REFERENCE, Role.ADAPTER)]
    known = {kind: method for side in (*sides, methods(Role.CONTROL)) for kind, method in side.items()}
    new_kinds = st.pills(
        "Methods and controls",
        [kind for kind in known if kind not in kinds],
        selection_mode="multi",
        default=[next(iter(side)) for side in sides if not kinds & side.keys()],  # what a verdict lacks
        format_func=lambda kind: known[kind].short,
        key=f"{key}-kinds",
        wrap=True,
    )
    new_rates = (
        []
        if experiment.plan is not None
        else st.pills(
            "Learning rates",
            [rate for rate in RATES_OFFERED if rate not in everywhere],
            selection_mode="multi",
            format_func=lambda rate: f"{rate:g}",
            key=f"{key}-rates",
            help="For every method and rank that does not have them yet.",
        )
    )
    seeds = sorted({spec.seed for spec in specs})
    if len(seeds) < CLAIM_SEEDS:
        st.caption(f"{TOO_FEW} With {counted(len(seeds), 'seed')}, ranks stand beside each other and none is better.")
    with errors_shown():
        own = lab.experiments.settings(experiment)
        settings = extended(own, new_ranks, new_kinds, new_rates, specs[0].trained_network)
        _grow(lab, experiment, settings, seeds, key)


def train_longer(lab: Lab, experiment: Experiment, _: Place) -> None:
    """Train the settings of the answer for three times as many epochs."""
    members = lab.store.members(experiment)
    rows, key = rows_of(members), f"longer-{experiment.id}-{len(members)}"
    rates = "the chosen learning rate and its neighbors" if is_tuned(row.setting for row in rows) else "its rate"
    st.markdown(
        f"Full fine-tuning and each adapter and rank, at {rates}, for **three times as many epochs**. The answer is "
        "about these where they are better; what was trained stays."
    )
    with errors_shown():
        specs = [run.spec for run in members]
        settings = [*lab.experiments.settings(experiment), *longer(rows)]
        seeds = sorted({seed for arm in chosen_arms(rows) for seed in arm.seeds})
        _grow(lab, experiment, settings, seeds or sorted({spec.seed for spec in specs}), key)


def find_epochs(lab: Lab, experiment: Experiment, _: Place) -> None:
    """Train with all seeds for other numbers of epochs where the validation part says that they are better."""
    seeds = sorted({run.spec.seed for run in lab.store.members(experiment)})
    st.markdown("Trains with all seeds what did better with other numbers of epochs. What was trained stays.")
    with errors_shown():
        _grow(lab, experiment, lab.experiments.settings(experiment), seeds, f"epochs-{experiment.id}")


def _grow(lab: Lab, experiment: Experiment, settings: list[Recipe], seeds: Sequence[int], key: str) -> None:
    """Say how many runs are missing for these settings and seeds, with a button that trains them."""
    growth = lab.experiments.growth(experiment, settings, seeds)
    if not growth.runs:
        st.caption("Choose what to add.")
        return
    bases = f", and {counted(len(growth.bases), 'base')} before them" if growth.bases else ""
    added = len({spec.arm for spec in growth.runs})
    st.caption(
        f"{counted(len(growth.runs), 'run')}: {counted(added, 'setting')} with "
        f"{counted(len({spec.seed for spec in growth.runs}), 'seed')} each{bases}."
    )
    price = lab.estimates.between(growth.at_least, growth.at_most)
    more = ", and more as learning rates are searched for" if growth.plan is not None else ""
    st.caption(f"Time: {time_text(lab, price)}{more}.")
    redraw_when_measured(lab, price, growth)
    if st.button(on_primary(f"Train {counted(len(growth.runs), 'run')}"), type="primary", key=f"{key}-start"):
        lab.experiments.grow(experiment, settings, seeds)
        close()
        st.rerun()
