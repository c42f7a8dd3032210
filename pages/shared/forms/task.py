"""The form for the task to fine-tune on: a preset or a custom task."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.data.sources.source import DatasetInfo
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, LabError
from core.lab import Lab
from core.networks.network import NetworkSpec
from core.plan.configuration import Configuration, preset_task
from core.plan.defaults import default_shots
from core.plan.experiment import head_for
from core.spec import bounds
from core.store.record import Run
from core.tasks.presets import HALVES, presets_for, suggested_preset
from pages.shared.forms import widgets
from pages.shared.forms.datasets import dataset_picker
from pages.shared.forms.task_preview import task_preview
from pages.shared.forms.view import length, own_task, shots, widget_values
from pages.shared.ui.literal import literal

OWN = "own"
"""The choice beside the presets: every setting of the task is a field of the form."""


def task_form(lab: Lab, base: Run | NetworkSpec, key: str, without: str = "") -> TaskSpec | None:
    """Draw the form; return None while the task is not ready, and show the reason on the page.

    Args:
        lab: has the datasets.
        base: the network to fine-tune. The dataset of a pretrain run is the default; a network that was imported has
            none, so that its presets change nothing.
        key: prefix of the widget keys.
        without: name of a setting of the task that is not asked for.
    """
    st.subheader("Task")
    if isinstance(base, NetworkSpec):
        source, network, label, own = None, base, "Training data", "Custom"
        kind, objective, classes = base.learns, "", _chosen_classes(lab, f"{key}-dataset")
    else:
        source, network = base.spec.task, base.spec.network
        label, own = "What changes from the base's task", "Custom change"
        info, objective = _learned(lab, base), base.spec.objective.kind
        kind, classes = info.kind, info.num_classes
    direct = source is None
    presets = presets_for(kind, direct, classes)
    titles = {name: preset.title_for(kind) for name, preset in presets.items()} | {OWN: own}
    preset = st.pills(
        label,
        list(titles),
        default=suggested_preset(kind, direct, classes) or OWN,
        format_func=titles.__getitem__,
        key=f"{key}-preset",
        persist_state="session",
        required=True,
        wrap=True,
    )
    st.caption(presets[preset].line_for(kind) if preset in presets else "Choose every setting of the task yourself.")
    default = source.dataset if source else None
    if source and preset in presets and presets[preset].other_dataset:
        _leave(lab, source.dataset, f"{key}-dataset")
    dataset = dataset_picker(lab, "Dataset", f"{key}-dataset", default, kind, objective)
    if dataset is None:
        return None
    try:
        if preset == OWN:
            task = own_task(lab.catalog.info(dataset, kind), key, network, without)
        else:
            share = widgets.validation_part(f"{key}-validation")
            task = preset_task(lab.catalog, preset, source, network, dataset, share)
            if task.shots is None and without != "shots":
                task = task.but(shots=shots(lab.catalog.info(dataset, kind), key, default_shots(lab.tasks, task)))
            if network.reads_tokens and without != "length":
                task = task.but(length=length(kind, f"{key}-length", network, task.length))
        task_preview(lab, task, key, network)
    except LabError as error:
        st.error(literal(str(error)))
        return None
    return task


def forgetting_key(key: str) -> str:
    """Key of the widget of :func:`forgetting_form`. Args: key: prefix of the form's widget keys."""
    return f"{key}-forgetting"


def network_on(base: Run | NetworkSpec, task: TaskSpec | None) -> NetworkSpec:
    """The network of a base as it is fine-tuned on a task: one that knows whether its head is trained whole."""
    if isinstance(base, NetworkSpec):
        return base
    spec = base.spec
    head = head_for(spec.network, spec.task, task, spec.objective) if task is not None else None
    return spec.network.but(whole_head=head is not None)


def forgetting_form(lab: Lab, network: NetworkSpec, learned: str, length: int, key: str) -> TaskSpec | None:
    """Draw the choice of texts on which an imported language model is measured before and after; others have none.

    Args:
        lab: has the datasets.
        network: that is fine-tuned as it was imported.
        learned: dataset to fine-tune on, which is not offered.
        length: longest input, in tokens.
        key: prefix of the widget keys.

    Returns:
        The task; None for nothing.
    """
    if network.has_head:
        return None
    known = [info for info in (each.seen_by(network.learns) for each in lab.catalog.list()) if info.state == "ready"]
    titles = {info.name: info.title for info in known if info.kind == network.learns and info.name != learned}
    titles, own = {"": "nothing"} | titles, forgetting_key(key)
    if st.session_state.get(own, "") not in titles:
        st.session_state[own] = ""
    about = bounds(Configuration, "forgetting")
    name = st.selectbox(
        about.title,
        list(titles),
        format_func=titles.__getitem__,
        key=own,
        help=about.description,
        persist_state="session",
    )
    return TaskSpec.of(dataset=name, length=length) if name else None


def _leave(lab: Lab, source: str, key: str) -> None:
    """Choose another dataset like the source, where the source is chosen and the preset needs another one."""
    infos = {info.name: info for info in lab.catalog.list() if info.state == "ready"}
    others = [name for name, info in infos.items() if name != source and info.is_like(infos.get(source, info))]
    if others and st.session_state.get(key, source) == source:
        st.session_state[key] = others[0]


def _chosen_classes(lab: Lab, key: str) -> int:
    """Whether the dataset that was chosen has classes, before its choice is drawn. Args: key: of the choice."""
    infos = {info.name: info for info in lab.catalog.list()}
    chosen = infos.get(st.session_state.get(key, ""))
    return HALVES if chosen is None or chosen.state != "ready" else chosen.num_classes


def own_values(kind: str, task: TaskSpec) -> dict[str, Any]:
    """What the widgets of :func:`task_form` show for a task whose every setting is chosen, by the ends of their keys.

    Args:
        kind: of the task's dataset.
        task: any.
    """
    return {"preset": OWN, **widget_values(kind, task)}


def _learned(lab: Lab, base: Run) -> DatasetInfo:
    """The dataset of a base's task, as its network learns it; the best other one where it was deleted."""
    learns = base.spec.network.learns
    try:
        return lab.catalog.info(base.spec.task.dataset, learns)
    except DatasetError:
        return lab.catalog.info(lab.catalog.best(), learns)
