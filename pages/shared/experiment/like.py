"""Filling the forms of Fine-tune and Sweep with the settings of an experiment, named in the address as ``like``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import streamlit as st

from core.data.task_spec import TaskSpec
from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.methods.registry import method_order
from core.plan.axes import VarySpec
from core.plan.configuration import Configuration, preset_of, with_head
from core.plan.search import TuneSpec
from core.run_spec import RunSpec
from pages.shared.experiment.left_out import left_out
from pages.shared.forms import widgets
from pages.shared.forms.adapter import field_values, not_varied
from pages.shared.forms.layers import layer_values
from pages.shared.forms.objective import objective_values
from pages.shared.forms.optim import family_key, optim_values
from pages.shared.forms.task import OWN, own_values
from pages.shared.ui.links import go
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import start_id

FILLED = "filled-like"
"""Key of the form that was filled last, and the experiment."""


def open_like(page: str, experiment: str, base: str) -> NoReturn:
    """Open a form that is filled with the settings of an experiment, again each time.

    Args:
        page: ``finetune`` or ``study``.
        experiment: id of the experiment.
        base: id of its base, or the digest of the network that was imported.
    """
    st.session_state.pop(FILLED, None)
    go(page, {"like": experiment, "base": base})


def fill_form(lab: Lab, key: str) -> bool:
    """Fill a form before it is drawn: once for each link that was followed, so that changes to the form stay.

    What the form cannot show stands above it until another link is followed; see :func:`settle_like`.

    ``like`` stays in the address, so that reloading the page fills the form and Back leaves it.

    Args:
        lab: has the experiment.
        key: prefix of the form's widget keys: ``finetune`` or ``study``.

    Returns:
        Whether it was filled by this call.
    """
    id = st.query_params.get("like")
    if id is None:
        return False
    if st.session_state.get(FILLED) == (key, id):
        _warn(key)
        return False
    st.session_state[f"{key}-like-said"] = []
    try:
        experiment = lab.store.experiment(id)
        specs, tune, vary = [run.spec for run in lab.store.members(experiment)], None, None
        if experiment.plan is not None and not _gone(lab, specs[0]):  # from where its search began
            asked = lab.experiments.configuration(experiment)
            vary, tune = asked.vary, asked.tune
            specs = list(lab.launcher.plan(asked.but(vary=None)).least)
    except LabError as error:
        st.session_state[FILLED] = (key, id)
        st.warning(literal(str(error)))
        return False
    fill_from(lab, key, specs, start_id(specs[0]), tune, vary)
    st.session_state[f"{key}-trim"] = experiment.trim
    st.session_state[f"{key}-like"] = id
    st.session_state[FILLED] = (key, id)  # at last: a press may end this run of the page
    if gone := _gone(lab, specs[0]):
        _say(key, f"Its dataset {gone} was deleted: choose another one.")
        _warn(key)
    return True


def settle_like(lab: Lab, key: str, shown: Configuration | None) -> None:
    """Say, after a form was drawn that was just filled, whether it has all settings of the experiment.

    Args:
        lab: has the experiment.
        key: prefix of the form's widget keys.
        shown: what the form says; None while it says nothing that could be trained, for a reason that it gives.
    """
    id = st.session_state.pop(f"{key}-like", None)
    if id is None or shown is None:
        return
    try:
        wanted = lab.experiments.configuration(lab.store.experiment(id))
    except LabError:
        return  # its base is gone, and the form has said so
    if shown.asks_the_same(wanted):
        st.toast("The form has the settings of that experiment.", icon=":material/tune:")
        return
    known = _on(shown.task, wanted) if _gone(lab, wanted) else wanted
    if shown.asks_the_same(known):
        return
    if lines := left_out(known, shown):
        _say(key, f"The form cannot show all settings of that experiment. Left out: {'; '.join(lines)}.")
    else:
        _say(key, "The form combines the settings of that experiment in other ways.")
    st.rerun()


def _on(task: TaskSpec, asked: Configuration) -> Configuration:
    """What is asked for on another task, with the head as it is trained there."""
    found = with_head(asked.but(task=task))
    if found.head == asked.head:
        return found
    return found.but(arms=tuple(arm.but(optim=arm.optim.but(head_rate=None)) for arm in found.arms))


def _say(key: str, sentence: str) -> None:
    """Keep a warning that :func:`_warn` draws above the form."""
    st.session_state.setdefault(f"{key}-like-said", []).append(sentence)


def _warn(key: str) -> None:
    for sentence in st.session_state.get(f"{key}-like-said", ()):
        st.warning(literal(sentence))


def _gone(lab: Lab, asked: RunSpec | Configuration) -> str:
    """Name of the dataset that is learned, if it was deleted; empty otherwise."""
    try:
        lab.catalog.info(asked.task.dataset)
    except LabError:
        return asked.task.dataset
    return ""


def fill_from(
    lab: Lab,
    key: str,
    specs: Sequence[RunSpec],
    start: str,
    search: TuneSpec | None,
    vary: VarySpec | None = None,
) -> None:
    """Fill a form, before it is drawn, with what comes nearest to the settings of runs.

    Args:
        lab: has the datasets.
        key: prefix of the form's widget keys: ``finetune`` or ``study``.
        specs: of all runs, at least one.
        start: id of the base, or digest of the network that was imported; it is on this machine.
        search: how learning rates are searched for; None where they are not.
        vary: what a study varies; the runs are those of its experiment at no point in particular.
    """
    first = specs[0]
    st.query_params["base"] = st.session_state["pick-base"] = start
    values, count = _task(lab, first), min(len({spec.seed for spec in specs}), widgets.MAX_FORM_SEEDS)
    if first.is_direct:
        found_source = "" if first.source is None else first.source.dataset
        values |= {"forgetting": found_source}
    found: dict[str, Any] = {}
    if key == "finetune":
        values |= _methods(specs)
        found |= _arms(specs) | {"seeds": count}
    else:
        values |= _grid(specs) | {"found": search is not None, "seeds": count}
    found |= {"own-bases": first.own_base} | ({} if search is None or vary is not None else {"longer": search.longer})
    if key == "study":
        values["axis"] = "sweep" if vary is None else vary.name
        found |= {} if vary is None else {f"points-{vary.name}": [str(point) for point in vary.points]}
    if first.device in lab.devices():
        values["device"] = first.device
    own = family_key(key, first.network)
    values = {f"{key}-{name}": value for name, value in values.items()}
    values |= {f"{own}-{name}": value for name, value in (optim_values(first.optim, first.network) | found).items()}
    widgets.fill(values | objective_values(key, first.objective))


def _task(lab: Lab, spec: RunSpec) -> dict[str, Any]:
    """Values of the task form: the preset that gives the task, or else each of its settings."""
    task = spec.task
    values: dict[str, Any] = {"validation": task.validation}
    if _gone(lab, spec):
        return values | {"preset": OWN}
    own = (
        own_values(lab.catalog.info(task.dataset, spec.network.learns).kind, task) | values | {"dataset": task.dataset}
    )
    preset = preset_of(lab.catalog, spec)
    return (
        own
        if preset is None
        else {name: own[name] for name in (*values, "dataset", "shots", "length") if name in own} | {"preset": preset}
    )


def _methods(specs: Sequence[RunSpec]) -> dict[str, list[str]]:
    """Values of the Fine-tune form: what is compared."""
    kinds = {spec.kind for spec in specs if spec.role in (Role.REFERENCE, Role.ADAPTER)}
    controls = {spec.kind for spec in specs if spec.role is Role.CONTROL}
    return {"methods": sorted(kinds, key=method_order), "controls": sorted(controls, key=method_order)}


def _arms(specs: Sequence[RunSpec]) -> dict[str, Any]:
    """Values of the Fine-tune form that each family of networks has its own of. Of several rates, the middle one is
    what tuning is around.
    """
    adapters = [spec for spec in specs if spec.role is Role.ADAPTER]
    tried = max(len(_rates([spec for spec in specs if spec.label == label])) for label in {s.label for s in specs})
    kinds = _methods(specs)["methods"]
    rates = {f"rate-{kind}": _middle(_rates([spec for spec in specs if spec.kind == kind])) for kind in kinds}
    return {"found": tried > 1} | rates | field_values(adapters)


def _grid(specs: Sequence[RunSpec]) -> dict[str, Any]:
    """Values of the Sweep form."""
    adapters = [spec for spec in specs if spec.role is Role.ADAPTER]
    values: dict[str, Any] = {
        "rates": _rates(adapters),
        "full-rates": _rates([spec for spec in specs if spec.role is Role.REFERENCE]),
    }
    if adapters:
        method = adapters[0].method
        values |= layer_values(specs[0].network, method.targets) | {"adapters": method.kind}
        values |= {field.key: getattr(method, field.name) for field in not_varied(type(method))}
        for name in method.varied():
            own = [spec.method for spec in adapters if name in spec.method.varied()]
            values[f"{name}s"] = sorted({getattr(each, name) for each in own})
    return values


def _rates(specs: Sequence[RunSpec]) -> list[float]:
    return sorted({spec.optim.learning_rate for spec in specs})


def _middle(rates: list[float]) -> float:
    return rates[len(rates) // 2]
