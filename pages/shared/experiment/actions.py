"""What can be done with an experiment as a whole: rename it, let it grow, run it again, save it, track it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.methods.registry import methods
from core.numbers import counted, listed, range_text
from core.plan.experiment import MAX_NEW_SEEDS, Setting, next_seeds
from core.run_spec import RunSpec, inner_ranks
from core.spec import bounds
from core.store.record import Experiment, Run
from core.study.arms.choice import chosen_arms
from core.study.arms.design_words import look_line
from core.study.arms.growth import RATES_OFFERED, extended, longer, rates_beyond
from core.study.arms.sweep import is_sweep
from core.study.arms.tuning import is_tuned
from core.study.arms.verdict import Verdict
from core.study.arms.withheld import Mend
from core.study.stats.spending import CLAIM_SEEDS
from core.wording.experiments import MAX_NAME
from pages.shared.experiment.configuration import save_experiment
from pages.shared.experiment.estimate import redraw_when_measured
from pages.shared.experiment.like import like_link
from pages.shared.experiment.trackers import send_to_tracker
from pages.shared.forms.adapter import RANK_CHOICES
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import start_id
from pages.shared.ui.primary import on_primary


def experiment_actions(lab: Lab, experiment: Experiment, found: Verdict) -> None:
    """Draw all actions in one row.

    Args:
        lab: queues runs.
        experiment: what to act on.
        found: its verdict, which says what would help it.
    """
    members = lab.members(experiment)
    specs = [run.spec for run in members]
    with st.container(horizontal=True, vertical_alignment="center"):
        if found.mend is Mend.RATES:
            extend_rates(lab, experiment, members)
        add_seeds(lab, experiment, specs, found)
        if found.needs_examples:
            link("data", "More test examples")
        add_settings(lab, experiment, specs)
        train_longer(lab, experiment, members)
        run_again(experiment, specs)
        save_experiment(lab, experiment, f"save-{experiment.id}")
        rename(lab, experiment)
        send_to_tracker(lab, experiment)


def rename(lab: Lab, experiment: Experiment) -> None:
    """Draw a popover with the name; it closes when the name has changed."""
    key = f"rename-{experiment.id}-{experiment.name}"
    with st.popover("Rename", icon=":material/edit:", key=key, on_change="rerun") as fold:
        if not fold.open:
            return
        name = st.text_input(
            "Name",
            experiment.name[:MAX_NAME],
            max_chars=MAX_NAME,
            key=f"{key}-text",
            help="Leave it empty for a name that says what was trained.",
        )
        if st.button(on_primary("Save name"), type="primary", key=f"{key}-save"):
            try:
                lab.rename(experiment.id, name or "")
                st.rerun()
            except LabError as error:
                st.error(literal(str(error)))


def extend_rates(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> None:
    """Draw a popover that tries the learning rates beyond those at whose end a chosen one lies.

    Args:
        lab: queues the runs.
        experiment: what to grow.
        members: all its runs.
    """
    key = f"extend-rates-{experiment.id}-{len(members)}"
    with st.popover(
        on_primary("Extend rates"), type="primary", icon=":material/tune:", key=key, on_change="rerun"
    ) as fold:
        if not fold.open:
            return
        rates = rates_beyond(members)
        st.markdown(f"Adds {listed([f'{rate:g}' for rate in rates])} for every method and rank.")
        try:
            specs = [run.spec for run in members]
            settings = extended(lab.arm_settings(experiment), rates=rates, network=specs[0].network)
            _grow(lab, experiment, settings, sorted({spec.seed for spec in specs}), key)
        except LabError as error:
            st.error(literal(str(error)))


def add_seeds(lab: Lab, experiment: Experiment, specs: list[RunSpec], found: Verdict) -> None:
    """Draw a popover with the number of seeds and of the runs that they take; it closes when they are queued.

    Args:
        lab: queues the runs.
        experiment: what to grow.
        specs: of all its runs.
        found: its verdict: the seeds of the next look are suggested, or else twice as many.
    """
    there = len({spec.seed for spec in specs})
    suggested = min(found.seeds_to_add or max(there, CLAIM_SEEDS - there), MAX_NEW_SEEDS)
    key = f"add-seeds-{experiment.id}-{len(specs)}"
    with st.popover("Add seeds", icon=":material/add:", key=key, on_change="rerun") as fold:
        if not fold.open:
            return
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
        try:
            _grow(lab, experiment, lab.arm_settings(experiment), next_seeds(specs, count), key)
        except LabError as error:
            st.error(literal(str(error)))


def add_settings(lab: Lab, experiment: Experiment, specs: list[RunSpec]) -> None:
    """Draw a popover with ranks, methods and learning rates that the experiment does not have yet.

    Args:
        lab: queues the runs.
        experiment: what to grow.
        specs: of all its runs.
    """
    key = f"add-settings-{experiment.id}-{len(specs)}"
    with st.popover("Add settings", icon=":material/add:", key=key, on_change="rerun") as fold:
        if not fold.open:
            return
        ranks = inner_ranks(specs)
        kinds = {spec.kind for spec in specs}
        rates = {spec.optim.learning_rate for spec in specs}
        new_ranks = st.pills(
            "Ranks", [r for r in RANK_CHOICES if r not in ranks], selection_mode="multi", key=f"{key}-ranks"
        )
        known = methods(Role.ADAPTER) | methods(Role.CONTROL)
        new_kinds = st.pills(
            "Methods and controls",
            [kind for kind in known if kind not in kinds],
            selection_mode="multi",
            format_func=lambda kind: known[kind].short,
            key=f"{key}-kinds",
            wrap=True,
        )
        new_rates = (
            []
            if experiment.plan is not None
            else st.pills(
                "Learning rates",
                [rate for rate in RATES_OFFERED if rate not in rates],
                selection_mode="multi",
                format_func=lambda rate: f"{rate:g}",
                key=f"{key}-rates",
                help="For every method and rank.",
            )
        )
        try:
            own = lab.arm_settings(experiment)
            settings = extended(own, new_ranks, new_kinds, new_rates, specs[0].network)
            _grow(lab, experiment, settings, sorted({spec.seed for spec in specs}), key)
        except LabError as error:
            st.error(literal(str(error)))


def train_longer(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> None:
    """Draw a popover that trains the settings of the answer for three times as many epochs.

    Args:
        lab: queues the runs.
        experiment: what to grow.
        members: all its runs.
    """
    key = f"longer-{experiment.id}-{len(members)}"
    with st.popover("Train longer", icon=":material/timer:", key=key, on_change="rerun") as fold:
        if not fold.open:
            return
        st.markdown(
            "Full fine-tuning and each adapter and rank, at the chosen learning rate and its neighbors, for **three "
            "times as many epochs**. The answer is then about these; what was trained stays."
        )
        try:
            specs = [run.spec for run in members]
            settings = [*lab.arm_settings(experiment), *longer(members)]
            seeds = sorted({spec.seed for arm in chosen_arms(members) for spec in (run.spec for run in arm.runs)})
            _grow(lab, experiment, settings, seeds or sorted({spec.seed for spec in specs}), key)
        except LabError as error:
            st.error(literal(str(error)))


def _grow(lab: Lab, experiment: Experiment, settings: list[Setting], seeds: Sequence[int], key: str) -> None:
    """Say how many runs are missing for these settings and seeds, with a button that trains them."""
    growth = lab.growth(experiment, settings, seeds)
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
    st.caption(f"Time: {range_text(price.seconds_low, price.seconds_high)}{more}.")
    redraw_when_measured(lab, price, growth)
    if st.button(on_primary(f"Train {counted(len(growth.runs), 'run')}"), type="primary", key=f"{key}-start"):
        lab.grow(experiment, settings, seeds)
        st.rerun()


def run_again(experiment: Experiment, specs: list[RunSpec]) -> None:
    """Draw a link to the form that takes most of the experiment's settings, where they can be changed.

    Args:
        experiment: what to start from.
        specs: of all its runs.
    """
    like_link("sweep" if _fits_sweep(specs) else "finetune", experiment.id, start_id(specs[0]))


def _fits_sweep(specs: Sequence[RunSpec]) -> bool:
    """Whether the form of Sweep takes an experiment: a grid of full fine-tuning and one kind of adapter."""
    adapters = [spec.method for spec in specs if spec.role is Role.ADAPTER]
    plain = all(
        getattr(method, name) == bounds(type(method), name).default
        for method in adapters
        for name in method.fixed_in_sweeps
    )
    other = any(spec.role is Role.CONTROL or spec.own_base for spec in specs)
    return is_tuned(specs) and is_sweep(specs) and plain and not other and len({each.kind for each in adapters}) <= 1
