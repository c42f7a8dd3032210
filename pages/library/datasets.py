"""Datasets: published ones, and those that people have uploaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.data.dataset import LANGUAGE
from core.data.sources.source import DatasetInfo
from core.lab import Lab
from pages.library.image_upload import draw_images
from pages.library.passage_upload import draw_passages
from pages.library.text_upload import draw_texts
from pages.library.upload import delete_button, next_steps, upload_dataset
from pages.shared.forms.datasets import STATES, about, download
from pages.shared.ui.literal import errors_shown, literal

EXAMPLES: dict[str, Callable[[Any, str], None]] = {
    "image": lambda dataset, key: draw_images(dataset),
    "text": draw_texts,
    LANGUAGE: lambda dataset, key: draw_passages(dataset.train_texts),
}
"""By kind of data, what draws a dataset of that kind, given a prefix of widget keys."""


def browse(lab: Lab, info: DatasetInfo) -> None:
    """Draw an expander with examples of a dataset; nothing if it is not on this machine or of an unknown kind."""
    if info.state != "ready" or info.kind not in EXAMPLES:
        return
    fold = st.expander("Examples", icon=":material/visibility:", key=f"browse-{info.name}", on_change="rerun")
    if not fold.open:
        return
    with fold, errors_shown():
        with st.spinner("Reading the dataset"):
            dataset = lab.catalog.load(info.name)
        EXAMPLES[info.kind](dataset, f"browse-{info.name}")


def row(lab: Lab, info: DatasetInfo) -> None:
    """Show a dataset with its state and examples, and buttons to download or delete it."""
    word, colour, icon = STATES[info.state]
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{literal(info.title)}**", width="content")
            st.badge(word, color=colour, icon=icon)  # type: ignore[arg-type]
            if info.is_own:
                st.space("stretch")
                delete_button(lab, info.name)
        about(info)
        if info.state == "ready":
            with errors_shown():
                if overlap := lab.catalog.overlap(info.name):
                    st.warning(literal(overlap), icon=":material/warning:")
        browse(lab, info)
        if info.is_own and info.state == "ready":
            next_steps(lab, info.name)
        if info.state == "absent":
            download(lab, info, f"data-{info.name}")


def datasets_part(lab: Lab) -> None:
    """Draw the datasets that networks learn from, and how others are uploaded."""
    infos = lab.catalog.list()
    brought, published = st.columns(2, gap="large")  # on a phone the file in review is then at the top
    with brought:
        st.subheader("Your datasets")
        owned = [info for info in infos if info.is_own]
        for info in owned:
            row(lab, info)
        if not owned:
            st.caption("Datasets that you upload are listed here. They stay on this machine.")
        st.subheader(
            "Upload a dataset",
            help="Images or texts with one class each, or texts that a language model learns to continue: passages, "
            "completions of prompts, conversations. Several labels per text are not learned.",
        )
        upload_dataset(lab)
    with published:
        st.subheader("Published")
        for info in infos:
            if not info.is_own:
                row(lab, info)
