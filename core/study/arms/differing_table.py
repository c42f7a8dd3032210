"""The texts for which two arms predict different labels, as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.study.arms.examples import Differing
from core.wording.examples import class_name

RIGHT = "Right with"
"""Start of the titles of the columns that count seeds."""


def differing_table(
    rows: Sequence[Differing], texts: Sequence[str], labels: tuple[str, str], names: Sequence[str]
) -> pd.DataFrame:
    """One row per text: the text, its class, what each arm predicts, and with how many seeds each is right.

    Where the seeds of an arm predict different classes, their number stands behind each, as in ``animal (2), act (1)``.

    Args:
        rows: the texts for which the arms differ, in the order of the table.
        texts: of these rows, as long as they are.
        labels: of the two arms, which must differ.
        names: of the dataset's labels.
    """
    first, second = labels
    return pd.DataFrame(
        {
            "Text": pd.array(list(texts), dtype="string"),
            "Class": pd.array([class_name(row.truth, names) for row in rows], dtype="string"),
            first: pd.array([_answers_text(row.first, names) for row in rows], dtype="string"),
            second: pd.array([_answers_text(row.second, names) for row in rows], dtype="string"),
            f"{RIGHT} {first}": pd.array([row.right[0] for row in rows], dtype="Int64"),
            f"{RIGHT} {second}": pd.array([row.right[1] for row in rows], dtype="Int64"),
        }
    )


def _answers_text(answers: Sequence[tuple[int, int]], names: Sequence[str]) -> str:
    if len(answers) == 1:
        return class_name(answers[0][0], names)
    return ", ".join(f"{class_name(label, names)} ({seeds})" for label, seeds in answers)
