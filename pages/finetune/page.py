"""The Fine-tune page: full fine-tuning and LoRA side by side, on one base and one task."""

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
from core.plan.configuration import Configuration, objective_for, with_head
from core.plan.defaults import is_quick_first
from core.plan.experiment import Recipe
from core.results.intervals import DEFAULT_SEEDS
from core.run_spec import OptimSpec, default_rate, optim_for
from core.store.record import Run, is_under_way
from core.study.report.answer import with_bases
from core.study.report.expected import expected_sentences
from pages.shared.experiment.configuration import open_file, opened_experiment, save_button, settle
from pages.shared.experiment.current import known, missing_sentence, remember
from pages.shared.experiment.estimate import SEE_FORM, fit_warning
from pages.shared.experiment.keep import keep_networks
from pages.shared.experiment.like import fill_form
from pages.shared.experiment.live import live_panels
from pages.shared.experiment.price import price_table, rate_warning
from pages.shared.experiment.start import say_if_known, start_button
from pages.shared.experiment.state import finish_button, state_text
from pages.shared.forms import widgets
from pages.shared.forms.adapter import adapter_form
from pages.shared.forms.datasets import take_dataset
from pages.shared.forms.objective import objective_form
from pages.shared.forms.optim import family_key, optim_form
from pages.shared.forms.search import is_searched, own_bases_form, search_form
from pages.shared.forms.task import OWN, forgetting_form, network_on, task_form
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import base_picker


def settings_of(kinds: Sequence[str], controls: Sequence[str], network: NetworkSpec, optim: OptimSpec) -> list[Recipe]:
    """Draw the learning rate of each method, and the settings that adapters share.

    Args:
        kinds: of the methods, full fine-tuning and those with adapters.
        controls: kinds of the controls, which are trained at their default rates.
        network: of the base.
        optim: what all are trained with, but for the learning rate.

    Returns:
        Every method, those with adapters at each chosen size, then every control.

    Raises:
        SpecError: a setting is out of bounds, or no size is chosen for methods that have one.
    """
    chosen, columns = [method_of(kind) for kind in kinds], st.columns(2, gap="medium")
    rates, own = dict[str, float](), family_key("finetune", network)
    for number, method in enumerate(chosen):
        title = f"Learning rate of {method.title.replace('Full', 'full')}"
        with columns[number % 2]:
            rates[method.kind] = widgets.learning_rate(type(method), network, f"{own}-rate-{method.kind}", title)
    adapters = adapter_form(own, network, [type(method) for method in chosen if method.role is Role.ADAPTER])
    found: list[Recipe] = []
    for method in chosen:
        sizes = adapters.get(method.kind, [method])
        found += [(optim.but(learning_rate=rates[method.kind]), each) for each in sizes]
    return found + [
        (optim_for(control, optim.but(learning_rate=default_rate(control, network))), control)
        for control in map(method_of, controls)
    ]


lab = current()

st.title("Fine-tune")
st.markdown("Choose a base and a task, and train full fine-tuning and LoRA side by side.")

live_panels(lab, "finetune-live")
# Kept in the URL, so that the page still knows after a reload what was started here.
asked = st.query_params.get("experiment")
launched = known(lab, asked) if asked else None
if launched:
    members = lab.store.members(launched)
    if not is_under_way(members):
        st.markdown(f"**{literal(launched.name)}**: {state_text(with_bases(lab, members))}.")
        finish_button(lab, members, "finetune")
    say_if_known(launched)
    link("compare", "Open the comparison", {"experiment": launched.id})
elif asked:
    st.warning(literal(missing_sentence(asked)), icon=":material/link_off:")

fill_form(lab, "finetune")
beyond = open_file(lab, "finetune")
if beyond is not None:
    experiment = opened_experiment(lab, beyond, "finetune")
    if experiment is not None:
        remember(experiment.id)
        st.rerun()
    st.stop()
base = base_picker(lab)
if base is None:
    st.info("Fine-tuning starts from a pretrained network, and you have none yet.", icon=":material/info:")
    link("pretrain", "Pretrain a base")
    link("networks", "Import a network that others have trained")
    link("home", "Or do everything from Home")
    st.stop()

learns = (base if isinstance(base, NetworkSpec) else base.spec.network).learns
if take_dataset(lab, "finetune-dataset", learns) and isinstance(base, Run):
    st.session_state["finetune-preset"] = OWN  # as it is, without the change of a preset
asked, planned, failed = None, None, False
settings, cost = st.columns([3, 2], gap="large")
with settings:
    task = task_form(lab, base, "finetune")
    forgetting = None
    if task is not None and isinstance(base, NetworkSpec):
        forgetting = forgetting_form(lab, base, task.dataset, task.length, "finetune")
    st.subheader("Methods")
    offered = methods(Role.REFERENCE) | methods(Role.ADAPTER)
    chosen = st.pills(
        "Methods",
        list(offered),
        selection_mode="multi",
        format_func=lambda kind: offered[kind].short,
        default=[FullSpec.name(), LoRASpec.name()],
        key="finetune-methods",
        label_visibility="collapsed",
        persist_state="session",
    )
    nothing = st.empty()
    controls = st.pills(
        "Controls",
        list(methods(Role.CONTROL)),
        selection_mode="multi",
        format_func=lambda kind: methods(Role.CONTROL)[kind].short,
        key="finetune-controls",
        persist_state="session",
        wrap=True,
        help="Baselines to compare with. They train: "
        + "; ".join(f"{control.short.lower()}, {control.line}" for control in methods(Role.CONTROL).values())
        + ".",
    )
    try:
        network = network_on(base, task)
        optim, own = optim_form("finetune", network), family_key("finetune", network)
        left, right = st.columns(2, gap="medium")
        with left:
            seeds = widgets.seeds(f"{own}-seeds", network.quick.seeds if is_quick_first(network) else DEFAULT_SEEDS)
        with right:
            device = widgets.device(lab, "finetune-device")
        arms = settings_of([kind for kind in offered if kind in chosen], controls, network, optim)
        if not arms:
            with nothing:
                raise widgets.refuse("Choose at least one method or control.")
        tune = search_form("finetune", network, optim) if is_searched(own, not is_quick_first(network)) else None
        own_bases = own_bases_form("finetune", base)
        objective = objective_form(
            "finetune", objective_for(lab.catalog, task, network.learns) if task else CLASSIFICATION
        )
        if task is not None:
            origin = base if isinstance(base, NetworkSpec) else base.spec
            more = {"device": device, "own_bases": own_bases, "tune": tune, "objective": objective}
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
            settle(lab, "finetune", None)
            st.caption(SEE_FORM if failed else "Choose a task first.")
        else:
            asked = asked.but(trim=keep_networks(lab, planned.at_most, "finetune"))
            settle(lab, "finetune", asked)
            price_table(lab, planned)
            if sentences := expected_sentences(lab, planned.at_least):
                st.caption(literal(" ".join(sentences)))
            fit_warning(lab, planned.runs)
            rate_warning(asked.settings)
            started = start_button(lab, planned, asked.trim, "Start the experiment", "finetune-run", wide=True)
            if started is not None:
                remember(started.id)
                st.rerun()
            save_button(asked, "finetune-save")
