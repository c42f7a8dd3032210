"""The form for a task: what it shows for a task is what it makes of it again."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.data.task_spec import TaskSpec
from pages.shared.forms.view import widget_values
from tests.conftest import HANG


def form() -> None:
    import streamlit as st

    from core.data.sources.source import DatasetInfo
    from pages.shared.forms.view import own_task

    info = DatasetInfo("made", "Made", "Made for a test.", num_classes=6, state="ready")
    st.session_state["found"] = own_task(info, "form")


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
    app = AppTest.from_function(form, default_timeout=HANG)
    for name, value in widget_values("image", task).items():
        app.session_state[f"form-{name}"] = value
    app.run()
    assert not app.exception
    assert app.session_state["found"] == task


def test_an_empty_form_is_the_whole_dataset() -> None:
    app = AppTest.from_function(form, default_timeout=HANG).run()
    assert app.session_state["found"] == TaskSpec(dataset="made")
    assert [toggle.label for toggle in app.toggle] == ["Invert", "Pixel permutation"]


def test_classes_are_chosen_by_number_and_name() -> None:
    app = AppTest.from_function(form_with_names, default_timeout=HANG).run()
    assert not app.exception
    assert app.button_group(key="form-classes").options == ["0: cat", "1", r"2: \*x\*"]
    app.button_group(key="form-classes").set_value([0, 2]).run()
    assert app.session_state["found"].classes == (0, 2)


def form_with_names() -> None:
    import streamlit as st

    from core.data.sources.source import DatasetInfo
    from pages.shared.forms.view import own_task

    info = DatasetInfo("made", "Made", "Made for a test.", 3, state="ready", class_names=("cat", "1", "*x*"))
    st.session_state["found"] = own_task(info, "form")


@pytest.mark.parametrize(
    ("limit", "offered", "first"), [(None, 512, 128), (1000, 512, 128), (200, 200, 128), (62, 62, 62)]
)
def test_no_length_is_offered_that_the_network_cannot_read(limit: int | None, offered: int, first: int) -> None:
    app = AppTest.from_function(form_for_texts, default_timeout=HANG, args=(limit,)).run()
    assert not app.exception
    slider = app.select_slider(key="form-length")
    assert max(map(int, slider.options)) == offered
    assert slider.value == first == app.session_state["found"].length


def form_for_texts(limit: int | None) -> None:
    from types import SimpleNamespace

    import streamlit as st

    from core.data.sources.source import DatasetInfo
    from pages.shared.forms.view import own_task

    info = DatasetInfo("made", "Made", "Made for a test.", num_classes=6, state="ready", kind="text")
    st.session_state["found"] = own_task(info, "form", SimpleNamespace(longest_input=limit))
