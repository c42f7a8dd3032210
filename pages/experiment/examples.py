"""Test examples: accuracy per class, confusions, and where two settings differ."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.errors import LabError
from core.methods.method import Role
from core.results.arm import Arm
from core.rule.place import Place
from core.study.figures.examples import (
    class_accuracy,
    class_accuracy_alt,
    confusion_alt,
    confusion_map,
    highest_confusion,
)
from core.study.weights.predicted import results_by_class
from pages.experiment.comparison import Comparison
from pages.experiment.disagreements import DISAGREEMENTS, passages_apart
from pages.shared.experiment.measured import measured
from pages.shared.ui.figure_panel import show
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal


def examples_part(shown: Comparison) -> None:
    """What the networks predict for the test examples, by class and one by one."""
    lab, experiment, arms, colours = shown.lab, shown.experiment, shown.shown, shown.colours
    if arms[0].spec.objective.targets == "texts":
        _passages(shown)
        return
    try:
        names = lab.catalog.load(arms[0].spec.task.dataset).class_names
        results = measured(results_by_class, lab, arms)
    except LabError as error:
        st.error(literal(str(error)))
        return
    st.caption(results.facts.sentence)
    if results.facts.warning:
        st.warning(results.facts.warning)
    pair = _pair(arms, shown.verdict)
    # Controls would crowd the figure; one that is chosen is drawn.
    labels = {arm.key: arm.label for arm in arms if arm in pair or arm.role is not Role.CONTROL}
    figure = class_accuracy(results, labels, names, colours)
    show(figure, experiment.id, "classes", class_accuracy_alt(results, labels, names))
    highest = highest_confusion(results, [arm.key for arm in pair])
    for place, arm in zip(st.columns(2, gap="large"), pair, strict=False):
        with place:
            figure = confusion_map(results, arm.key, arm.label, names, colours[arm.key], highest)
            show(figure, experiment.id, f"confusions-{arm.key}", confusion_alt(results, arm.key, arm.label, names))
    if len(pair) < 2:
        return
    a, b = pair
    if not set(a.seeds) & set(b.seeds):
        st.caption(f"{literal(a.label)} and {literal(b.label)} share no seed, so their answers cannot be compared.")
        return
    DISAGREEMENTS[a.spec.network.learns](lab, experiment, a, b, names)


def _passages(shown: Comparison) -> None:
    """The test texts on which the networks that continue them differ most."""
    pair = _pair(shown.shown, shown.verdict)
    if len(pair) < 2 or not set(pair[0].seeds) & set(pair[1].seeds):
        st.caption("Two settings that share a seed can be compared text by text.")
        return
    with errors_shown():
        row = passages_apart(shown.lab, *pair)
        if row is not None:
            number = str(row + 1)
            link(
                "tryit",
                f"Test text {number}, token by token",
                {"experiment": shown.experiment.id, "try-example": number},
            )


def _pair(arms: Sequence[Arm], decided: Place) -> list[Arm]:
    """The two arms to compare, chosen on the page: at first the first one, and the adapter of the verdict."""
    if len(arms) < 2:
        return list(arms)
    told = decided.told
    best = told.arm if told is not None and told.arm.key != arms[0].key else arms[1]
    by_key = {arm.key: arm for arm in arms}
    chosen = []
    for place, name, first in zip(st.columns(2, gap="large"), ("Compare", "with"), (arms[0], best), strict=True):
        with place:
            left = [key for key in by_key if key not in chosen]
            key = st.selectbox(
                name,
                left,
                index=left.index(first.key) if first.key in left else 0,
                format_func=lambda key: by_key[key].label,
                key=f"examples-{name.lower()}",
            )
            chosen.append(key)
    return [by_key[key] for key in chosen]
