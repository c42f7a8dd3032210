"""The part of Compare on test images: accuracy per class, confusions, and images that one setting alone gets right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.methods.method import Role
from core.store.record import Experiment
from core.study.arms.arm import Arm
from core.study.arms.verdict import verdict
from core.study.figures.examples import (
    class_accuracy,
    class_accuracy_alt,
    class_name,
    confusion_alt,
    confusion_map,
    highest_confusion,
)
from core.study.weights.predicted import Disagreed, disagreed, results_by_class
from core.wording.numbers import count_text
from pages.shared.figure_panel import show
from pages.shared.literal import literal
from pages.shared.measured import measured

IMAGES_SHOWN = 12
"""Maximum number of images shown that one setting alone gets right."""


def examples(lab: Lab, experiment: Experiment, arms: Sequence[Arm], colours: Mapping[str, str]) -> None:
    """Draw what the networks predict for the test images, by class and image by image.

    Args:
        lab: has networks and datasets.
        experiment: its id names downloaded charts.
        arms: of one task, at least one.
        colours: of each arm, by key.
    """
    try:
        names = lab.catalog.load(arms[0].spec.task.dataset).class_names
        results = measured(results_by_class, lab, arms)
    except LabError as error:
        st.error(literal(str(error)))
        return
    st.caption(results.facts.sentence)
    if results.facts.warning:
        st.warning(results.facts.warning)
    pair = _pair(arms)
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
        st.caption(f"{literal(a.label)} and {literal(b.label)} share no seed, so their images cannot be compared.")
        return
    for first, second in ((a, b), (b, a)):
        try:
            found = measured(disagreed, lab, first, second, IMAGES_SHOWN)
        except LabError as error:
            st.error(literal(str(error)))
            return
        _images(found, first.label, second.label, names)


def _pair(arms: Sequence[Arm]) -> list[Arm]:
    """The two arms to compare, chosen on the page: at first the first one, and the adapter of the verdict."""
    if len(arms) < 2:
        return list(arms)
    told = verdict([run for arm in arms for run in arm.runs]).told
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


def _images(found: Disagreed, right: str, wrong: str, names: Sequence[str]) -> None:
    """Draw the images that only one setting gets right, those on which most seeds agree about that first."""
    st.markdown(f"**Only {literal(right)} is right: {count_text(found.count)} image{'' if found.count == 1 else 's'}**")
    if not found.count:
        return
    seeds = f"{found.seeds} seed{'' if found.seeds == 1 else 's'}"
    rest = f" The first {len(found.first)} are shown." if found.count > len(found.first) else ""
    st.caption(
        f"Under each image: its class, which {literal(right)} predicts; what {literal(wrong)} predicts instead; and "
        f"with how many of {seeds}.{rest}"
    )
    with st.container(horizontal=True, gap="small"):
        for each, pixels in zip(found.first, found.pixels, strict=True):
            truth, instead = class_name(each.truth, names), class_name(each.wrong, names)
            both = f"{right} predicts {truth}, {wrong} predicts {instead}"
            st.image(
                pixels,
                width=80,
                caption=literal(f"{truth}, not {instead} ({each.seeds})"),
                alt=f"An image of class {truth}: {both}, with {each.seeds} of {seeds}.",
            )
