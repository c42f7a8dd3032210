"""The form for every setting of a task, drawn from the description that the view of its dataset gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import streamlit as st

from core.data.sources.source import DatasetInfo
from core.data.task_spec import TaskSpec
from core.networks.network import NetworkSpec
from core.spec import bounds
from core.tasks.views.registry import view_of
from core.tasks.views.view import FormField, fields_of
from pages.shared.forms import widgets
from pages.shared.ui.literal import literal

ALL = "all"
"""The amount that leaves nothing out."""


def own_task(info: DatasetInfo, key: str, network: NetworkSpec | None = None, without: str = "") -> TaskSpec:
    """Draw fields for every setting of a task of a dataset.

    Args:
        info: the dataset.
        key: prefix of the widget keys.
        network: which one learns it, and so limits what can be chosen; None while that is not known.
        without: name of a setting that is not asked for.

    Raises:
        SpecError: the choices contradict each other.
    """
    values: dict[str, Any] = {}
    classes = {label: _class_text(label, info.class_names) for label in range(info.num_classes)}
    drawn = [field for field in fields_of(view_of(info.kind), info.has_classes) if field.name != without]
    for side_by_side, fields in groupby(drawn, lambda field: field.widget == "switch"):
        with st.container(horizontal=side_by_side):
            values |= {field.name: _value(field, classes, f"{key}-{field.name}", network) for field in fields}
    return TaskSpec.of(dataset=info.name, **values)


def widget_values(kind: str, task: TaskSpec) -> dict[str, Any]:
    """What the widgets of :func:`own_task` show for a task of a dataset of this kind, by field."""
    return {field.name: _shown(field, getattr(task, field.name)) for field in view_of(kind).fields}


def length(kind: str, key: str, network: NetworkSpec, start: int | None = None) -> int:
    """Draw the field for the longest input that a network reads, for datasets of a kind whose tasks have one.

    Args:
        kind: of the dataset.
        key: of the widget.
        network: limits what can be chosen.
        start: chosen at first; None for the default.
    """
    field = next(field for field in view_of(kind).fields if field.name == "length")
    return int(_value(field, {}, key, network, start))


def shots(info: DatasetInfo, key: str, start: int | None) -> int | None:
    """Draw the field for how many examples are learned from, of each class where there are classes; None for all.

    Args:
        info: the dataset.
        key: prefix of the widget keys of :func:`own_task`.
        start: chosen at first; None for all.
    """
    field = next(field for field in fields_of(view_of(info.kind), info.has_classes) if field.name == "shots")
    # What was chosen for nobody but the dataset before is not carried over to this one.
    former, st.session_state[f"{key}-shots-of"] = st.session_state.get(f"{key}-shots-of"), (info.name, start or ALL)
    if former and former[0] != info.name and st.session_state.get(f"{key}-shots") == former[1]:
        st.session_state[f"{key}-shots"] = start or ALL
    amount: int | None = _value(field, {}, f"{key}-{field.name}", None, start)
    return amount


def _value(
    field: FormField, classes: Mapping[int, str], key: str, network: NetworkSpec | None, first: int | None = None
) -> Any:
    """Draw the widget of a field; return the value of the spec's field. Args: first: of an amount or a choice, what is
    chosen at first; None for all, or for the default.
    """
    about = bounds(TaskSpec, field.name)
    title = field.title or about.title
    words: dict[str, Any] = {"help": field.help or about.description, "key": key, "persist_state": "session"}
    match field.widget:
        case "classes":
            chosen = st.pills(
                title, list(classes), selection_mode="multi", format_func=classes.__getitem__, wrap=True, **words
            )
            return tuple(sorted(chosen)) or None
        case "slider":
            low, high = int(about.low or 0), int(about.high or 0)
            start, form = int(about.default), f"%d{field.unit}"
            return float(st.slider(title, low, high, start, field.step, format=form, **words))
        case "switch":
            return field.on if st.toggle(title, **words) else about.default
        case "amount":
            chosen = st.select_slider(title, [ALL, *widgets.offered(list(field.choices), key)], first or ALL, **words)
            return None if chosen == ALL else chosen
        case "choice":
            choices, start = _within(field, first or about.default, network)
            return st.select_slider(title, widgets.offered(choices, key), start, **words)
        case "share":
            return widgets.validation_part(key)


def _class_text(label: int, names: Sequence[str]) -> str:
    """A class's number, and its name unless that is the same number or not known."""
    name = names[label] if label < len(names) else str(label)
    return str(label) if name == str(label) else f"{label}: {literal(name)}"


def _within(field: FormField, default: int, network: NetworkSpec | None) -> tuple[list[int], int]:
    """The choices of a field that a network can take, its limit among them where it is lower, and the first value."""
    limit: int | None = getattr(network, field.limit) if network is not None and field.limit else None
    if limit is None or limit >= max(field.choices):
        return list(field.choices), default
    return sorted({*(choice for choice in field.choices if choice < limit), limit}), min(default, limit)


def _shown(field: FormField, value: Any) -> Any:
    """What the widget of a field shows for a value of the spec's field."""
    match field.widget:
        case "classes":
            return list(value or ())
        case "slider":
            return round(value)
        case "switch":
            return value != bounds(TaskSpec, field.name).default
        case "amount":
            return value or ALL
        case "choice" | "share":
            return value
