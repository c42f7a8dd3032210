"""Upload of a dataset, which is previewed before it is saved, and deletion of a saved one."""

from __future__ import annotations

import streamlit as st

from core.data.dataset import Dataset
from core.data.sources.own import suggested_name
from core.data.task_spec import TaskSpec
from core.data.uploads import MAX_BYTES
from core.errors import LabError
from core.lab import Lab
from core.networks.registry import families_for
from core.spec import bounds
from pages.data.image_upload import IMAGES
from pages.data.text_upload import TEXTS
from pages.data.upload_kind import UploadKind
from pages.shared.forms.datasets import QUERY
from pages.shared.ui.confirm import delete_or_cancel
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

TURN = "upload-turn"
"""Session state key: number of finished uploads, part of widget keys so that each upload starts with empty fields."""
NOT_DELETED = "upload-not-deleted"
"""Session state key: error message of the last deletion that failed."""
KEPT = "upload-kept"
"""Session state key: name of the dataset that was just saved, for a success message."""

UPLOADS: dict[str, UploadKind] = {"image": IMAGES, "text": TEXTS}
"""What can be uploaded, by the kind of data."""


def upload_dataset(lab: Lab) -> None:
    """Draw the file uploader and, once there is a file, a preview with buttons to save or discard it."""
    turn = st.session_state.setdefault(TURN, 0)
    if reason := st.session_state.pop(NOT_DELETED, None):
        st.error(literal(reason))
    kind = st.segmented_control(
        "Kind of data",
        list(UPLOADS),
        default=next(iter(UPLOADS)),
        format_func=lambda kind: UPLOADS[kind].title,
        key="upload-kind",
        persist_state="session",
        required=True,
    )
    chosen = UPLOADS[kind]
    # Any type: the reader says what is wrong with a file, while the field would keep each refused one in its list.
    file = st.file_uploader(
        chosen.label,
        key=f"upload-file-{kind}-{turn}",
        max_upload_size=MAX_BYTES // 2**20,
    )
    with st.expander("Supported file formats", icon=":material/description:", expanded=False):
        st.markdown(chosen.formats)
    # Where the preview was, so that it is in sight: the page is as far down as the button was.
    if kept := st.session_state.pop(KEPT, None):
        st.success(
            f"{literal(kept)} is saved. You can now choose it wherever a dataset is selected.",
            icon=":material/check_circle:",
        )
        _next_steps(lab, kept)
    if file is None:
        return
    with st.container(border=True):
        dataset = chosen.preview(file.file_id, file.getvalue())
        if dataset is not None:
            _decide(lab, dataset, file.name, file.file_id)


def _next_steps(lab: Lab, name: str) -> None:
    """Draw links to what can be done with a dataset that was just saved: fine-tune on it, or first what that needs."""
    kind = lab.catalog.info(name).kind
    starts = [run.id for run in lab.bases() if run.spec.network.learns == kind]
    starts += [card.digest for card in lab.networks.list() if lab.networks.spec(card.digest).learns == kind]
    with st.container(horizontal=True):
        if starts:
            link("finetune", "Fine-tune on this dataset", {"base": starts[0], QUERY: name})
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


def _decide(lab: Lab, dataset: Dataset, file_name: str, file_id: str) -> None:
    about = bounds(TaskSpec, "dataset")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name",
            suggested_name(file_name),
            max_chars=64,
            key=f"upload-name-{file_id}",
            width=220,
            help=f"{about.title}: lower-case letters, digits and hyphens. A name cannot be reused for another dataset.",
        )
        keep = st.button(on_primary("Save"), type="primary", icon=":material/save:", key="upload-keep")
        discard = st.button("Discard", icon=":material/close:", key="upload-discard")
    if keep:
        try:
            lab.catalog.keep(dataset, name or "")
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
    delete_or_cancel("dataset-delete", not using, lambda: _delete(lab, name))


def _delete(lab: Lab, name: str) -> None:
    try:
        lab.catalog.remove(name)
    except LabError as error:
        st.session_state[NOT_DELETED] = str(error)
