"""Widgets that choose, preview and download datasets."""

from __future__ import annotations

import streamlit as st

from core.data.dataset import LANGUAGE
from core.data.sources.source import DatasetInfo
from core.lab import Lab
from core.numbers import bytes_text
from core.objectives.registry import objective_of
from core.wording.tasks import noun
from pages.shared.forms import widgets
from pages.shared.ui.literal import literal

QUERY = "dataset"
"""URL parameter of links that choose a dataset."""

TICK = 0.5
"""Seconds between two updates of a download's progress."""

STATES = {
    "ready": ("ready", "green", ":material/check_circle:"),
    "absent": ("not downloaded", "gray", ":material/cloud_download:"),
    "damaged": ("damaged", "red", ":material/error:"),
}
"""Label, colour and icon of each state of a dataset."""


def dataset_picker(
    lab: Lab, label: str, key: str, default: str | None = None, kind: str = "", objective: str = ""
) -> str | None:
    """Draw a choice of datasets, with a download button for one that is not on this machine.

    Args:
        lab: has the datasets.
        label: of the choice.
        key: of the widget.
        default: name of the dataset to choose at first, and again where it changes and nobody has chosen another one;
            None, or one that is not offered, for the best one.
        kind: offer datasets of this kind only; empty for all.
        objective: offer datasets whose targets are for this objective only; empty for all.

    Returns:
        The dataset's name, or None while it is not ready.
    """

    def is_wanted(info: DatasetInfo) -> bool:
        return kind in ("", info.kind) and objective in ("", info.objective)

    infos = {info.name: info for info in (each.seen_by(kind) for each in lab.catalog.list()) if is_wanted(info)}
    names = list(infos)
    if not infos:
        st.info("There is no dataset that this network can learn: upload one.", icon=":material/info:")
        return None
    start = default if default in infos else lab.catalog.best(kind)
    start = start if start in infos else names[0]
    follow(key, start, start == default)
    several = len({info.kind for info in infos.values()}) > 1
    name = st.selectbox(
        label,
        names,
        names.index(start),
        format_func=lambda name: _label(infos[name], several),
        key=key,
        persist_state="session",
    )
    st.caption(literal(infos[name].line))
    if infos[name].state == "ready":
        return name
    if infos[name].state == "absent":
        download(lab, infos[name], key)
    return None


def learned_first(lab: Lab, info: DatasetInfo) -> str:
    """What is learned of a dataset as long as nobody has chosen: of texts their classes, if a network for these was
    imported, since none is made here, or if they were uploaded for their classes.
    """
    return LANGUAGE if info.kind == "text" and not info.is_own and not lab.networks.list() else info.kind


def learned(lab: Lab, info: DatasetInfo, key: str) -> DatasetInfo:
    """Where texts have classes, draw the choice to learn these or to continue the texts; return what is learned.

    Args:
        lab: has the networks that were imported.
        info: the dataset.
        key: of the widget.
    """
    if info.kind != "text":
        return info
    titles = {"text": objective_of(info.objective).title, LANGUAGE: objective_of(LANGUAGE).title}
    about = "Classification names the class of a text; language continues it, and is measured in bits per byte."
    return info.seen_by(widgets.choice("Objective", titles, learned_first(lab, info), key, about))


def take_dataset(lab: Lab, key: str, kind: str = "") -> bool:
    """Choose the dataset that the address names, before the picker with this key is drawn; return whether it did.

    The address then forgets it, so that another choice stays.

    Args:
        lab: has the datasets.
        key: of the picker.
        kind: of the datasets that the picker offers; empty for all.
    """
    name = st.query_params.get(QUERY)
    if name is None:
        return False
    del st.query_params[QUERY]
    kinds = {info.name: info.seen_by(kind).kind for info in lab.catalog.list()}
    if name in kinds and kind in ("", kinds[name]):
        st.session_state[key] = name
        return True
    missing = f"There is no dataset {name!r}; it may have been deleted."
    other = f"The dataset {name!r} is not of the kind that this base learns: choose another base."
    st.warning(literal(other if name in kinds else missing), icon=":material/link_off:")
    return False


def follow(key: str, default: str, is_wanted: bool = True) -> None:
    """Choose the default of a widget where it has changed, is wanted, and nobody has chosen anything but the former
    one.
    """
    former = st.session_state.setdefault(f"{key}-of", default)
    if is_wanted and former != default:
        if st.session_state.get(key) == former:
            st.session_state[key] = default
        st.session_state[f"{key}-of"] = default


def about(info: DatasetInfo) -> None:
    """Draw what a dataset is, with its license and a link where they are known."""
    st.caption(literal(info.line))
    facts = [f"License: {info.licence}"] * bool(info.licence) + [f"[about it]({info.link})"] * bool(info.link)
    if facts:
        st.markdown(f":small[{' · '.join(facts)}]")  # a caption is too pale for a link


def _label(info: DatasetInfo, with_kind: bool) -> str:
    """A dataset in a list: its title, with its kind where the list has several, as in ``Definitions · texts``."""
    kind = f" · {noun(info.kind)}" if with_kind else ""
    words = (["your own"] if info.is_own else []) + ([] if info.state == "ready" else [STATES[info.state][0]])
    return info.title + kind + (f" ({', '.join(words)})" if words else "")


def download(lab: Lab, info: DatasetInfo, key: str) -> None:
    """Draw a button that downloads a dataset, and a progress bar while it is downloaded."""
    name, title, size = info.name, literal(info.title), bytes_text(info.download_bytes)
    state = lab.downloads.state(name)

    @st.fragment(run_every=TICK if state and state.running else None)
    def progress() -> None:
        state = lab.downloads.state(name)
        if state and state.running:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.progress(min(state.progress, 1.0), f"Downloading {title}: {state.progress:.0%} of {size}")
                if st.button("Stop", icon=":material/stop:", key=f"{key}-stop-download"):
                    lab.downloads.stop(name)
            return
        if state and state.error:
            st.error(literal(state.error))
        elif state and state.progress >= 1 and lab.catalog.info(name).state == "ready":
            st.rerun()
        if st.button(f"Download {title} ({size})", icon=":material/download:", key=f"{key}-download"):
            lab.downloads.start(name)
            st.rerun()

    progress()
