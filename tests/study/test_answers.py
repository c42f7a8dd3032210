"""Which test examples networks disagree on, and how probabilities are drawn."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
from hypothesis import given
from hypothesis import strategies as st

from core.study.arms.answers_table import answers_table, disputed
from core.study.figures.probabilities import MAX_CLASSES, probabilities, probabilities_alt


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 4)] * n), min_size=1, max_size=30)))
def test_disputed_examples_are_those_with_different_answers_most_first(rows: list[tuple[int, ...]]) -> None:
    answers = [np.array(column) for column in zip(*rows, strict=True)]
    found = disputed(answers).tolist()
    assert sorted(found) == [place for place, row in enumerate(rows) if len(set(row)) > 1]
    assert found == sorted(found, key=lambda place: (-len(set(rows[place])), place))


def test_unsigned_labels_differ_as_numbers() -> None:
    assert disputed([np.array([3, 1], np.uint8), np.array([1, 1], np.uint8)]).tolist() == [0]


def test_the_table_names_classes_and_counts_who_is_right() -> None:
    answers = {"Base": np.array([0, 1, 7]), "Full": np.array([0, 0, 1])}
    table = answers_table([2, 1], np.array([0, 1, 1]), answers, ("cat", "=dog"), ["a", "b"])
    assert table.to_dict("list") == {
        "Example": [3, 2],
        "Text": ["a", "b"],
        "Class": ["=dog", "=dog"],
        "Base": ["output 7", "=dog"],
        "Full": ["=dog", "cat"],
        "Right": [1, 1],
    }
    assert "Text" not in answers_table([0], np.array([0, 1, 1]), answers, ("cat", "dog"))


def test_of_many_classes_the_most_probable_are_drawn_and_names_are_text() -> None:
    generator = np.random.RandomState(0)
    found = {name: generator.dirichlet(np.full(100, 0.1)) for name in ("Base", "<b>LoRA</b>")}
    names = [f"<i>{label}</i>" for label in range(100)]
    drawn = probabilities(found, names)
    assert json.loads(json.dumps(drawn)) == drawn
    figure = go.Figure(drawn)  # which checks it
    tiles, numbers = figure.data
    assert np.shape(tiles.z) == (2, MAX_CLASSES)
    shown = {text.removeprefix("&lt;i&gt;").removesuffix("&lt;/i&gt;") for text in figure.layout.xaxis.ticktext}
    assert {str(int(row.argmax())) for row in found.values()} <= shown
    assert all("<" not in text for text in (*figure.layout.yaxis.ticktext, *np.ravel(tiles.customdata)))
    assert [float(text) for text in numbers.text] == [
        float(f"{100 * tiles.z[y][x]:.0f}") for x, y in zip(numbers.x, numbers.y, strict=True)
    ]
    assert all(name in probabilities_alt(found, names) for name in found)
