"""Ways to import a network, each with the progress of those on their way below its button."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from core.background import BackgroundState
from core.errors import LabError
from core.lab import Lab
from core.networks.library.card import MAX_NAME, checked_name
from core.networks.library.files import IS_ADAPTER
from core.networks.library.hub import is_hub_name
from core.networks.library.networks import Offer
from core.networks.library.place import KNOWN, MAX_UPLOAD, is_place
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal

TICK = 0.5
"""Seconds between two updates of the progress."""

ARRIVED = "networks-arrived"
"""Session state key: names of networks whose arrival was watched from here, until that was said."""


def known_networks(lab: Lab) -> None:
    """Draw the networks with a short name, each with a button unless it is there."""
    for offer in lab.networks.offers():
        with st.container(border=True, gap="small"):
            st.markdown(literal(offer.network.line))
            _offer(lab, offer)


def by_hub_name(lab: Lab) -> None:
    """Draw a field for a name at Hugging Face."""
    with st.form("networks-hub", border=True):
        name = st.text_input(
            "Name at Hugging Face",
            key="networks-hub-name",
            max_chars=200,
            placeholder="sentence-transformers/all-MiniLM-L6-v2",
            help="As in the address of its page. A branch, tag or commit can follow after an @. Only weights as "
            "safetensors are read, and no code of the network's authors is run.",
        )
        title = _title_field("networks-hub")
        asked = st.form_submit_button("Download", icon=":material/download:", key="networks-hub-bring")
    if asked and not is_hub_name(name or ""):
        st.error("Enter a name as in sentence-transformers/all-MiniLM-L6-v2.")
    elif asked and _is_title(title):
        _forget_refused(lab)
        lab.arrivals.import_known(name.strip(), title.strip())
        _watch(name.strip())
        st.rerun()
    offered = {network.name for network in KNOWN}
    _arrivals(lab, lambda: [state for state in lab.arrivals.states_of("name") if state.name not in offered])


def by_folder(lab: Lab) -> None:
    """Draw a field for a folder or a zip on this machine."""
    with st.form("networks-folder", border=True):
        path = st.text_input(
            "Folder or zip on this machine",
            key="networks-folder-path",
            max_chars=4096,
            help="With the files that save_pretrained of transformers writes: config.json, tokenizer.json, and weights "
            "as model.safetensors or in shards; at the top of it, or in one folder below. The files are copied.",
        )
        title = _title_field("networks-folder")
        asked = st.form_submit_button("Copy", icon=":material/folder_copy:", key="networks-folder-bring")
    if asked and not _is_place(path or ""):
        st.error("There is no such folder or zip: enter its whole path.")
    elif asked and _is_title(title):
        _forget_refused(lab)
        folder = Path(path.strip()).expanduser()
        lab.arrivals.import_folder(folder, title.strip())
        _watch(str(folder))
        st.rerun()
    _arrivals(lab, lambda: lab.arrivals.states_of("folder"))


def by_zip(lab: Lab) -> None:
    """Draw an uploader for a zip."""
    with st.container(border=True):
        file = st.file_uploader(
            "Network as a zip",
            max_upload_size=MAX_UPLOAD // 2**20,
            key="networks-zip",
            help="With the files that save_pretrained of transformers writes. A larger zip can stay on the machine "
            "that LoRA Lab runs on: enter its path above where nobody else has access, or as --network of "
            "`python -m core compare`. Or download the network by its name.",
        )
        if file is not None:
            title = _title_field("networks-zip")
            asked = st.button("Import this network", icon=":material/add:", key="networks-zip-bring")
            if asked and _is_title(title):
                _forget_refused(lab)
                _watch(lab.arrivals.import_zip(file.getvalue(), file.name, title.strip()))
                st.rerun()
        _arrivals(lab, lambda: lab.arrivals.states_of("zip"))


def _title_field(key: str) -> str:
    """Draw a field for what people call a network that they import. Args: key: prefix of the widget keys."""
    return (
        st.text_input(
            "Call it (optional)",
            key=f"{key}-title",
            max_chars=MAX_NAME,
            help="A name of your own, shown wherever the network is. Without one it is called as its file or folder, "
            "or as its config.json says where that tells nothing, as *model* does. A network that is here already "
            "keeps the name that it has. Names can be changed later.",
        )
        or ""
    )


def _is_title(title: str) -> bool:
    """Whether a network can be called so; draws why not."""
    try:
        checked_name(title)
    except LabError as error:
        st.error(literal(str(error)))
        return False
    return True


def _offer(lab: Lab, offer: Offer) -> None:
    network = offer.network
    if offer.card is not None:
        st.caption(f"In your networks as {literal(offer.card.title)}.")
        return
    state = lab.arrivals.state(network.name)
    package = f"its package {network.distribution}"
    source = package if offer.is_installed else f"Hugging Face ({network.hub}), or from {package} once it is installed"
    st.caption(literal(f"From {source}"))
    if st.button(
        f"Import {network.name}" if offer.is_installed else f"Download {network.name}",
        icon=":material/add:" if offer.is_installed else ":material/download:",
        key=f"networks-bring-{network.name}",
        disabled=bool(state and state.running),
    ):
        _forget_refused(lab)
        lab.arrivals.import_known(network.name)
        st.rerun()
    _arrivals(lab, lambda: [state for state in lab.arrivals.states_of("name") if state.name == network.name])


def _arrivals(lab: Lab, states: Callable[[], Sequence[BackgroundState]]) -> None:
    """Draw the progress of networks on their way, each with a button to stop, and why others did not arrive."""
    running = [state.name for state in states() if state.running]

    @st.fragment(run_every=TICK if running else None)
    def progress() -> None:
        arrived: set[str] = st.session_state.setdefault(ARRIVED, set())
        if running and not any(state.running for state in states()):
            arrived.update(running)
            st.rerun()
        for state in states():
            name = literal(state.name)
            if state.running:
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.progress(min(state.progress, 1.0), f"Importing {name}: {state.progress:.0%}")
                    if st.button("Stop", icon=":material/stop:", key=f"arrival-stop-{state.name}"):
                        lab.arrivals.stop(state.name)
            elif state.error:
                st.error(literal(state.error), icon=":material/error:")
                if IS_ADAPTER in state.error:
                    link("files", "Check this adapter")
                _ended(lab, state.name)
            elif state.progress < 1:
                st.info(f"{name} was stopped.", icon=":material/stop_circle:")
                _ended(lab, state.name)
            elif state.name in arrived:
                arrived.remove(state.name)
                st.success(literal(lab.arrivals.told(state.name)), icon=":material/check_circle:")

    progress()


def _watch(name: str) -> None:
    """Have it said that a network has arrived, however soon it does. Args: name: that it is on its way under."""
    st.session_state.setdefault(ARRIVED, set()).add(name)


def _forget_refused(lab: Lab) -> None:
    """Forget the networks that were refused, so that the page shows the refusal of the last one only."""
    for state in lab.arrivals.states():
        if state.error:
            lab.arrivals.forget(state.name)


def _ended(lab: Lab, name: str) -> None:
    """Draw buttons for a network that did not arrive: to begin again where that is possible, and to forget it."""
    with st.container(horizontal=True):
        if lab.arrivals.can_repeat(name):
            again = st.button("Try again", icon=":material/refresh:", key=f"arrival-again-{name}")
        else:
            again = False
        dismissed = st.button("Dismiss", icon=":material/close:", type="tertiary", key=f"arrival-dismiss-{name}")
    if again:
        lab.arrivals.repeat(name)
    elif dismissed:
        lab.arrivals.forget(name)
    if again or dismissed:
        st.rerun()


def _is_place(path: str) -> bool:
    try:
        return bool(path.strip()) and is_place(Path(path.strip()).expanduser())
    except (OSError, RuntimeError, ValueError):  # an unknown user after ~, or a zero byte
        return False
