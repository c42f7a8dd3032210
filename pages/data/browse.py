"""A look into a dataset: the first examples of its classes, drawn by the kind of data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.data.dataset import LANGUAGE
from core.data.sources.source import DatasetInfo
from core.errors import LabError
from core.lab import Lab
from pages.data.image_upload import draw_images
from pages.data.passage_upload import draw_passages
from pages.data.text_upload import draw_texts
from pages.shared.ui.literal import literal

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
    with fold:
        try:
            with st.spinner("Reading the dataset"):
                dataset = lab.catalog.load(info.name)
            EXAMPLES[info.kind](dataset, f"browse-{info.name}")
        except LabError as error:
            st.error(literal(str(error)))
