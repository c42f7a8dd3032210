"""What networks are asked: a test example, a drawing, a picture or a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.data.dataset import LANGUAGE
from core.data.drawing import centred
from core.data.examples import Task
from core.data.uploads.image_draft import ENDINGS, decode
from core.errors import LabError
from core.lab import Lab
from core.numbers import count_text
from core.serving.inputs import Given, given_example, own_image, own_passage, own_text
from core.store.record import Run
from core.study.weights.predicted import drawn_box, test_texts
from core.wording.tasks import target_text
from pages.experiment.use.canvas import canvas
from pages.shared.experiment.measured import measured
from pages.shared.ui.in_view import ask_to_see, in_view
from pages.shared.ui.literal import literal
from pages.shared.ui.picture import picture

EXAMPLE, INPUT = "try-example", "try-input"
"""Session state keys: number of the test example, from 1; and which way to give an input is chosen."""

TEST = "Test example"
"""The way that all kinds of data have."""

MAX_MEBIBYTES = 8
"""Limit on a picture."""

MAX_CHARACTERS = 4000
"""Limit on a text; networks cut it at their own number of tokens."""

WIDTHS = {"large": 280, "small": 112}
"""Widths of an image, in pixels."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What an input is made for."""

    lab: Lab
    run: Run
    """One of the runs that are asked."""
    task: Task
    """The target or the source: images are transformed as its own, and it has the test examples."""
    disputed: Sequence[int]
    """The test examples on which networks disagree, in the order in which they are stepped through; may be empty."""
    below: DeltaGenerator
    """Place below the answers, for the input as the networks see it: on a phone the answers follow what was drawn."""


def _test_image(asked: Asked) -> Given:
    given = given_example(asked.task, _row(asked))
    _show(given, "The test image")
    _name_class(asked, given)
    return given


def _test_text(asked: Asked) -> Given:
    row = _row(asked)
    given = given_example(asked.task, row)
    (text,) = test_texts(asked.lab, asked.task.spec, [row])
    with st.container(border=True):
        st.markdown(literal(text[:MAX_CHARACTERS]) or "*An empty text*")
    _name_class(asked, given)
    return given


def _drawing(asked: Asked) -> Given | None:
    drawn = canvas("try-canvas", "A square to draw on with mouse, pen or finger.")
    if drawn is None:
        what = "one digit" if all(map(str.isdigit, asked.task.class_names)) else "one of the classes"
        st.caption(
            f"Draw {what} in the square, upright and large. The networks answer after each stroke; what the task does "
            "to its images, such as turning them, is done to the drawing, too."
        )
        return None
    box = measured(drawn_box, asked.lab, asked.task.spec.dataset)
    given = own_image(centred(drawn, box), asked.task.spec)
    with asked.below:
        _show(given, "The drawing as the networks see it", "small")
        st.caption(
            "As the networks see it: centred, as large as the images of the dataset, then transformed as the task."
        )
    return given


def _picture(asked: Asked) -> Given | None:
    file = st.file_uploader(
        "Picture",
        max_upload_size=MAX_MEBIBYTES,
        type=[ending[1:] for ending in ENDINGS],
        key="try-picture",
        help="It becomes a gray image of 28 × 28 pixels, transformed as the task's.",
    )
    if file is None:
        return None
    pixels, _ = decode(file.getvalue(), "The picture")
    if st.toggle("Invert it first", key="try-invert", help="MNIST's digits are white on black."):
        pixels = 255 - pixels
    given = own_image(pixels, asked.task.spec)
    with asked.below:
        _show(given, "The picture as the networks see it")
        st.caption("As the networks see it: a gray image of 28 × 28 pixels, transformed as the task.")
    return given


def _typed(asked: Asked) -> Given | None:
    text = st.text_area(
        "Text", key="try-text", max_chars=MAX_CHARACTERS, placeholder="Type a text, then press Ctrl+Enter"
    )
    if not text:
        return None
    network = asked.run.spec.network
    read = own_passage if network.learns == LANGUAGE else own_text
    given = read(text, asked.lab.networks.tokenizer_of(network), asked.task.spec.length)
    st.caption(f"{count_text(given.tokens)} tokens, with the marks of its beginning and end.")
    return given


WAYS: Mapping[str, Mapping[str, Callable[[Asked], Given | None]]] = {
    "image": {TEST: _test_image, "Draw": _drawing, "Picture": _picture},
    "text": {TEST: _test_text, "Type": _typed},
    LANGUAGE: {TEST: _test_text, "Type": _typed},
}
"""By kind of data: the ways to give an input, by what they are called. Each returns None while there is none.

Each raises a :class:`core.errors.LabError` if what was given cannot be read.
"""


def ask_input(asked: Asked) -> Given | None:
    """Draw the choice of a way, and the way itself; return None while there is nothing to answer."""
    ways = WAYS[asked.run.spec.network.learns]
    if st.session_state.get(INPUT) not in ways:
        st.session_state[INPUT] = TEST
    in_view(INPUT, only_stacked=True)  # so that a drawing and the answers below it are in sight together
    way = st.segmented_control("Input", list(ways), required=True, key=INPUT, on_change=ask_to_see, args=(INPUT,))
    try:
        return ways[way or TEST](asked)
    except LabError as error:
        st.error(literal(str(error)))
        return None


def _row(asked: Asked) -> int:
    """Draw the choice of a test example; return its index."""
    count, first = len(asked.task.test), asked.disputed[0] + 1 if asked.disputed else 1
    if st.session_state.get(EXAMPLE, 1) > count:
        st.session_state[EXAMPLE] = count
    number = st.number_input(
        f"Number, of {count_text(count)}", 1, count, first, step=1, key=EXAMPLE, bind="query-params"
    )
    if asked.disputed:
        st.button(
            "Next disagreement",
            icon=":material/skip_next:",
            key="try-next",
            on_click=_next,
            args=(asked.disputed,),
            help="The next test example on which the networks do not all answer alike.",
        )
    return int(number) - 1


def _next(disputed: Sequence[int]) -> None:
    """Go to the disputed example behind the current one, in the order of the table."""
    row = st.session_state[EXAMPLE] - 1
    place = disputed.index(row) + 1 if row in disputed else 0
    st.session_state[EXAMPLE] = disputed[place % len(disputed)] + 1


def _name_class(asked: Asked, given: Given) -> None:
    if given.truth is not None:
        names = asked.task.class_names
        st.caption(f"{'Class' if names else 'Number'}: {literal(target_text(given.truth, names))}")


def _show(given: Given, alt: str, size: str = "large") -> None:
    if given.image is not None:
        picture(given.image, alt, width=WIDTHS[size])
