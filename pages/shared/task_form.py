"""The form for the task to fine-tune on: a preset or a custom task."""

from __future__ import annotations

import streamlit as st

from core.data.presets import preset_tasks, presets_for, suggested_preset
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, LabError
from core.lab import Lab
from core.networks.network import NetworkSpec
from core.store.record import Run
from pages.shared import forms
from pages.shared.datasets import dataset_picker
from pages.shared.literal import literal
from pages.shared.task_preview import task_preview
from pages.shared.view_form import own_task


def task_form(lab: Lab, base: Run | NetworkSpec, key: str) -> TaskSpec | None:
    """Draw the form; return None while the task is not ready, and show the reason on the page.

    Args:
        lab: has the datasets.
        base: the network to fine-tune. The dataset of a pretrain run is the default; a network that was brought has
            none, so that there is nothing that could change.
        key: prefix of the widget keys.
    """
    st.subheader("Task")
    if isinstance(base, NetworkSpec):
        return _direct(lab, base, key)
    kind = _kind(lab, base)
    presets = presets_for(kind)
    titles = {name: preset.title for name, preset in presets.items()} | {"own": "Custom change"}
    preset = st.pills(
        "What changes from the base's task",
        list(titles),
        default=suggested_preset(kind) or "own",
        format_func=titles.__getitem__,
        key=f"{key}-preset",
        persist_state="session",
        required=True,
        wrap=True,
    )
    st.caption(presets[preset].line_for(kind) if preset in presets else "Choose every setting of the task yourself.")
    dataset = dataset_picker(lab, "Dataset", f"{key}-dataset", base.spec.task.dataset, kind)
    if dataset is None:
        return None
    try:
        if preset == "own":
            task = own_task(lab.catalog.info(dataset), key, base.spec.network)
        else:
            share = forms.validation_part(f"{key}-validation")
            task = preset_tasks(preset, base.spec.task.dataset, lab.catalog, dataset, share)[1]
            task = task.but(length=base.spec.task.length)
        task_preview(lab, task, key, base.spec.network)
    except LabError as error:
        st.error(literal(str(error)))
        return None
    return task


def _direct(lab: Lab, network: NetworkSpec, key: str) -> TaskSpec | None:
    """Draw the form for a network that is fine-tuned as it was brought."""
    dataset = dataset_picker(lab, "Dataset", f"{key}-dataset", kind=network.learns)
    if dataset is None:
        return None
    try:
        task = own_task(lab.catalog.info(dataset), key, network)
        task_preview(lab, task, key, network)
    except LabError as error:
        st.error(literal(str(error)))
        return None
    return task


def _kind(lab: Lab, base: Run) -> str:
    """What the examples of a base's task are; of a dataset that was deleted, what those of the best other one are."""
    try:
        return lab.catalog.info(base.spec.task.dataset).kind
    except DatasetError:
        return lab.catalog.info(lab.catalog.best()).kind
