"""The form for the task to fine-tune on: a preset or a custom task."""

from __future__ import annotations

import streamlit as st

from core.data.presets import PRESETS, preset_tasks
from core.data.task_spec import TaskSpec
from core.errors import LabError
from core.lab import Lab
from core.store.record import Run
from pages.shared import forms
from pages.shared.datasets import dataset_picker, task_preview
from pages.shared.literal import literal
from pages.shared.view_form import own_task


def task_form(lab: Lab, base: Run, key: str) -> TaskSpec | None:
    """Draw the form; return None while the task is not ready, and show the reason on the page.

    Args:
        lab: has the datasets.
        base: the network to fine-tune; its dataset is the default.
        key: prefix of the widget keys.
    """
    st.subheader("Task")
    kinds = {name: preset.title for name, preset in PRESETS.items()} | {"own": "Custom change"}
    kind = st.pills(
        "What changes from the base's task",
        list(kinds),
        default="rotation-45",
        format_func=kinds.__getitem__,
        key=f"{key}-preset",
        persist_state="session",
        required=True,
        wrap=True,
    )
    st.caption(PRESETS[kind].line if kind in PRESETS else "Choose every setting of the task yourself.")
    dataset = dataset_picker(lab, "Dataset", f"{key}-dataset", base.spec.task.dataset)
    if dataset is None:
        return None
    try:
        if kind == "own":
            task = own_task(lab.catalog.info(dataset), key)
        else:
            share = forms.validation_part(f"{key}-validation")
            task = preset_tasks(kind, base.spec.task.dataset, lab.catalog, dataset, share)[1]
        task_preview(lab, task, key)
    except LabError as error:
        st.error(literal(str(error)))
        return None
    return task
