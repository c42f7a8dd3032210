"""Which test examples networks disagree on, and the table of probabilities."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.study.arms.answers_table import answers_table, disputed
from core.study.figures.examples import MAX_CLASSES, probabilities


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
        "Networks right": [1, 1],
    }
    assert "Text" not in answers_table([0], np.array([0, 1, 1]), answers, ("cat", "dog"))


def test_of_many_classes_the_most_probable_are_shown() -> None:
    generator = np.random.RandomState(0)
    found = {name: generator.dirichlet(np.full(100, 0.1)) for name in ("Base", "LoRA")}
    names = [f"name {label}" for label in range(100)]
    table = probabilities(found, names, truth=int(found["LoRA"].argmax()))
    assert json.loads(json.dumps(table)) == table
    assert len(table["classes"]) == MAX_CLASSES
    assert [row["network"] for row in table["rows"]] == list(found)
    for row, values in zip(table["rows"], found.values(), strict=True):
        best = int(values.argmax())
        assert row["answer"] == names[best]
        assert row["answer"] in table["classes"]
        for name, cell in zip(table["classes"], row["cells"], strict=True):
            assert cell["share"] == values[names.index(name)]
            assert cell["text"] == (f"{100 * cell['share']:.0f}" if cell["share"] >= 0.005 else "")
        assert f"{row['network']}: {names[best]}, " in table["alt"]
    assert [row["right"] for row in table["rows"]] == [False, True]
    assert [row["right"] for row in probabilities(found, names)["rows"]] == [None, None]
