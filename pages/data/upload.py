"""Upload of a dataset, which is previewed before it is saved, and deletion of a saved one."""

from __future__ import annotations

import streamlit as st

from core.data.sources.own import suggested_name
from core.data.task_spec import TaskSpec
from core.data.uploads import KINDS, MAX_BYTES, Draft, read_upload, samples
from core.errors import LabError
from core.lab import Lab
from core.spec import bounds
from core.study.figures.class_counts import class_counts
from core.study.figures.curves import chart_config
from pages.shared.figure_panel import readable
from pages.shared.links import link
from pages.shared.literal import literal
from pages.shared.primary import on_primary

CLASSES_SHOWN = 12
"""Number of classes whose images the preview shows; its chart covers all classes."""
SAMPLES = 8
"""Images shown of each class."""
ZOOM = 2
"""Factor by which the images are enlarged."""

TURN = "upload-turn"
"""Session state key: number of finished uploads, part of widget keys so that each upload starts with empty fields."""
NOT_DELETED = "upload-not-deleted"
"""Session state key: error message of the last deletion that failed."""
KEPT = "upload-kept"
"""Session state key: name of the dataset that was just saved, for a success message."""

FORMATS = """\
- A **zip** of images (PNG, JPEG, GIF, BMP, WebP) with one folder per class, optionally inside `train` and `test`
  folders.
- An **npz** with `x_train` and `y_train` and, optionally, `x_test` and `y_test`. x has shape (n, 28, 28), (n, 784) or
  (n, h, w), y has shape (n,).
- A **CSV** with one image per line: its label, then its pixels. A header line is optional.

Images are converted to 28×28 grayscale, with pixels from 0 (black) to 255 (white). Without a test part, a fifth of each
class is held out for testing.
"""


def upload_dataset(lab: Lab) -> None:
    """Draw the file uploader and, once there is a file, a preview with buttons to save or discard it."""
    turn = st.session_state.setdefault(TURN, 0)
    if reason := st.session_state.pop(NOT_DELETED, None):
        st.error(literal(reason))
    if kept := st.session_state.pop(KEPT, None):
        st.success(
            f"{literal(kept)} is saved. You can now choose it wherever a dataset is selected.",
            icon=":material/check_circle:",
        )
        link("pretrain", "Pretrain on this dataset")
    file = st.file_uploader(
        "Labelled images, as a zip, npz or CSV file",
        type=list(KINDS),
        key=f"upload-file-{turn}",
        max_upload_size=MAX_BYTES // 2**20,
    )
    with st.expander("Supported file formats", icon=":material/description:", expanded=False):
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
    """Draw a button that deletes an uploaded dataset after confirmation."""
    if st.button(
        "Delete", icon=":material/delete:", type="tertiary", key=f"delete-{name}", help=f"Delete {literal(name)}"
    ):
        _ask_to_delete(lab, name)


@st.cache_resource(max_entries=2, ttl="30m", show_spinner="Reading the file")
def _read(file_id: str, _content: bytes) -> Draft | str:
    """Parse an uploaded file; return the draft, or the error message. Cached because every click redraws the page."""
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
        readable(class_counts(names, draft.train_counts, draft.test_counts)),
        key="upload-counts",
        alt=f"Number of training and test images in each of {len(names)} classes",
        config=chart_config("upload-classes"),
    )
    with st.container(horizontal=True, gap="medium"):
        for label, name in enumerate(names[:CLASSES_SHOWN]):
            st.image(
                samples(draft.dataset, label, SAMPLES, ZOOM),
                caption=literal(name),
                alt=f"Images of class {name}",
            )
    if len(names) > CLASSES_SHOWN:
        st.caption(f"Showing the first {CLASSES_SHOWN} of {len(names)} classes.")


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
            help=f"{about.title}: lower-case letters, digits and hyphens. A name cannot be reused for another dataset.",
        )
        keep = st.button(on_primary("Save"), type="primary", icon=":material/save:", key="upload-keep")
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
    st.markdown(
        f"This deletes **{literal(name)}** and its file. Runs trained on it keep their results but cannot be repeated."
    )
    if using:
        st.warning(
            "1 running or queued run uses it. Stop it or wait until it has finished."
            if len(using) == 1
            else f"{len(using)} running or queued runs use it. Stop them or wait until they have finished."
        )
    with st.container(horizontal=True):
        answers = [
            st.button(
                on_primary("Delete"),
                type="primary",
                icon=":material/delete:",
                key="delete-yes",
                disabled=bool(using),
                on_click=_delete,
                args=(lab, name),
            ),
            st.button("Cancel", key="delete-no"),
        ]
    if any(answers):
        st.rerun()


def _delete(lab: Lab, name: str) -> None:
    try:
        lab.catalog.remove(name)
    except LabError as error:
        st.session_state[NOT_DELETED] = str(error)
