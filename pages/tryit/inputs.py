"""What networks are asked: a test example, a drawing, a picture or a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from core.data.drawing import centred
from core.data.examples import Batch
from core.data.task import Task
from core.data.text_examples import TextExamples
from core.data.uploads.images import ENDINGS, decode
from core.data.views.image import as_seen, images_of
from core.errors import LabError
from core.lab import Lab
from core.store.record import Run
from core.study.weights.predicted import test_texts
from core.wording.examples import class_name
from core.wording.numbers import count_text
from pages.shared.literal import literal
from pages.tryit.canvas import canvas

EXAMPLE = "try-example"
"""Session state key: number of the test example, from 1."""

MAX_MEBIBYTES = 8
"""Limit on a picture."""

MAX_CHARACTERS = 4000
"""Limit on a text; networks cut it at their own number of tokens."""

SHOWN = 280
"""Width of an image, in pixels."""


@dataclass(frozen=True, eq=False)
class Input:
    """One input, and what is known of it."""

    batch: Batch
    """Of one row."""
    truth: int | None = None
    """Its label; None if nobody knows."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What an input is made for."""

    lab: Lab
    run: Run
    """One of the runs that are asked."""
    task: Task
    """The target or the source: images are transformed as its own, and it has the test examples."""


def _test_image(asked: Asked) -> Input:
    row = _row(asked)
    _seen(images_of(asked.task.test, torch.tensor([row]))[0], f"Test image {row + 1}")
    return _of_test(asked, row)


def _test_text(asked: Asked) -> Input:
    row = _row(asked)
    (text,) = test_texts(asked.lab, asked.task.spec, [row])
    with st.container(border=True):
        st.markdown(literal(text[:MAX_CHARACTERS]) or "*An empty text*")
    return _of_test(asked, row)


def _drawing(asked: Asked) -> Input | None:
    drawn = canvas("try-canvas", "A square to draw on with mouse, pen or finger.")
    if drawn is None:
        st.caption("Draw in the square. The networks answer after each stroke.")
        return None
    st.caption("Scaled and centred as the digits of MNIST are, and transformed as the task:")
    return _image(asked, centred(drawn), "The drawing as the networks see it", width=112)


def _picture(asked: Asked) -> Input | None:
    file = st.file_uploader(
        "Picture",
        type=[ending[1:] for ending in ENDINGS],
        key="try-picture",
        max_upload_size=MAX_MEBIBYTES,
        help="It becomes a grey image of 28 × 28 pixels, transformed as the task's.",
    )
    if file is None:
        return None
    pixels, _ = decode(file.getvalue(), "The picture")
    if st.toggle("Invert it first", key="try-invert", help="MNIST's digits are white on black."):
        pixels = 255 - pixels
    return _image(asked, pixels, "The picture as the networks see it")


def _typed(asked: Asked) -> Input | None:
    text = st.text_area(
        "Text", key="try-text", max_chars=MAX_CHARACTERS, placeholder="Type a text, then press Ctrl+Enter"
    )
    digest = asked.run.spec.network.brought
    if not text or digest is None:
        return None
    reader = asked.lab.networks.reader(digest)
    (tokens,) = reader.encode([text], asked.task.spec.length)
    st.caption(f"{count_text(len(tokens))} tokens, with the marks of its beginning and end.")
    return Input(TextExamples.of([tokens], torch.zeros(1, dtype=torch.int64), reader.padding).batch(slice(None)))


INPUTS: Mapping[str, Mapping[str, Callable[[Asked], Input | None]]] = {
    "image": {"Test example": _test_image, "Draw": _drawing, "Picture": _picture},
    "text": {"Test example": _test_text, "Type": _typed},
}
"""By kind of data: the ways to give an input, by what they are called. Each returns None while there is none.

Each raises a :class:`core.errors.LabError` if what was given cannot be read.
"""


def ask_input(asked: Asked) -> Input | None:
    """Draw the choice of a way, and the way itself; return None while there is nothing to answer."""
    ways = INPUTS[asked.run.spec.network.learns]
    way = st.segmented_control("Input", list(ways), default=next(iter(ways)), required=True, key="try-input")
    try:
        return ways[way or next(iter(ways))](asked)
    except LabError as error:
        st.error(literal(str(error)))
        return None


def _row(asked: Asked) -> int:
    """Draw the choice of a test example; return its index."""
    count = len(asked.task.test)
    st.session_state[EXAMPLE] = min(max(st.session_state.get(EXAMPLE, 1), 1), count)
    number = st.number_input(f"Number, of {count_text(count)}", 1, count, step=1, key=EXAMPLE)
    return int(number) - 1


def _of_test(asked: Asked, row: int) -> Input:
    truth = int(asked.task.test.labels[row])
    st.caption(f"Class: {literal(class_name(truth, asked.task.class_names))}")
    return Input(asked.task.test.batch(slice(row, row + 1)), truth)


def _image(asked: Asked, pixels: NDArray[np.uint8], alt: str, width: int = SHOWN) -> Input:
    seen = as_seen(pixels[None], asked.task.spec)
    _seen((seen[0] * 255).round().to(torch.uint8).view(pixels.shape).numpy(), alt, width)
    return Input({"pixels": seen})


def _seen(pixels: NDArray[np.uint8], alt: str, width: int = SHOWN) -> None:
    st.image(pixels, width=width, alt=alt)
