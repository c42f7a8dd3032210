"""The form for a task: what it shows for a task is what it makes of it again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.data.task_spec import TaskSpec
from pages.shared.forms.view import widget_values
from tests.conftest import HANG


def form(info: dict, network: object) -> None:
    import streamlit as st

    from core.data.sources.source import DatasetInfo
    from pages.shared.forms.view import own_task

    made = DatasetInfo("made", "Made", "Made for a test.", state="ready", **{"num_classes": 6, **info})
    st.session_state["found"] = own_task(made, "form", network)


def drawn(values: dict[str, Any] | None = None, network: object = None, **info: object) -> AppTest:
    """The form for a dataset of which this is known, with these values in its fields."""
    app = AppTest.from_function(form, default_timeout=HANG, args=(info, network))
    for name, value in (values or {}).items():
        app.session_state[f"form-{name}"] = value
    app.run()
    assert not app.exception
    return app


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"classes": (1, 4, 5)},
        {"rotation": -45.0},
        {"invert": True},
        {"permutation": 0},
        {"shots": 10},
        {"validation": 0.3},
        {"classes": (0, 2), "rotation": 90.0, "invert": True, "permutation": 0, "shots": 1, "validation": 0.05},
    ],
)
def test_a_form_filled_with_a_task_makes_that_task(values: dict) -> None:
    task = TaskSpec(dataset="made", **values)
    assert drawn(widget_values("image", task)).session_state["found"] == task


def test_an_empty_form_is_the_whole_dataset() -> None:
    app = drawn()
    assert app.session_state["found"] == TaskSpec(dataset="made")
    assert [toggle.label for toggle in app.toggle] == ["Invert", "Pixel permutation"]


def test_classes_are_chosen_by_number_and_name() -> None:
    app = drawn(num_classes=3, class_names=("cat", "1", "*x*"))
    assert app.button_group(key="form-classes").options == ["0: cat", "1", r"2: \*x\*"]
    app.button_group(key="form-classes").set_value([0, 2]).run()
    assert app.session_state["found"].classes == (0, 2)


@pytest.mark.parametrize(
    ("limit", "offered", "first"), [(None, 512, 128), (1000, 512, 128), (200, 200, 128), (62, 62, 62)]
)
def test_no_length_is_offered_that_the_network_cannot_read(limit: int | None, offered: int, first: int) -> None:
    app = drawn(network=SimpleNamespace(longest_input=limit), kind="text")
    slider = app.select_slider(key="form-length")
    assert max(map(int, slider.options)) == offered
    assert slider.value == first == app.session_state["found"].length
