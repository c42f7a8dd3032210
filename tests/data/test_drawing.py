"""Drawings become images like MNIST's: as large, in the middle, and the same wherever they were drawn."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.dataset import SIDE
from core.data.drawing import DRAWN, box_of, centred, drawing_of
from core.errors import DatasetError

BOX = 20


def bar(top: int, left: int, height: int, width: int) -> np.ndarray:
    drawing = np.zeros((DRAWN, DRAWN), np.uint8)
    drawing[top : top + height, left : left + width] = 255
    return drawing


sides = st.integers(1, 24)
places = st.integers(0, DRAWN - 24)


@given(places, places, sides, sides)
def test_ink_fits_the_box_and_its_centre_is_the_middle(top: int, left: int, height: int, width: int) -> None:
    image = centred(bar(top, left, height, width), BOX)
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == BOX
    for axis in (0, 1):
        mass = image.sum(axis, dtype=float)
        assert abs((np.arange(SIDE) + 0.5) @ mass / mass.sum() - SIDE / 2) <= 0.5


@given(places, places, sides, sides)
def test_it_does_not_matter_where_something_is_drawn(top: int, left: int, height: int, width: int) -> None:
    assert np.array_equal(centred(bar(top, left, height, width), BOX), centred(bar(0, 0, height, width), BOX))


def test_a_stroke_at_one_side_stays_inside() -> None:
    drawing = bar(0, 0, 1, 50)
    drawing[:50, 0] = 255
    image = centred(drawing, BOX)
    assert image.shape == (SIDE, SIDE)
    assert np.count_nonzero(image) >= 2 * (BOX - 1)


def test_nothing_drawn_is_all_background() -> None:
    assert not centred(np.zeros((DRAWN, DRAWN), np.uint8), BOX).any()


def test_what_the_page_sends_is_read_and_anything_else_refused() -> None:
    drawing = bar(3, 4, 5, 6)
    assert np.array_equal(drawing_of(base64.b64encode(drawing.tobytes()).decode()), drawing)
    for odd in ("", "?", base64.b64encode(b"short").decode(), "é", 4 * base64.b64encode(drawing.tobytes()).decode()):
        with pytest.raises(DatasetError, match="draw again"):
            drawing_of(odd)


@pytest.mark.parametrize("box", [9, 20, SIDE])
def test_ink_becomes_as_large_as_that_of_the_dataset(box: int) -> None:
    images = np.stack([centred(bar(3, 5, height, width), box) for height, width in ((40, 8), (9, 30), (25, 25))])
    assert abs(box_of(images) - box) <= 1
    assert box_of(np.zeros((2, SIDE, SIDE), np.uint8)) == SIDE
