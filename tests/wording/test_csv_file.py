"""CSV downloads: no text can be read as a formula, and numbers are unchanged."""

from __future__ import annotations

import csv
import io

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from core.wording.csv_file import FORMULA_STARTS, csv_of

TEXTS = st.one_of(st.text(), st.builds(str.__add__, st.sampled_from(FORMULA_STARTS), st.text()))


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@given(st.lists(TEXTS.filter(lambda text: "\0" not in text), min_size=1))
def test_no_text_begins_like_a_formula_and_none_is_lost(texts: list[str]) -> None:
    for kind in ("string", object):
        _, *rows = read(csv_of(pd.DataFrame({"Number": range(len(texts)), "Note": pd.array(texts, dtype=kind)})))
        for (_, shown), text in zip(rows, texts, strict=True):
            assert not shown.startswith(FORMULA_STARTS)
            assert shown == (f"'{text}" if text.startswith(FORMULA_STARTS) else text)


def test_numbers_stay_numbers_and_what_is_missing_stays_missing() -> None:
    table = pd.DataFrame(
        {
            "Whole": pd.Series([-1, None], dtype="Int64"),
            "Real": pd.Series([-1.5, 2e-9], dtype="Float64"),
            "Plain": [-0.25, float("nan")],
            "Mixed": pd.Series([-3, "-3"], dtype=object),
            "Text": pd.Series([None, "-3"], dtype="string"),
            "=Title": [True, False],
        }
    )
    assert read(csv_of(table)) == [
        ["Whole", "Real", "Plain", "Mixed", "Text", "'=Title"],
        ["-1", "-1.5", "-0.25", "-3", "", "True"],
        ["", "2e-09", "", "'-3", "'-3", "False"],
    ]
