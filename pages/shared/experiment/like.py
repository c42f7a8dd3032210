"""Filling the form of New experiment with the settings of an experiment, named in the address as ``like``."""

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
from pages.shared.forms.adapter import field_values
from pages.shared.forms.objective import objective_values
from pages.shared.forms.optim import family_key, optim_values
from pages.shared.forms.task import OWN, own_values
from pages.shared.ui.links import go
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import start_id

FILLED = "filled-like"
"""Session state key: the experiment that the form was filled from last."""

SAID = "like-said"
"""Session state key: what the form cannot show of it, in sentences."""


KEY = "new"
"""Prefix of the form's widget keys."""

NOTHING_VARIED = "nothing"
"""The choice beside the axes."""


def open_like(experiment: str, base: str) -> NoReturn:
    """Open the form, filled with the settings of an experiment, again each time.

    Args:
        experiment: its id.
        base: id of its base, or the digest of the network that was imported.
    """
    st.session_state.pop(FILLED, None)
    go("new", {"like": experiment, "base": base})


def fill_form(lab: Lab) -> None:
    """Fill the form before it is drawn: once for each link that was followed, so that changes to the form stay.

    What the form cannot show stands above it until another link is followed; see :func:`settle_like`.

    ``like`` stays in the address, so that reloading the page fills the form and Back leaves it.
    """
    id = st.query_params.get("like")
    if id is None:
        return
    if st.session_state.get(FILLED) == id:
        _warn()
        return
    st.session_state[SAID] = []
    try:
        experiment = lab.store.experiment(id)
        specs, tune, vary = [run.spec for run in lab.store.members(experiment)], None, None
        if experiment.plan is not None and not _gone(lab, specs[0]):  # from where its search began
            asked = lab.experiments.configuration(experiment)
            vary, tune = asked.vary, asked.tune
            specs = list(lab.launcher.plan(asked.but(vary=None)).least)
    except LabError as error:
        st.session_state[FILLED] = id
        st.warning(literal(str(error)))
        return
    fill_from(lab, specs, start_id(specs[0]), tune, vary)
    st.session_state[f"{KEY}-trim"] = experiment.trim
    st.session_state[f"{KEY}-like"] = id
    st.session_state[FILLED] = id  # at last: a press may end this run of the page
    if gone := _gone(lab, specs[0]):
        _say(f"Its dataset {gone} was deleted: choose another one.")
        _warn()


def settle_like(lab: Lab, shown: Configuration | None) -> None:
    """Say, after the form was drawn that was just filled, whether it has all settings of the experiment.

    Args:
        lab: has the experiment.
        shown: what the form says; None while it says nothing that could be trained, for a reason that it gives.
    """
    id = st.session_state.pop(f"{KEY}-like", None)
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
        _say(f"The form cannot show all settings of that experiment. Left out: {'; '.join(lines)}.")
    else:
        _say("The form combines the settings of that experiment in other ways.")
    st.rerun()


def _on(task: TaskSpec, asked: Configuration) -> Configuration:
    """What is asked for on another task, with the head as it is trained there."""
    found = with_head(asked.but(task=task))
    if found.head == asked.head:
        return found
    return found.but(arms=tuple(arm.but(optim=arm.optim.but(head_rate=None)) for arm in found.arms))


def _say(sentence: str) -> None:
    """Keep a warning that :func:`_warn` draws above the form."""
    st.session_state.setdefault(SAID, []).append(sentence)


def _warn() -> None:
    for sentence in st.session_state.get(SAID, ()):
        st.warning(literal(sentence))


def _gone(lab: Lab, asked: RunSpec | Configuration) -> str:
    """Name of the dataset that is learned, if it was deleted; empty otherwise."""
    try:
        lab.catalog.info(asked.task.dataset)
    except LabError:
        return asked.task.dataset
    return ""


def fill_from(
    lab: Lab, specs: Sequence[RunSpec], start: str, search: TuneSpec | None, vary: VarySpec | None = None
) -> None:
    """Fill the form, before it is drawn, with what comes nearest to the settings of runs.

    Args:
        lab: has the datasets.
        specs: of all runs, at least one.
        start: id of the base, or digest of the network that was imported; it is on this machine.
        search: how learning rates are searched for; None where they are not.
        vary: what a study varies; the runs are those of its experiment at no point in particular.
    """
    first = specs[0]
    st.query_params["base"] = st.session_state["pick-base"] = start
    values = _task(lab, first) | _methods(specs) | {"axis": NOTHING_VARIED if vary is None else vary.name}
    if first.is_direct:
        values |= {"forgetting": "" if first.source is None else first.source.dataset}
    if first.device in lab.devices():
        values["device"] = first.device
    found = _arms(specs) | {"seeds": min(len({spec.seed for spec in specs}), widgets.MAX_FORM_SEEDS)}
    found |= {"own-bases": first.own_base, "found": search is not None}
    if search is not None and vary is None:
        found["longer"] = search.longer
    if vary is not None:
        found[f"points-{vary.name}"] = [str(point) for point in vary.points]
    own = family_key(KEY, first.network)
    values = {f"{KEY}-{name}": value for name, value in values.items()}
    values |= {f"{own}-{name}": value for name, value in (optim_values(first.optim, first.network) | found).items()}
    widgets.fill(values | objective_values(KEY, first.objective))


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
    """What is compared."""
    kinds = {spec.kind for spec in specs if spec.role in (Role.REFERENCE, Role.ADAPTER)}
    controls = {spec.kind for spec in specs if spec.role is Role.CONTROL}
    return {"methods": sorted(kinds, key=method_order), "controls": sorted(controls, key=method_order)}


def _arms(specs: Sequence[RunSpec]) -> dict[str, Any]:
    """Values that each family of networks has its own of: all rates, and where a search begins, the middle one."""
    values: dict[str, Any] = {}
    for kind in _methods(specs)["methods"]:
        rates = sorted({spec.optim.learning_rate for spec in specs if spec.kind == kind})
        values |= {f"rates-{kind}": [f"{rate:g}" for rate in rates], f"rate-{kind}": rates[len(rates) // 2]}
    return values | field_values([spec for spec in specs if spec.role is Role.ADAPTER])
