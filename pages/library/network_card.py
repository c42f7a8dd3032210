"""The card of an imported network, with what can be done with it."""

from __future__ import annotations

import json
import time

import streamlit as st

from core.data.dataset import LANGUAGE
from core.errors import LabError
from core.lab import Lab
from core.networks.causal import TESTED
from core.networks.library.card import MAX_NAME, NetworkCard
from core.numbers import bytes_text, count_text
from pages.shared.forms.datasets import QUERY as DATASET
from pages.shared.forms.network import QUERY as NETWORK
from pages.shared.ui.confirm import delete_or_cancel
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import imported_id
from pages.shared.ui.primary import on_primary

SHORT = 12
"""Characters of a digest that a card shows; the details have all of it."""

FAILED = "networks-failed"
"""Prefix of session state keys: why a network could not be deleted or renamed, by its digest."""


def show_card(lab: Lab, card: NetworkCard) -> None:
    """Draw what a network is and where it came from, with details on request."""
    with st.container(border=True, gap="small", key=f"network-{card.digest[:SHORT]}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{literal(card.title)}**", width="content")
            st.badge(card.architecture, color="blue")
            st.space("stretch")
            with st.container(horizontal=True, width="content", gap="small"):
                _rename_and_delete(lab, card)
        if reason := st.session_state.pop(f"{FAILED}-{card.digest}", None):
            st.error(literal(reason))
        st.caption(literal(" · ".join(_facts(card))))
        st.caption(literal(_origin(card)))
        with st.expander("Details", icon=":material/description:", key=f"network-details-{card.digest[:SHORT]}"):
            _details(lab, card)
        _next_steps(lab, card)


def _rename_and_delete(lab: Lab, card: NetworkCard) -> None:
    for name, icon, ask in (("Rename", "edit", _ask_for_name), ("Delete", "delete", _ask_to_delete)):
        key, about = f"network-{name.lower()}-{card.digest}", f"{name} {literal(card.title)}"
        if st.button(name, icon=f":material/{icon}:", type="tertiary", key=key, help=about):
            ask(lab, card)


def _facts(card: NetworkCard) -> list[str]:
    longest = f"up to {count_text(card.longest_input)} tokens" if card.longest_input else "texts of any length"
    return [
        f"{count_text(card.parameters)} parameters",
        f"linear layers: {card.attention} in attention, {card.feed_forward} in feed-forward, {card.other} other",
        f"tokenizer of {count_text(card.vocabulary)} tokens: {card.tokenizer}",
        longest,
        bytes_text(card.bytes),
        f"license: {card.licence or 'none stated'}",
    ]


def _origin(card: NetworkCard) -> str:
    revision = f" {card.revision[:SHORT]}" if card.revision else ""
    day = time.strftime("%d %b %Y", time.localtime(card.brought))
    name = f" as {card.name}" if card.own_name else ""
    return f"From {card.origin}{revision}{name}, {day} · SHA-256 {card.digest[:SHORT]}"


def _next_steps(lab: Lab, card: NetworkCard) -> None:
    """Draw links to what can be done with the network, on the newest of people's own texts where there are some: first
    what these texts are for, else to continue texts if the network can chat.
    """
    starts = {lab.networks.spec(card.digest).learns: ("Fine-tune this network", card.digest)}
    if card.architecture in TESTED:
        starts[LANGUAGE] = ("Fine-tune as a language model", imported_id(card.digest, LANGUAGE))
    own = [info for info in lab.catalog.list() if info.is_own and info.state == "ready"]
    own.sort(key=lambda info: info.kind == LANGUAGE)  # what was made to be continued is the newest of what can be
    newest = {learns: info.name for learns in starts for info in own if info.seen_by(learns).kind == learns}
    kinds, can_chat = {info.kind for info in own}, lab.networks.can_chat(card)
    kind, *others = sorted(starts, key=lambda learns: (learns not in kinds, can_chat and learns != LANGUAGE))
    with st.container(horizontal=True):
        for learns in (kind, *others):
            label, base = starts[learns]
            link("new", label, {"base": base, **({DATASET: newest[learns]} if learns in newest else {})})
        link("home", "Ask on Home", {DATASET: newest.get(kind, lab.catalog.best(kind)), NETWORK: card.digest})
        if not newest:
            link("data", "Upload texts", {"upload": "text"})


def _details(lab: Lab, card: NetworkCard) -> None:
    st.markdown("Its files, which adapters of it need as their base, are in this folder:")
    st.code(str(lab.networks.folder(card.digest)), language=None, wrap_lines=True)
    st.markdown("SHA-256 over the names and hashes of all files:")
    st.code(card.digest, language=None, wrap_lines=True)
    if card.revision:
        st.markdown(f"Revision: {literal(card.revision)}")
    st.markdown(f"Head, drawn from the seed and trained by every method: {literal(', '.join(card.head))}")
    dataframe(
        {"File": list(card.files), "SHA-256": list(card.files.values())},
        hide_index=True,
        alt="The files of the network",
    )
    fields = json.loads(card.config)
    dataframe(
        {"Field of the config": list(fields), "Value": [json.dumps(value) for value in fields.values()]},
        hide_index=True,
        height=240,
        alt="The config of the network",
    )


@st.dialog("Rename this network", icon=":material/edit:")
def _ask_for_name(lab: Lab, card: NetworkCard) -> None:
    key = f"network-name-{card.digest}"
    st.text_input(
        "Name",
        card.title,
        max_chars=MAX_NAME,
        key=key,
        help=f"Leave it empty for {literal(card.name)}, the name that it was imported as. Names of experiments, and "
        "files that were written, keep the name that they have.",
    )
    save = on_primary("Save name")
    if st.button(save, type="primary", key="network-name-save", on_click=_rename, args=(lab, card.digest, key)):
        st.rerun()


def _rename(lab: Lab, digest: str, key: str) -> None:
    try:
        lab.networks.rename(digest, st.session_state[key] or "")
    except LabError as error:
        st.session_state[f"{FAILED}-{digest}"] = str(error)


@st.dialog("Delete this network?", icon=":material/delete:")
def _ask_to_delete(lab: Lab, card: NetworkCard) -> None:
    using = lab.networks.runs_from(card.digest)
    st.markdown(f"This deletes **{literal(card.title)}** and its {bytes_text(card.bytes)} of files from this machine.")
    if using:
        st.warning(
            f"{'1 run starts' if len(using) == 1 else f'{count_text(len(using))} runs start'} from it: "
            f"{literal(', '.join(using[:3]))}{', …' if len(using) > 3 else ''}. Delete them first."
        )
    delete_or_cancel("network-delete", not using, lambda: _delete(lab, card.digest))


def _delete(lab: Lab, digest: str) -> None:
    try:
        lab.networks.remove(digest)
    except LabError as error:
        st.session_state[f"{FAILED}-{digest}"] = str(error)
