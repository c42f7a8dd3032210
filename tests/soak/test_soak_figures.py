"""The table in the README shows the figures of the last full runs."""

from __future__ import annotations

import json

import pytest

from tests.soak.figures import BEGIN, END, README, table, written
from tests.soak.sizes import FIGURES, FULL


def test_the_table_is_that_of_the_file() -> None:
    text = README.read_text(encoding="utf-8")
    # A full run updates the file first, and then the table.
    assert FULL or written(text, json.loads(FIGURES.read_text(encoding="utf-8"))) == text


def test_the_rest_of_the_text_stays() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = written(text, {"b": {"x_y": 1234.5, "date": "d", "machine": "m"}, "a": {"n": 12345, "s": "|"}})
    assert new.startswith("before\n")
    assert new.endswith("after\n")
    assert "old" not in new
    assert "| b | x y 1,234.5 | d | m |" in new
    assert "| a | n 12,345; s \\| |  |  |" in new
    assert len(table({}).splitlines()) == 2
    with pytest.raises(ValueError, match="lacks"):
        written("no place", {})
