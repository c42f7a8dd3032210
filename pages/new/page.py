"""New experiment: a base, a task, what to compare, at which rates and with how many seeds, and what to vary."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.errors import LabError
from core.lab import current
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.methods.registry import method_of, methods
from core.networks.network import NetworkSpec
from core.objectives.registry import CLASSIFICATION
from core.plan.axes import AXES, MAX_POINTS, Axis, VarySpec
from core.plan.configuration import Configuration, objective_for, with_head
from core.plan.defaults import is_quick_first
from core.plan.experiment import Recipe
from core.plan.search import TuneSpec
from core.results.intervals import DEFAULT_SEEDS
from core.run_spec import OptimSpec, default_rate, default_training, optim_for
from core.store.record import Experiment, Run
from core.study.report.expected import expected_sentences
from pages.shared.experiment.configuration import open_file, opened_experiment, save_button, settle
from pages.shared.experiment.current import remember
from pages.shared.experiment.estimate import SEE_FORM, fit_warning
from pages.shared.experiment.keep import keep_networks
from pages.shared.experiment.like import KEY, NOTHING_VARIED, fill_form
from pages.shared.experiment.price import price_table, rate_warning
from pages.shared.experiment.start import start_button
from pages.shared.forms import widgets
from pages.shared.forms.adapter import adapter_form
from pages.shared.forms.datasets import take_dataset
from pages.shared.forms.objective import objective_form
from pages.shared.forms.optim import family_key, optim_form
from pages.shared.forms.search import is_searched, own_bases_form, search_form
from pages.shared.forms.task import OWN, forgetting_form, network_on, task_form
from pages.shared.ui.links import go, link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import base_picker


def axis_form() -> Axis | None:
    """Draw what is varied beside methods, ranks and rates; None for nothing."""
    known = {axis.name: axis for axis in AXES}
    titles = {NOTHING_VARIED: "One comparison"} | {axis.name: axis.question for axis in AXES}
    picked = st.pills(
        "Vary",
        list(titles),
        default=NOTHING_VARIED,
        format_func=titles.__getitem__,
        key=f"{KEY}-axis",
        persist_state="session",
        required=True,
        wrap=True,
        help="A study compares everything at each of several points, with learning rates found there.",
    )
    axis = known.get(picked)
    if axis is not None:
        st.caption(literal(axis.line))
    return axis


def points_form(axis: Axis, network: NetworkSpec) -> VarySpec:
    """Draw the points of an axis. Raises: SpecError: one is no point, or there are too few or too many."""
    usual = [str(point) for point in axis.usual(network, default_training(network))]
    key = f"{family_key(KEY, network)}-points-{axis.name}"
    picked = st.multiselect(
        axis.title,
        widgets.offered(usual, key),
        usual,
        key=key,
        help="Where everything is compared." + (" Type a number to add it." if axis.is_scale else ""),
        accept_new_options=axis.is_scale,
        max_selections=MAX_POINTS,
        persist_state="session",
    )
    return VarySpec.at(axis, picked, network)


def settings_of(
    kinds: Sequence[str], controls: Sequence[str], network: NetworkSpec, optim: OptimSpec, searched: bool, without: str
) -> list[Recipe]:
    """Draw the learning rates of each method, and the settings that adapters share.

    Args:
        kinds: of the methods, full fine-tuning and those with adapters.
        controls: kinds of the controls, which are trained at their default rates.
        network: of the base.
        optim: what all are trained with, but for the learning rate.
        searched: whether learning rates are found, so that one of each method is where the search begins.
        without: name of a field that is not asked for.

    Returns:
        Every method at each rate, those with adapters at each chosen size and strength, then every control.

    Raises:
        SpecError: a setting is out of bounds, or nothing is chosen where something has to be.
    """
    chosen, columns = [method_of(kind) for kind in kinds], st.columns(2, gap="medium")
    rates, own = dict[str, list[float]](), family_key(KEY, network)
    for number, method in enumerate(chosen):
        title = f"Learning rate of {method.title.replace('Full', 'full')}"
        with columns[number % 2]:
            rates[method.kind] = (
                [widgets.learning_rate(type(method), network, f"{own}-rate-{method.kind}", title)]
                if searched
                else widgets.learning_rates(type(method), network, f"{own}-rates-{method.kind}")
            )
    kinds_of = [type(method) for method in chosen if method.role is Role.ADAPTER]
    adapters = adapter_form(own, network, kinds_of, has_layers=without != "target_modules")
    found: list[Recipe] = []
    for method in chosen:
        own_rates = [optim.but(learning_rate=rate) for rate in rates[method.kind]]
        found += [(each, setting) for setting in adapters.get(method.kind, [method]) for each in own_rates]
    return found + [
        (optim_for(control, optim.but(learning_rate=default_rate(control, network))), control)
        for control in map(method_of, controls)
    ]


def opened(experiment: Experiment) -> None:
    """Go to an experiment that was started, or was there."""
    remember(experiment.id)
    go("experiment", {"experiment": experiment.id})


lab = current()

st.title("New experiment")
fill_form(lab)
beyond = open_file(lab, KEY)
if beyond is not None:
    experiment = opened_experiment(lab, beyond, KEY)
    if experiment is not None:
        opened(experiment)
    st.stop()
base = base_picker(lab)
if base is None:
    st.info("Fine-tuning starts from a pretrained network, and you have none yet.", icon=":material/info:")
    link("pretrain", "Pretrain a base")
    link("networks", "Import a network that others have trained")
    link("home", "Or do everything from Home")
    st.stop()

learns = (base if isinstance(base, NetworkSpec) else base.spec.network).learns
if take_dataset(lab, f"{KEY}-dataset", learns) and isinstance(base, Run):
    st.session_state[f"{KEY}-preset"] = OWN  # as it is, without the change of a preset
asked, planned, failed = None, None, False
settings, cost = st.columns([3, 2], gap="large")
with settings:
    axis = axis_form()
    without = axis.replaces if axis is not None else ""
    task = task_form(lab, base, KEY, without)
    forgetting = None
    if task is not None and isinstance(base, NetworkSpec):
        forgetting = forgetting_form(lab, base, task.dataset, task.length, KEY)
    st.subheader("Methods")
    offered = methods(Role.REFERENCE) | methods(Role.ADAPTER)
    chosen = st.pills(
        "Methods",
        list(offered),
        selection_mode="multi",
        format_func=lambda kind: offered[kind].short,
        default=[FullSpec.name(), LoRASpec.name()],
        key=f"{KEY}-methods",
        label_visibility="collapsed",
        persist_state="session",
    )
    nothing = st.empty()
    controls = st.pills(
        "Controls",
        list(methods(Role.CONTROL)),
        selection_mode="multi",
        format_func=lambda kind: methods(Role.CONTROL)[kind].short,
        key=f"{KEY}-controls",
        persist_state="session",
        wrap=True,
        help="Baselines to compare with. They train: "
        + "; ".join(f"{control.short.lower()}, {control.line}" for control in methods(Role.CONTROL).values())
        + ".",
    )
    try:
        network = network_on(base, task)
        own, is_quick = family_key(KEY, network), is_quick_first(network)
        vary = points_form(axis, network) if axis is not None else None
        optim = optim_form(KEY, network, without)
        left, right = st.columns(2, gap="medium")
        with left:
            seeds = widgets.seeds(f"{own}-seeds", network.quick.seeds if is_quick else DEFAULT_SEEDS)
        with right:
            device = widgets.device(lab, f"{KEY}-device")
        searched = vary is not None or is_searched(own, not is_quick)
        kinds = [kind for kind in offered if kind in chosen]
        arms = settings_of(kinds, controls, network, optim, searched, without)
        if not arms:
            with nothing:
                raise widgets.refuse("Choose at least one method or control.")
        tune = TuneSpec.of() if vary is not None else search_form(KEY, network, optim) if searched else None
        own_bases = own_bases_form(KEY, base)
        objective = objective_form(KEY, objective_for(lab.catalog, task, network.learns) if task else CLASSIFICATION)
        if task is not None:
            origin = base if isinstance(base, NetworkSpec) else base.spec
            more = {"device": device, "own_bases": own_bases, "tune": tune, "vary": vary, "objective": objective}
            more["forgetting"] = forgetting
            asked = with_head(Configuration.on(origin, task, arms, seeds, **more))
            planned = lab.launcher.plan(asked, base if isinstance(base, Run) else None)
    except LabError as error:
        failed = True
        if not isinstance(error, widgets.ShownError):
            st.error(literal(str(error)))

with cost, st.container(border=True):
    st.subheader("Estimated cost")
    with errors_shown():
        if asked is None or planned is None:
            settle(lab, KEY, None)
            st.caption(SEE_FORM if failed else "Choose a task first.")
        else:
            asked = asked.but(trim=keep_networks(lab, planned.at_most, KEY))
            settle(lab, KEY, asked)
            price_table(lab, planned)
            if sentences := expected_sentences(lab, planned.at_least):
                st.caption(literal(" ".join(sentences)))
            fit_warning(lab, planned.runs)
            rate_warning(asked.settings)
            started = start_button(lab, planned, asked.trim, "Start the experiment", f"{KEY}-run", wide=True)
            if started is not None:
                opened(started)
            save_button(asked, f"{KEY}-save")
