"""A person's own dataset: brought, looked at, and only then kept; and those that were kept."""

from __future__ import annotations

import streamlit as st

from core.data.own import suggested_name
from core.data.uploads import KINDS, MAX_BYTES, Draft, read_upload, samples
from core.errors import LabError
from core.lab import Lab
from core.spec import TaskSpec, bounds
from core.study.figures.class_counts import class_counts
from pages.shared.links import link
from pages.shared.literal import literal

CLASSES_SHOWN = 12
"""Classes whose images are shown; the chart has all of them."""
SAMPLES = 8
"""Images of each."""
ZOOM = 2

TURN = "upload-turn"
"""Counts the uploads of a session: a new one gets an empty field."""
NOT_DELETED = "upload-not-deleted"
"""Why the dataset that was to be deleted last is still there."""
KEPT = "upload-kept"
"""The dataset that was kept last, for one word of success."""

FORMATS = """\
- a **zip** of images (PNG, JPEG, GIF, BMP, WebP) in one folder a class; the folders may lie in `train` and `test`
- an **npz** with `x_train`, `y_train` and, if you have them, `x_test`, `y_test`; x of shape (n, 28, 28), (n, 784) or
  (n, h, w), y of shape (n,)
- a **CSV** with a label and the pixels of one image on each line, with or without headings

Images become 28×28 grey, pixels from 0 black to 255 white. Without a test part, a fifth of each class is set aside.
"""


def upload_dataset(lab: Lab) -> None:
    """The field for a file and, once there is one, what is in it, with Keep and Discard."""
    turn = st.session_state.setdefault(TURN, 0)
    if reason := st.session_state.pop(NOT_DELETED, None):
        st.error(literal(reason))
    if kept := st.session_state.pop(KEPT, None):
        st.success(
            f"{literal(kept)} is kept, and can be chosen wherever a dataset is asked for.",
            icon=":material/check_circle:",
        )
        link("pretrain", "Pretrain on it")
    file = st.file_uploader(
        "Images with labels, as a zip, an npz or a CSV",
        type=list(KINDS),
        key=f"upload-file-{turn}",
        max_upload_size=MAX_BYTES // 2**20,
    )
    with st.expander("What a file looks like", icon=":material/description:", expanded=False):
        st.markdown(FORMATS)
    if file is None:
        return
    draft = _read(file.file_id, file.getvalue())
    if isinstance(draft, str):
        st.error(literal(draft))
        return
    with st.container(border=True):
        _preview(draft)
        _decide(lab, draft, file.name)


def delete_button(lab: Lab, name: str) -> None:
    """Delete one of a person's own datasets, after a question."""
    if st.button(
        "Delete", icon=":material/delete:", type="tertiary", key=f"delete-{name}", help=f"Delete {literal(name)}"
    ):
        _ask_to_delete(lab, name)


@st.cache_resource(max_entries=2, ttl="30m", show_spinner="Reading the file")
def _read(file_id: str, _content: bytes) -> Draft | str:
    """The draft, or the sentence that says why there is none; read once while its page is redrawn."""
    try:
        return read_upload(_content)
    except LabError as error:
        return str(error)


def _preview(draft: Draft) -> None:
    names = draft.dataset.class_names
    st.markdown(literal(draft.line))
    for warning in draft.warnings:
        st.warning(literal(warning), icon=":material/warning:")
    st.plotly_chart(
        class_counts(names, draft.train_counts, draft.test_counts),
        key="upload-counts",
        alt=f"Images of each of {len(names)} classes, to train on and to test",
        config={"displaylogo": False},
    )
    with st.container(horizontal=True, gap="medium"):
        for label, name in enumerate(names[:CLASSES_SHOWN]):
            st.image(
                samples(draft.dataset, label, SAMPLES, ZOOM),
                caption=literal(name),
                alt=f"Images of class {name}",
            )
    if len(names) > CLASSES_SHOWN:
        st.caption(f"The first {CLASSES_SHOWN} of {len(names)} classes.")


def _decide(lab: Lab, draft: Draft, file_name: str) -> None:
    turn = st.session_state[TURN]
    about = bounds(TaskSpec, "dataset")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name",
            suggested_name(file_name),
            max_chars=64,
            key=f"upload-name-{turn}",
            width=220,
            help=f"{about.title}: lower-case letters, digits and hyphens. A name stands for one dataset for good.",
        )
        keep = st.button("Keep", type="primary", icon=":material/save:", key="upload-keep")
        discard = st.button("Discard", icon=":material/close:", key="upload-discard")
    if keep:
        try:
            lab.catalog.keep(draft.dataset, name or "")
        except LabError as error:
            st.error(literal(str(error)))
            return
        st.session_state[KEPT] = name
    if keep or discard:
        st.session_state[TURN] += 1
        st.rerun()


@st.dialog("Delete this dataset?", icon=":material/delete:")
def _ask_to_delete(lab: Lab, name: str) -> None:
    using = [
        run.id for run in lab.live() if name in {task.dataset for task in (run.spec.task, run.spec.source) if task}
    ]
    st.markdown(f"**{literal(name)}** and its file go. Runs that learnt it keep their results, but cannot be repeated.")
    if using:
        st.warning(f"{len(using)} runs that train or wait use it: stop them first, or let them end.")
    with st.container(horizontal=True):
        answers = [
            st.button(
                "Delete",
                type="primary",
                icon=":material/delete:",
                key="delete-yes",
                disabled=bool(using),
                on_click=_delete,
                args=(lab, name),
            ),
            st.button("Leave it", key="delete-no"),
        ]
    if any(answers):
        st.rerun()


def _delete(lab: Lab, name: str) -> None:
    try:
        lab.catalog.remove(name)
    except LabError as error:
        st.session_state[NOT_DELETED] = str(error)
