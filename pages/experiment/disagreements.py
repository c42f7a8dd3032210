"""The test examples on which two settings differ: one way to show them per kind of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from core.lab import Lab
from core.numbers import count_text, counted, percent
from core.results.arm import Arm
from core.store.record import Experiment
from core.study.arms.answers_table import RIGHT, differing_table
from core.study.weights.predicted import DifferingTexts, Disagreed, differing_texts, disagreed, text_costs
from core.wording.csv_file import csv_of
from core.wording.tasks import class_name, shortened
from pages.shared.experiment.measured import measured
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.literal import literal
from pages.shared.ui.picture import picture
from pages.shared.ui.widget_key import widget_key

IMAGES_SHOWN = 12
"""Maximum number of images shown that one setting alone gets right."""

TEXTS_SHOWN = 500
"""Maximum number of texts in the table; the file has all."""

CHARACTERS = 400
"""Maximum number of characters of a text in the table; the file has all."""


def passages_apart(lab: Lab, a: Arm, b: Arm) -> int | None:
    """Draw the texts on which two settings that continue them differ by most bits; return which one is selected."""
    found = measured(text_costs, lab, a, b, TEXTS_SHOWN)
    what = a.spec.objective.primary
    st.markdown(f"**Where {literal(a.label)} and {literal(b.label)} differ most**")
    st.caption(
        f"Bits per byte of each text, as the mean over {counted(found.seeds, 'seed')}; lower is better. First come "
        f"those that differ by most bits in all, of {counted(found.tested, 'test text')}. "
        "Select a row to see its text token by token."
    )
    selected = dataframe(
        {
            "Text": [shortened(text, CHARACTERS) for text in found.texts],
            a.label: [what.text(value) for value in found.bits[:, 0]],
            b.label: [what.text(value) for value in found.bits[:, 1]],
            "Bits apart": found.apart.round(1),
        },
        hide_index=True,
        key=widget_key("texts-apart", a.key, b.key),
        on_select="rerun",
        selection_mode="single-row",
        alt=f"Test texts on which {a.label} and {b.label} differ most, with the bits per byte of each",
    ).selection.rows
    return int(found.rows[selected[0]]) if selected else None


def _images(lab: Lab, experiment: Experiment, a: Arm, b: Arm, names: Sequence[str]) -> None:
    """Draw the images that only one of two settings gets right."""
    for first, second in ((a, b), (b, a)):
        _only_right(measured(disagreed, lab, first, second, IMAGES_SHOWN), first.label, second.label, names)


def _only_right(found: Disagreed, right: str, wrong: str, names: Sequence[str]) -> None:
    """Draw the images that only one setting gets right, those on which most seeds agree about that first."""
    seeds = counted(found.seeds, "seed")
    st.markdown(f"**Only {literal(right)} is right with at least one of {seeds}: {counted(found.count, 'image')}**")
    if not found.count:
        return
    rest = f" The first {len(found.first)} are shown." if found.count > len(found.first) else ""
    st.caption(
        f"Under each image: its class, which {literal(right)} predicts; what {literal(wrong)} predicts instead; and "
        f"with how many of {seeds}.{rest}"
    )
    with st.container(horizontal=True, gap="small"):
        for each, pixels in zip(found.first, found.pixels, strict=True):
            truth, instead = class_name(each.truth, names), class_name(each.wrong, names)
            both = f"{right} predicts {truth}, {wrong} predicts {instead}"
            picture(
                pixels,
                f"An image of class {truth}: {both}, with {each.seeds} of {seeds}.",
                width=80,
                caption=literal(f"{truth}, not {instead} ({each.seeds})"),
            )


def _texts(lab: Lab, experiment: Experiment, a: Arm, b: Arm, names: Sequence[str]) -> None:
    """Draw a table of the texts for which two settings predict different classes, and offer it as a file."""
    found = measured(differing_texts, lab, a, b)
    st.markdown(f"**{_title(found, a.label, b.label)}**")
    if not found.rows:
        return
    seeds = counted(found.seeds, "seed")
    rest = f" The first {count_text(TEXTS_SHOWN)} are shown; the file has all." if len(found.rows) > TEXTS_SHOWN else ""
    st.caption(
        f"With at least one of {seeds} the answers differ. In brackets and in the last two columns: number of seeds. "
        f"First come the texts that one setting alone gets right with most seeds; press a title to sort.{rest}"
    )
    labels = (a.label, b.label)
    # A table of Streamlit shows text as it is: no Markdown and no HTML in it is interpreted.
    table = differing_table(
        found.rows[:TEXTS_SHOWN], [shortened(text, CHARACTERS) for text in found.texts[:TEXTS_SHOWN]], labels, names
    )
    dataframe(
        table,
        hide_index=True,
        key="texts-differing",
        alt=f"Texts for which {a.label} and {b.label} predict different classes",
        column_config={"Text": st.column_config.TextColumn(width="large")}
        | {f"{RIGHT} {label}": st.column_config.NumberColumn(format=f"%d of {found.seeds}") for label in labels},
    )
    download(
        "Download these texts",
        lambda: csv_of(differing_table(found.rows, found.texts, labels, names)),
        f"{experiment.id}-texts.csv",
        "text/csv",
        "texts-csv",
        help="All texts on which the two settings differ, uncut, as CSV.",
    )


def _title(found: DifferingTexts, first: str, second: str) -> str:
    count, share = len(found.rows), 100 * len(found.rows) / max(found.tested, 1)
    which = f"{literal(first)} and {literal(second)} differ on {count_text(count)} of {count_text(found.tested)}"
    return f"{which} test texts ({percent(share, 1)})"


Draw = Callable[[Lab, Experiment, Arm, Arm, Sequence[str]], None]

DISAGREEMENTS: dict[str, Draw] = {"image": _images, "text": _texts}
"""By kind of data: what draws the examples on which two settings differ, given the names of all classes.

Each raises a :class:`core.errors.LabError` if a dataset or network is gone.
"""
