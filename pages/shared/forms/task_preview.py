"""A look at what a network will learn from: one drawing per kind of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import pandas as pd
import streamlit as st

from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.networks.network import NetworkSpec
from core.numbers import capitalized, count_text, counted, percent
from core.study.figures.examples import length_histogram
from core.tasks.views.language import PassagePreview
from core.tasks.views.text import TextPreview
from core.wording.tasks import target_text
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import chart
from pages.shared.ui.literal import colored, errors_shown, literal
from pages.shared.ui.picture import picture

CLASSES_SHOWN = 50
"""Maximum number of classes in a preview of images."""

SAMPLES = 8
"""Number of images per row in a comparison of two tasks."""

BATCH = 8
"""Texts in a preview."""

MANY_UNKNOWN = 0.2
"""Share of unknown tokens from which a preview of texts warns; texts in the network's language have few."""

SCORED, CUT = "primary", "red"
"""Colors of the background of what is scored, and of what is cut off."""


def task_preview(lab: Lab, task: TaskSpec, key: str, network: NetworkSpec | None) -> None:
    """Draw an expander with examples of a task as the network will see them.

    Args:
        lab: has the dataset.
        task: what is learned.
        key: prefix of the widget keys.
        network: what learns it; None while it is not chosen.
    """
    kind = lab.catalog.info(task.dataset, network.learns if network else "").kind
    title, icon, draw = PREVIEWS[kind]
    fold = st.expander(title, icon=icon, key=f"{key}-preview", on_change="rerun")
    if not fold.open:
        return
    with fold, errors_shown(), st.spinner("Preparing the examples"):
        draw(lab, task, key, network)


def before_and_after(lab: Lab, before: TaskSpec, after: TaskSpec) -> None:
    """Draw what a source task and a target task look like, one row each; texts of both look alike, so nothing is drawn.

    Raises:
        DatasetError: a dataset cannot be read.
    """
    for title, task in (("Before", before), ("After", after)):
        if lab.catalog.info(task.dataset).kind != "image":
            continue
        images, labels = lab.preview(task)
        names = lab.catalog.load(task.dataset).class_names
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.caption(title, width=48)
            for image, label in zip(images[:SAMPLES], labels[:SAMPLES], strict=True):
                picture(image, f"{title}: {_image_of(label.item(), names)}", width=36)


def _images(lab: Lab, task: TaskSpec, key: str, network: NetworkSpec | None) -> None:
    """Draw one image per class."""
    images, labels = lab.preview(task)
    names = lab.catalog.load(task.dataset).class_names
    with st.container(horizontal=True, gap="small"):
        for image, label in zip(images[:CLASSES_SHOWN], labels[:CLASSES_SHOWN], strict=True):
            words = _image_of(label.item(), names)
            picture(image, capitalized(words), width=64, caption=literal(target_text(label.item(), names)))
    if len(labels) > CLASSES_SHOWN:
        st.caption(f"Showing the first {CLASSES_SHOWN} of {len(labels)} classes.")


def _image_of(target: float, names: Sequence[str]) -> str:
    """What an image is of, in words."""
    return (
        f"an image of class {names[int(target)]}" if names else f"an image with the number {target_text(target, names)}"
    )


def _texts(lab: Lab, task: TaskSpec, key: str, network: NetworkSpec | None) -> None:
    """Draw the first batch as tokens, and the lengths of all training texts."""
    if network is None:
        st.caption("Choose a network to see the tokens that it reads.")
        return
    draw_tokens(lab.text_preview(task, network, BATCH), lab.catalog.load(task.dataset).class_names, key)


def draw_tokens(seen: TextPreview, names: Sequence[str], key: str) -> None:
    """Draw the first batch of texts as tokens, and the lengths of all.

    Args:
        seen: what a network reads.
        names: of the classes; empty without classes.
        key: prefix of the widget keys.
    """
    st.caption(
        f"{count_text(len(seen.lengths))} training texts. The first {len(seen.rows)} as one batch: every token between "
        "two bars, and behind them the padding up to the longest text, which the attention mask hides."
    )
    dataframe(
        pd.DataFrame(
            {
                "Label" if names else "Number": [target_text(target, names) for _, _, target in seen.rows],
                "Tokens": [" | ".join(tokens) for tokens, _, _ in seen.rows],
                "Mask": [f"{len(tokens)} × 1, {padding} × 0" for tokens, padding, _ in seen.rows],
            }
        ),
        hide_index=True,
        alt="The first batch of training texts as tokens, with labels and attention mask",
    )
    _draw_lengths(seen, key)


def _draw_lengths(seen: TextPreview | PassagePreview, key: str) -> None:
    figure = length_histogram(seen.lengths, seen.length)
    chart(figure, f"{key}-lengths", "Number of training texts by their length in tokens", "lengths")
    if seen.share_unknown >= MANY_UNKNOWN:
        st.warning(
            f"{percent(100 * seen.share_unknown)} of all tokens stand for words or characters that this network does "
            "not know, so it cannot tell them apart: a network for this language and kind of text learns more.",
            icon=":material/warning:",
        )
    if seen.cut:
        st.caption(
            f"{counted(seen.cut, 'text')} longer than {seen.length} tokens {'is' if seen.cut == 1 else 'are'} cut: "
            f"{percent(100 * seen.share_lost)} of all tokens are lost."
        )
    else:
        st.caption(f"No text is longer than {seen.length} tokens: nothing is cut.")


def _passages(lab: Lab, task: TaskSpec, key: str, network: NetworkSpec | None) -> None:
    """Draw the first passages token by token, with those that are scored and those that are cut, and all lengths."""
    if network is None:
        st.caption("Choose a network to see the tokens that it reads.")
        return
    draw_passages(lab.passage_preview(task, network, BATCH), network, key)


def draw_passages(seen: PassagePreview, network: NetworkSpec, key: str) -> None:
    """Draw passages token by token, and the lengths of all.

    Args:
        seen: what the network reads.
        network: whose tokens these are.
        key: prefix of the widget keys.
    """
    st.caption(
        f"{count_text(len(seen.lengths))} training texts. Of the first {len(seen.rows)}: "
        f":{SCORED}-background[scored], read only, and :{CUT}-background[cut off]."
    )
    between = "|" if network.tokenizer is None else ""  # every byte is a token
    for words, scored in seen.rows:
        parts = groupby(enumerate(zip(words, scored, strict=True)), lambda each: _part(each, seen.length))
        st.markdown("".join(colored(color, between.join(word for _, (word, _) in tokens)) for color, tokens in parts))
    _draw_lengths(seen, key)


def _part(token: tuple[int, tuple[str, bool]], length: int) -> str:
    """The color of a token by its place and whether it is scored; empty for one that is only read."""
    place, (_, scored) = token
    return CUT if place >= length else SCORED if scored else ""


PREVIEWS: dict[str, tuple[str, str, Callable[[Lab, TaskSpec, str, NetworkSpec | None], None]]] = {
    "image": ("Preview images", ":material/image:", _images),
    "text": ("Preview texts", ":material/notes:", _texts),
    "language": ("Preview tokens", ":material/notes:", _passages),
}
"""By kind of data: title and icon of the expander, and what is in it."""
