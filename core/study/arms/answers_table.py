"""The test examples that several networks, or the seeds of two arms, do not all answer alike, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.study.arms.examples import Differing
from core.wording.tasks import class_name

RIGHT = "Right with"
"""Start of the titles of the columns that count seeds."""

EXAMPLE = "Example"
"""Title of the column with the number of an example in the test part, from 1."""


def disputed(answers: Sequence[NDArray[np.integer]]) -> NDArray[np.intp]:
    """(k,) examples on which not all agree: those with the most different answers first, then in their order.

    Args:
        answers: (n,) labels by network, at least one.
    """
    stacked = np.sort(np.stack([np.asarray(labels, np.int64) for labels in answers]), axis=0)
    different = (np.diff(stacked, axis=0) != 0).sum(0)
    order = np.argsort(-different, kind="stable")
    found: NDArray[np.intp] = order[different[order] > 0]
    return found


def answers_table(
    rows: Sequence[int],
    truth: NDArray[np.integer],
    answers: Mapping[str, NDArray[np.integer]],
    names: Sequence[str],
    texts: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One row per example: its number, its text if it has one, its class, each network's answer, how many are right.

    Args:
        rows: examples, in the order of the table.
        truth: (n,) label of every example.
        answers: (n,) labels by name of the network; names must differ.
        names: of the dataset's labels.
        texts: of ``rows``; None for images.
    """
    named = {label: [class_name(int(found[row]), names) for row in rows] for label, found in answers.items()}
    right = [sum(int(found[row]) == int(truth[row]) for found in answers.values()) for row in rows]
    return pd.DataFrame(
        {EXAMPLE: pd.array([row + 1 for row in rows], dtype="Int64")}
        | ({"Text": pd.array(list(texts), dtype="string")} if texts is not None else {})
        | {"Class": pd.array([class_name(int(truth[row]), names) for row in rows], dtype="string")}
        | {label: pd.array(found, dtype="string") for label, found in named.items()}
        | {"Networks right": pd.array(right, dtype="Int64")}
    )


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
