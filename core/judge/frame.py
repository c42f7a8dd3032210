"""A DataFrame as results: the same table that files give, read by the same rules."""

from __future__ import annotations

import pandas as pd

from core.judge.reading import Reading, check_answered
from core.judge.results import gather
from core.judge.sources import Given
from core.results.results import Results

NAME = "the table"
"""What errors call it."""


def results_of_frame(frame: pd.DataFrame, reading: Reading | None = None) -> Results:
    """Results of a DataFrame with one line for each run.

    Args:
        frame: with a method, a seed and a measure for each run, under names that :mod:`core.judge.reading` knows.
        reading: what its columns are, where their names do not tell.

    Raises:
        JudgeError: something in it cannot be read, or is not known; the message says what to do.
    """
    found = gather([Given(f"{NAME}.csv", frame.to_csv(index=False).encode())], reading or Reading())
    check_answered(found.questions)
    return Results(() if found.results is None else tuple(found.results.to_rows()))
