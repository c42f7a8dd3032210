"""Figures of predictions by class: what they draw, and that any name and any page can be read."""

from __future__ import annotations

import numpy as np
import pytest

from core.study.arms.examples import ArmPredictions, class_results
from core.study.figures.examples import (
    DEEPEST,
    MAX_WRITTEN,
    class_accuracy,
    class_accuracy_alt,
    confusion_alt,
    confusion_map,
    highest_confusion,
)
from core.study.figures.palette import FULL, LORA, rank_colour
from core.wording.tasks import class_name
from tests.study.shown import contrast, parts_of, themed

NAMES = ("zero", "<b>one</b>", "a name that is far too long for an axis")
TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2])
FIRST = ArmPredictions("a", (0,), np.array([[0, 0, 0, 7, 1, 0, 2, 2]], dtype=np.uint8), TRUTH)
SECOND = ArmPredictions("b", (0, 1), np.tile(TRUTH, (2, 1)).astype(np.uint8), TRUTH)
RESULTS = class_results([FIRST, SECOND])
LABELS = {"a": "Full", "b": "LoRA r=4"}
COLOURS = {"a": FULL, "b": LORA}


def drawn(key: str = "a"):
    return confusion_map(RESULTS, key, LABELS[key], NAMES, COLOURS[key], highest_confusion(RESULTS, ["a", "b"]))


def test_a_confusion_matrix_colours_errors_and_writes_every_share():
    (cells,) = drawn().data
    np.testing.assert_allclose(cells.z, [[0, 0, 0, 25], [50, 0, 0, 0], [0, 0, 0, 0]])
    assert cells.zmax == 50
    assert drawn("b").data[0].zmax == 50  # both have one scale
    written = np.array(cells.text)
    assert {at: written[at] for at in np.ndindex(written.shape) if written[at]} == {
        (0, 0): "75",
        (0, 3): "25",
        (1, 0): "50",
        (1, 1): "50",
        (2, 2): "100",
    }
    assert cells.customdata[1][0] == "&lt;b&gt;one&lt;/b&gt;, predicted as zero: 50.0 %, 1.0 images"


def test_names_are_short_escaped_and_there_for_outputs_without_one():
    assert list(drawn().layout.xaxis.ticktext) == ["zero", "&lt;b&gt;one&lt;/b&gt;", "a name that is …", "output 7"]
    assert list(drawn().layout.yaxis.ticktext)[-1] == "a name that is …"
    assert drawn().layout.yaxis.autorange == "reversed"
    assert class_name(1, NAMES) == NAMES[1]


def test_many_classes_are_coloured_alone():
    truth = np.arange(MAX_WRITTEN + 1)
    arm = ArmPredictions("a", (0,), np.roll(truth, 1)[None].astype(np.uint8), truth)
    results = class_results([arm])
    figure = confusion_map(results, "a", "Full", [], FULL, highest_confusion(results, ["a"]))
    assert figure.data[0].texttemplate is None
    assert figure.data[0].colorscale[1][1].endswith(f" {DEEPEST[1]})")
    many = np.arange(62)
    results = class_results([ArmPredictions("a", (0,), many[None].astype(np.uint8), many)])
    assert len(class_accuracy(results, {"a": "Full"}, [], COLOURS).layout.xaxis.ticktext) <= 30
    assert highest_confusion(results, ["a"]) == 0


def test_accuracies_of_arms_stand_side_by_side_with_their_intervals():
    a, b = class_accuracy(RESULTS, LABELS, NAMES, COLOURS).data
    assert (list(a.y), list(b.y)) == ([75, 50, 100], [100, 100, 100])
    assert (a.marker.color, b.marker.color) == (FULL, LORA)
    assert (b.x > a.x).all()
    assert (np.round(a.x) == np.round(b.x)).all()
    np.testing.assert_array_equal(a.error_y.array, 0)  # one seed has no interval
    wide = class_results([ArmPredictions("a", (0, 1), np.array([[0, 0, 0, 0], [0, 0, 0, 1]]), np.zeros(4, int))])
    (dots,) = class_accuracy(wide, {"a": "Full"}, NAMES, COLOURS).data
    assert dots.y[0] + dots.error_y.array[0] == 100
    assert dots.y[0] - dots.error_y.arrayminus[0] == 0


def test_alternatives_in_words_name_what_stands_out():
    assert confusion_alt(RESULTS, "a", "Full", NAMES) == (
        "Confusion matrix of Full. Its most frequent confusion: 50.0 % of the images of class <b>one</b> are predicted "
        "as zero."
    )
    assert confusion_alt(RESULTS, "b", "LoRA r=4", NAMES) == (
        "Confusion matrix of LoRA r=4: every image is predicted rightly."
    )
    assert class_accuracy_alt(RESULTS, LABELS, NAMES) == (
        "Accuracy on each class. The lowest of each setting: Full 50.00 % on class <b>one</b>; LoRA r=4 100.00 % on "
        "class zero."
    )


def test_text_has_no_colour_of_its_own_and_no_figure_a_background():
    for figure in (drawn(), class_accuracy(RESULTS, LABELS, NAMES, COLOURS)):
        themed(figure)
    assert drawn().data[0].textfont.color is None


@pytest.mark.parametrize("colour", [FULL, *map(rank_colour, (1, 4, 16, 64))])
@pytest.mark.parametrize(("text", "page"), [("#55626f", "#ffffff"), ("#a5b1be", "#0e1319")])
def test_numbers_can_be_read_on_the_deepest_colour(colour, text, page):
    # With the paler of the theme's two colours of text.
    under = DEEPEST[0] * parts_of(colour) + (1 - DEEPEST[0]) * parts_of(page)
    assert contrast(under, parts_of(text)) >= 4.5
