"""The Data page: published datasets and uploaded ones."""

from __future__ import annotations

import streamlit as st

from core.data.sources.source import DatasetInfo
from core.lab import current
from pages.data.browse import browse
from pages.data.upload import delete_button, upload_dataset
from pages.shared.forms.datasets import STATES, about, download
from pages.shared.ui.literal import literal

lab = current()


def row(info: DatasetInfo) -> None:
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
        browse(lab, info)
        if info.state == "absent":
            download(lab, info, f"data-{info.name}")


st.title("Data")
st.markdown(
    "The datasets that networks learn from: published ones, and your own images and texts. They are classified, each "
    "image or text as one class, or texts are continued by a language model: passages, completions of prompts, or "
    "answers in conversations. Several labels per text, and numbers to be predicted, are not learned."
)

infos = lab.catalog.list()
published, brought = st.columns(2, gap="large")
with published:
    st.subheader("Published")
    for info in infos:
        if not info.is_own:
            row(info)
with brought:
    st.subheader("Your datasets")
    owned = [info for info in infos if info.is_own]
    for info in owned:
        row(info)
    if not owned:
        st.caption("Datasets that you upload are listed here. They stay on this machine.")
    st.subheader("Upload a dataset")
    upload_dataset(lab)
