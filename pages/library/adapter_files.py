"""An uploaded adapter: verified against a base, evaluated, and merged on demand. Nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.adapter.archive import MAX_UPLOAD
from core.adapter.verify import Verification
from core.artifacts.trial import Origin, Score, evaluate_adapter, merged_with
from core.data.task_spec import TaskSpec
from core.errors import LabError
from core.lab import Lab
from core.networks.network import NetworkSpec
from core.objectives.registry import CLASSIFICATION
from core.store.record import Run
from core.wording.tasks import task_text
from pages.library.adapter_scores import show_scores
from pages.shared.forms.task import task_form
from pages.shared.ui.download import download
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import base_picker, has_new_head

SEEN = "adapter-seen"
"""Session state key: the file whose base was found, or that names none."""


def upload_adapter(lab: Lab) -> None:
    """Draw the form for a base, an adapter file and an optional second task, and the results."""
    st.markdown(
        "Upload an adapter zip from LoRA Lab, or a zip of the folder that PEFT saved for the same network. It is "
        "verified against a base and evaluated on test examples. The file is not stored."
    )
    file = st.file_uploader("Adapter zip", max_upload_size=MAX_UPLOAD // 2**20, key="adapter-file")
    origin = _origin_of(file.file_id, file.getvalue()) if file is not None else None
    missing = _choose_base(lab, file.file_id, origin) if file is not None and origin is not None else None
    base = base_picker(lab)
    if base is None:
        st.info("An adapter is applied to a base, and you have none yet.", icon=":material/info:")
        link("pretrain", "Pretrain a base")
        return
    if file is None:
        return
    if missing:
        st.error(literal(missing))
        return
    content, tasks = file.getvalue(), [base.spec.task] if isinstance(base, Run) else []
    learned = _learned(lab, origin)
    tasks = [*dict.fromkeys([*([learned] if learned is not None else []), *tasks])]
    if st.toggle("Evaluate on another task as well" if tasks else "Evaluate on a task", key="adapter-more"):
        with st.container(border=True):
            task = task_form(lab, base, "adapter-task")
        tasks += [task] if task is not None else []
    try:
        found, scores = _tried(lab, base, file.file_id, content, tasks, learned)
    except LabError as error:
        st.error(literal(str(error)))
        return
    st.success(literal(str(found)), icon=":material/verified:")
    if scores:
        show_scores(scores, base.spec.task if isinstance(base, Run) else None, has_new_head(base), learned)
    download(
        "Merged network",
        lambda: merged_with(content, lab.base_for(base, content)),
        "merged.safetensors",
        "application/octet-stream",
        "adapter-merged",
        help="The base with the adapter added to its weights: an ordinary network.",
    )
    st.caption("The checks above are of the adapter beside its base, not of the merged file.")


def _learned(lab: Lab, origin: Origin | None) -> TaskSpec | None:
    """The task that a file says it was trained on, if its dataset is here; else say that it is not.

    Args:
        lab: has the datasets.
        origin: what the file says.
    """
    task = origin.task if origin is not None else None
    if task is None or task.dataset in {info.name for info in lab.catalog.list() if info.state == "ready"}:
        return task
    st.caption(literal(f"It was trained on {task_text(task)}, which is not measured: that dataset is not here."))
    return None


def _tried(
    lab: Lab,
    base: Run | NetworkSpec,
    file_id: str,
    content: bytes,
    tasks: Sequence[TaskSpec],
    learned: TaskSpec | None,
) -> tuple[Verification, tuple[Score, ...]]:
    """Verify and evaluate an adapter, without the task that its file names where that does not fit the base.

    Raises:
        LabError: the adapter or another task does not fit, or cannot be read.
    """
    name = base.id if isinstance(base, Run) else base.to_json()
    try:
        return _try(file_id, content, name, tuple(task.to_json() for task in tasks), lab, base)
    except LabError as error:
        if learned is None:
            raise
        others = tuple(task.to_json() for task in tasks if task != learned)
        found = _try(file_id, content, name, others, lab, base)
        st.caption(literal(f"Not measured on the task that the file names, {task_text(learned)}. {error}"))
        return found


def _origin_of(file_id: str, content: bytes) -> Origin | None:
    """What a file says of where it comes from; None for one that cannot be read, as verifying it says."""
    try:
        return _origin(file_id, content)
    except LabError:
        return None


def _choose_base(lab: Lab, file_id: str, origin: Origin) -> str | None:
    """Choose the base that a new file names; say in a sentence which one that is if it is not here.

    A base that is not here is looked for each time, since it may be imported.
    """
    if st.session_state.get(SEEN) == file_id:
        return None
    try:
        found = lab.origins.find(origin.fingerprint) if origin.fingerprint else None
    except LabError:
        return None  # verifying it says why
    if origin.fingerprint and found is None:
        return origin.missing
    st.session_state[SEEN] = file_id
    if found is not None:
        st.query_params["base"] = found.id if isinstance(found, Run) else str(found.brought)
    return None


@st.cache_data(max_entries=32, show_spinner=False)
def _origin(file_id: str, _content: bytes) -> Origin:
    """What a file says of its base; cached because every click redraws the page."""
    return Origin.of(_content)


@st.cache_data(max_entries=32, show_spinner="Verifying the adapter")
def _try(
    file_id: str, _content: bytes, base: str, tasks: tuple[str, ...], _lab: Lab, _base: Run | NetworkSpec
) -> tuple[Verification, tuple[Score, ...]]:
    """Verify and evaluate an adapter; cached because every click redraws the page."""
    specs = [TaskSpec.from_json(task) for task in tasks]
    objective = _base.spec.objective if isinstance(_base, Run) else CLASSIFICATION
    return evaluate_adapter(_content, _lab.base_for(_base, _content), _lab.tasks, specs, objective)
