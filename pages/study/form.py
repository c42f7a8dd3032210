"""The form of a study: what is varied, what to learn, which settings to try, what that costs, and the start.

Its first choice is a sweep, over ranks, alphas and learning rates alone; the others are the axes of
:mod:`core.plan.axes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.engine.launcher import Planned
from core.errors import LabError
from core.forecast.forecast import plan
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec, OwnField, Role, own_fields, with_values
from core.methods.registry import methods
from core.methods.roles import ALL
from core.networks.network import NetworkSpec
from core.numbers import count_text, listed
from core.objectives.registry import CLASSIFICATION
from core.plan.axes import AXES, MAX_POINTS, Axis, VarySpec
from core.plan.configuration import Configuration, objective_for, with_head
from core.plan.experiment import Recipe
from core.plan.search import TuneSpec, rates_around
from core.results.setting import setting_of
from core.rule.tuning import RATES_OFFERED
from core.run_spec import OptimSpec, default_rate, default_training, rate_reason
from core.spec import Device, bounds
from core.store.record import Experiment, Run
from core.study.arms.sweep import MAX_RUNS, Grid, is_sweep
from core.study.report.answer import is_study
from core.wording.tasks import explained
from pages.shared.experiment.configuration import open_file, opened_experiment, save_button, settle
from pages.shared.experiment.estimate import SEE_FORM, fit_warning, time_and_memory
from pages.shared.experiment.keep import keep_networks
from pages.shared.experiment.price import count_of, searched_sentence
from pages.shared.experiment.start import start_button
from pages.shared.forms import widgets
from pages.shared.forms.adapter import choices_of, draw_all, expander_title, not_varied, sizes_at_first
from pages.shared.forms.layers import layer_form
from pages.shared.forms.objective import objective_form
from pages.shared.forms.optim import family_key, optim_form
from pages.shared.forms.search import is_searched, own_bases_form, search_form
from pages.shared.forms.task import forgetting_form, network_on, task_form
from pages.shared.ui.links import go, link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import base_picker

KEY = "study"

SWEEP = "sweep"
"""The choice beside the axes."""

RATES_AT_FIRST = 5
"""Number of learning rates that are chosen at first, where none are searched for."""
AROUND = "At first those around"
"""What comes before the default rate, where several around it are chosen."""


def study_form(lab: Lab) -> Experiment | None:
    """Draw the form. Returns: The study that was just started, or that has these runs already; None otherwise."""
    beyond = open_file(lab, KEY)
    if beyond is not None:
        started = opened_experiment(lab, beyond, KEY)
        if (
            started is not None
            and not is_study(started)
            and not is_sweep(setting_of(run.spec) for run in lab.store.members(started))
        ):
            go("compare", {"experiment": started.id})
        return started
    base = base_picker(lab)
    if base is None:
        st.info("A study starts from a pretrained network, and there is none yet.", icon=":material/info:")
        link("pretrain", "Pretrain a base")
        link("home", "Or let Home do the whole job")
        return None
    settings, cost = st.columns([3, 2], gap="large")
    with settings:
        axis = _axis()
        without = axis.replaces if axis is not None else ""
        task = task_form(lab, base, KEY, without)
        forgetting = None
        if task is not None and isinstance(base, NetworkSpec):
            forgetting = forgetting_form(lab, base, task.dataset, task.length, KEY)
        st.subheader("Settings to try")
        method = _adapter_method()
        network = network_on(base, task)
        refused = st.empty()
        asked = planned = None
        try:
            vary = _points(axis, network) if axis is not None else None
            grid = _grid(method, network, vary)
            optim, adapter, device = _training(lab, method, network, without)
            tune = TuneSpec.of() if vary is not None else search_form(KEY, network, optim) if grid.searched else None
            own_bases = own_bases_form(KEY, base)
            objective = objective_form(
                KEY, objective_for(lab.catalog, task, network.learns) if task else CLASSIFICATION
            )
            arms = _arms(grid, optim, adapter, refused)
            if task is not None:
                origin = base if isinstance(base, NetworkSpec) else base.spec
                more = {"device": device, "objective": objective, "tune": tune, "vary": vary, "own_bases": own_bases}
                more["forgetting"] = forgetting
                asked = with_head(Configuration.on(origin, task, arms, range(grid.seeds), **more))
                planned = lab.launcher.plan(asked, base if isinstance(base, Run) else None)
        except LabError as error:
            asked = planned = None
            if not isinstance(error, widgets.ShownError):
                st.error(literal(str(error)))
    with cost, st.container(border=True):
        st.subheader("Estimated cost")
        if asked is None or planned is None:
            settle(lab, KEY, None)
            st.caption("Choose a task first." if task is None else SEE_FORM)
            return None
        with errors_shown():
            asked = asked.but(trim=keep_networks(lab, planned.at_most, KEY))
            settle(lab, KEY, asked)
            return _start(lab, asked, planned, grid, method)
    return None


def _arms(grid: Grid, optim: OptimSpec, adapter: MethodSpec, refused: DeltaGenerator) -> list[Recipe]:
    """The settings that are tried. Args: refused: where it says why they cannot be, beside what is varied."""
    try:
        return grid.arms(optim, adapter)
    except LabError as error:
        with refused:
            raise widgets.refuse(str(error)) from error


def _adapter_method() -> type[MethodSpec]:
    """The method whose settings are tried; a choice is drawn where there are several."""
    known = methods(Role.ADAPTER)
    if len(known) == 1:
        return next(iter(known.values()))
    titles = {kind: method.title for kind, method in known.items()}
    return known[widgets.choice("Adapters", titles, LoRASpec.name(), f"{KEY}-adapters")]


def _axis() -> Axis | None:
    """The axis that is varied; None for a sweep."""
    known = {axis.name: axis for axis in AXES}
    titles = {SWEEP: "Which rank and rate?"} | {axis.name: axis.question for axis in AXES}
    picked = st.pills(
        "Question",
        list(titles),
        default=SWEEP,
        format_func=titles.__getitem__,
        key=f"{KEY}-axis",
        persist_state="session",
        required=True,
        wrap=True,
    )
    axis = known.get(picked)
    st.caption(literal(axis.line) if axis is not None else "Every rank, alpha and learning rate, as a map.")
    return axis


def _points(axis: Axis, network: NetworkSpec) -> VarySpec:
    """Draw the points of an axis. Raises: SpecError: one is no point, or there are too few or too many."""
    usual = [str(point) for point in axis.usual(network, default_training(network))]
    key = f"{family_key(KEY, network)}-points-{axis.name}"
    picked = st.multiselect(
        axis.title,
        widgets.offered(usual, key),
        usual,
        key=key,
        help="Where everything is compared, with learning rates found at each."
        + (" Type a number to add it." if axis.is_scale else ""),
        accept_new_options=axis.is_scale,
        max_selections=MAX_POINTS,
        persist_state="session",
    )
    return VarySpec.at(axis, picked, network)


def _grid(method: type[MethodSpec], network: NetworkSpec, vary: VarySpec | None) -> Grid:
    fields = [field for field in own_fields([method]) if field.name in method.varied()]
    varied = {field.name: _varied(method, field, network) for field in fields}
    searched = vary is not None or is_searched(KEY)
    own, full = (default_rate(method, network),), (default_rate(FullSpec, network),)
    if not searched:
        own, full = _rates(method, network)
    points = 1 if vary is None else len(vary.points)
    return Grid(varied, own, full, len(widgets.seeds(f"{KEY}-seeds")), points, searched)


def _rates(method: type[MethodSpec], network: NetworkSpec) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Pills for the learning rates of adapters and of full fine-tuning.

    As many for each at first, around its default, so that neither has more to choose from.
    """
    own_rate, full_rate = default_rate(method, network), default_rate(FullSpec, network)
    rate = bounds(OptimSpec, "learning_rate")
    own = _several(
        f"{method.title}: learning rates",
        RATES_OFFERED,
        rates_around(own_rate, RATES_AT_FIRST),
        "rates",
        explained(rate.description, own_rate, rate_reason(method, network), AROUND),
    )
    full = _several(
        "Full fine-tuning: learning rates",
        RATES_OFFERED,
        rates_around(full_rate, RATES_AT_FIRST),
        "full-rates",
        explained(
            "Its own rates, as the reference: its best rate is usually lower than LoRA's. None leaves it out.",
            full_rate,
            rate_reason(FullSpec, network),
            AROUND,
        ),
    )
    return own, full


def _varied(method: type[MethodSpec], field: OwnField, network: NetworkSpec) -> tuple[Any, ...]:
    """Pills for the values of a field that the sweep varies."""
    about, choices = field.about, choices_of(field)
    start = sizes_at_first(field) if field.is_size else [about.default]
    reason = "" if field.is_size else network.reasons.get(field.name, "")
    help = about.description if field.is_size else explained(about.description, about.default, reason)
    return _several(f"{method.title}: {about.title.lower()}s", choices, start, f"{field.name}s", help)


def _several(label: str, choices: Sequence[Any], default: Sequence[Any], key: str, help: str) -> tuple[Any, ...]:
    """Pills to choose several numbers, ascending."""
    picked = st.pills(
        label,
        widgets.offered(choices, f"{KEY}-{key}"),
        selection_mode="multi",
        default=default,
        format_func=lambda choice: f"{choice:g}",
        help=help,
        key=f"{KEY}-{key}",
        persist_state="session",
        wrap=True,
    )
    return tuple(sorted(picked))


def _training(
    lab: Lab, method: type[MethodSpec], network: NetworkSpec, without: str
) -> tuple[OptimSpec, MethodSpec, Device]:
    """What all runs of the sweep share: training, the adapter method but for what is varied, and the device."""
    optim, fields = optim_form(KEY, network, without), not_varied(method)
    has_layers = without != "target_modules"
    with st.expander(expander_title(fields, *(["layers"] if has_layers else []), "device"), icon=":material/tune:"):
        values = draw_all(KEY, fields)
        targets = layer_form(KEY, network) if has_layers else (ALL,)
        device = widgets.device(lab, f"{KEY}-device")
    (adapter,) = with_values(method, fields, values, targets)
    return optim, adapter, device


def _start(lab: Lab, asked: Configuration, planned: Planned, grid: Grid, method: type[MethodSpec]) -> Experiment | None:
    """What the sweep costs, and its button. Raises: LabError: the sweep does not hold."""
    specs = planned.runs
    trained = sorted({plan(spec.trained_network, spec.method).trainable_parameters for spec in specs})
    with st.grid(2, min_column_width=110):
        settings = f"{grid.num_arms} settings with {grid.seeds} seeds each; a sweep takes at most {MAX_RUNS:,} runs."
        st.metric("Runs", count_of(planned), help=searched_sentence(planned) or settings)
        lengths = {(spec.optim.epochs, spec.optim.batch_size, spec.task): spec for spec in specs}
        steps = sorted({lab.estimates.steps(spec) for spec in lengths.values()})
        st.metric("Steps per run", " to ".join(dict.fromkeys(map(count_text, (steps[0], steps[-1])))))
        time_and_memory(lab, planned)
    span = " to ".join(dict.fromkeys(count_text(count) for count in (trained[0], trained[-1])))
    st.metric("Trainable parameters", span)
    fit_warning(lab, specs)
    if not grid.full_learning_rates:
        st.caption("Without full fine-tuning there is no reference to judge LoRA by.")
    if grid.num_arms == len(grid.full_learning_rates):
        needed = [*(bounds(method, name).title.lower() for name in grid.varied), "learning rate"]
        words = listed([f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in needed])
        st.caption(f"Without {words}, {method.title} is left out.")
    started = start_button(
        lab, planned, asked.trim, f"Start the {'study' if asked.vary else 'sweep'}", f"{KEY}-start", wide=True
    )
    if started is None:
        save_button(asked, f"{KEY}-save")
    return started
