"""What to fine-tune on: a preset, or a task put together by hand."""

from __future__ import annotations

import streamlit as st

from core.data.presets import PRESETS, preset_tasks
from core.errors import LabError
from core.lab import Lab
from core.spec import TaskSpec
from core.store.record import Run
from pages.shared import forms
from pages.shared.datasets import dataset_picker, task_preview
from pages.shared.literal import literal


def task_form(lab: Lab, base: Run, key: str) -> TaskSpec | None:
    """Draw the form; None while the task is not ready, with the reason on the page.

    Args:
        lab: knows the datasets.
        base: what is fine-tuned; its dataset is the one to learn at first.
        key: prefix of the fields' keys.
    """
    st.subheader("Task")
    kinds = {name: preset.title for name, preset in PRESETS.items()} | {"own": "Your own"}
    kind = st.pills(
        "What is new",
        list(kinds),
        default="rotation-45",
        format_func=kinds.__getitem__,
        key=f"{key}-preset",
        persist_state="session",
        required=True,
        wrap=True,
    )
    st.caption(PRESETS[kind].line if kind in PRESETS else "Put a task together by hand.")
    dataset = dataset_picker(lab, "Dataset to learn", f"{key}-dataset", base.spec.task.dataset)
    if dataset is None:
        return None
    try:
        if kind == "own":
            task = forms.own_task(dataset, list(range(lab.catalog.info(dataset).num_classes)), key)
        else:
            share = forms.validation_part(f"{key}-validation")
            task = preset_tasks(kind, base.spec.task.dataset, lab.catalog, dataset, share)[1]
        task_preview(lab, task, key)
    except LabError as error:
        st.error(literal(str(error)))
        return None
    return task
