"""Upload of a dataset, which is previewed before it is saved, and deletion of a saved one."""

from __future__ import annotations

import streamlit as st

from core.data.dataset import Dataset
from core.data.sources.own import suggested_name
from core.data.task_spec import TaskSpec
from core.errors import LabError
from core.lab import Lab
from core.networks.registry import families_for
from core.spec import bounds
from pages.library.chosen_file import ChosenFile, chosen_file, file_field, forget_file, take_as
from pages.library.image_upload import IMAGES
from pages.library.text_upload import TEXTS
from pages.library.upload_kind import UploadKind
from pages.shared.forms import widgets
from pages.shared.forms.datasets import QUERY
from pages.shared.ui.confirm import delete_or_cancel
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import imported_for, imported_id
from pages.shared.ui.primary import on_primary

UPLOAD = "upload"
"""URL parameter: the kind of data that a link leads here to upload."""
TURN = "upload-turn"
"""Session state key: number of finished uploads, part of widget keys so that each upload starts with empty fields."""
NOT_DELETED = "upload-not-deleted"
"""Session state key: error message of the last deletion that failed."""
KEPT = "upload-kept"
"""Session state key: name of the dataset that was just saved, for a dialog about it."""

UPLOADS: dict[str, UploadKind] = {"image": IMAGES, "text": TEXTS}
"""What can be uploaded, by the kind of data."""


def upload_dataset(lab: Lab) -> None:
    """Draw the field for a file and, once there is one, a preview with buttons to save or discard it."""
    turn = st.session_state.setdefault(TURN, 0)
    if reason := st.session_state.pop(NOT_DELETED, None):
        st.error(literal(reason))
    titles = {kind: each.title for kind, each in UPLOADS.items()}
    asked = st.query_params.get(UPLOAD, "")
    kind = widgets.choice("Kind of data", titles, asked if asked in UPLOADS else next(iter(UPLOADS)), "upload-kind")
    upload = UPLOADS[kind]
    in_field = file_field(kind, upload.label, f"upload-file-{kind}-{turn}")
    st.caption(upload.becomes)
    with st.expander("Supported file formats", icon=":material/description:", expanded=False):
        st.markdown(upload.formats)
    # In a dialog, so that it is in sight: the page is as far down as the button was, and shorter than it was then.
    if kept := st.session_state.pop(KEPT, None):
        _saved(lab, kept)
    file = chosen_file()
    if file is None:
        return
    refused = bool(UPLOADS[file.kind].fault(file.id, file.content))
    if refused and file.kind == kind:
        for other in UPLOADS.values():
            if other is not upload and not other.fault(file.id, file.content):
                title = other.title
                st.info(f"{literal(file.name)} can be read as {title.lower()}: choose {title} above for that.")
    elif refused:
        file, in_field = take_as(kind, file), False
    elif file.kind != kind:
        st.info(
            f"{literal(file.name)} is not saved yet: choose {UPLOADS[file.kind].title} above to go on with it. Another "
            "file takes its place.",
            icon=":material/draft:",
        )
        return
    if not in_field:
        st.info(
            f"{literal(file.name)} is still here and not saved yet: save or discard it below. It is kept until you "
            "choose another file or reload the page.",
            icon=":material/draft:",
        )
    with st.container(border=True):
        _decide(lab, upload.preview(file.id, file.content), file)


@st.dialog("Dataset saved", icon=":material/check_circle:")
def _saved(lab: Lab, name: str) -> None:
    st.markdown(f"{literal(name)} is saved. You can now choose it wherever a dataset is selected.")
    next_steps(lab, name)


def next_steps(lab: Lab, name: str) -> None:
    """Draw links to what can be done with an uploaded dataset: fine-tune on it, or first what that needs."""
    info = lab.catalog.info(name)
    kind = info.kind
    starts = [imported_id(card.digest, kind) for card in imported_for(lab, info)]
    starts += [run.id for run in lab.bases() if run.spec.network.learns == kind]
    with st.container(horizontal=True):
        if starts:
            link("new", "Fine-tune on this dataset", {"base": starts[0], QUERY: name})
        elif kind != "image":
            link("networks", "Import a network that reads texts")
        if any(not family.is_imported for family in families_for(kind)):
            link("pretrain", "Pretrain on this dataset", {QUERY: name})
        link("home", "Ask on Home", {QUERY: name})


def delete_button(lab: Lab, name: str) -> None:
    """Draw a button that deletes an uploaded dataset after confirmation."""
    if st.button(
        "Delete", icon=":material/delete:", type="tertiary", key=f"delete-{name}", help=f"Delete {literal(name)}"
    ):
        _ask_to_delete(lab, name)


def _decide(lab: Lab, dataset: Dataset | None, file: ChosenFile) -> None:
    """Draw the end of a review: to save the dataset, if the file has one, or to discard the file."""
    about = bounds(TaskSpec, "dataset")
    keep = False
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if dataset is not None:
            name = st.text_input(
                "Name",
                suggested_name(file.name),
                max_chars=64,
                key=f"upload-name-{file.id}",
                width=220,
                help=f"{about.title}: lower-case letters, digits and hyphens. A name cannot be reused for another "
                "dataset.",
                persist_state="session",
            )
            keep = st.button(on_primary("Save"), type="primary", icon=":material/save:", key="upload-keep")
        discard = st.button("Discard", icon=":material/close:", key="upload-discard")
    if keep and dataset is not None:
        try:
            lab.catalog.keep(dataset, name or "")
        except LabError as error:
            st.error(literal(str(error)))
            return
        st.session_state[KEPT] = name
    if keep or discard:
        forget_file()
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
    delete_or_cancel("dataset-delete", not using, lambda: _delete(lab, name))


def _delete(lab: Lab, name: str) -> None:
    try:
        lab.catalog.remove(name)
    except LabError as error:
        st.session_state[NOT_DELETED] = str(error)
