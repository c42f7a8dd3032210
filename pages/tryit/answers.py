"""What each network answers: a sentence, a table, and the probabilities of all classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from core.serving.panes import Answers
from core.study.figures.probabilities import probabilities, probabilities_alt
from core.wording.answers import answers_text
from core.wording.examples import class_name
from pages.shared.literal import literal
from pages.shared.live_chart import live_chart


def show_answers(answers: Answers, labels: Mapping[str, str], names: Sequence[str], truth: int | None) -> None:
    """Draw the answers to one input.

    Args:
        answers: to a batch of one row.
        labels: what each network is called, by its name, in the order of the table.
        names: of the dataset's labels.
        truth: label of the input; None if it is not known.
    """
    found = {label: answers.logits[name][0].double().softmax(0).numpy() for name, label in labels.items()}
    best = {label: int(row.argmax()) for label, row in found.items()}
    answered = {network: class_name(label, names) for network, label in best.items()}
    st.markdown(literal(answers_text(answered, None if truth is None else class_name(truth, names))))
    columns: dict[str, list[object]] = {
        "Network": list(found),
        "Answer": list(answered.values()),
        "Probability": [float(row.max()) for row in found.values()],
    }
    if truth is not None:
        columns["Right"] = [label == truth for label in best.values()]
    st.dataframe(
        columns,
        hide_index=True,
        column_config={"Probability": st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)},
        key="try-answers",
        alt="The answer of each network, with its probability",
    )
    figure = probabilities(found, names)
    live_chart(figure, "try-probabilities", figure["layout"]["height"], probabilities_alt(found, names))
