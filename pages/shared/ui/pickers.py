"""Names of runs and experiments, and widgets that choose among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import streamlit as st

from core.data.dataset import LANGUAGE, LanguageDataset
from core.data.sources.source import DatasetInfo
from core.lab import Lab
from core.networks.causal import TESTED
from core.networks.library.card import NetworkCard
from core.networks.network import NetworkSpec
from core.networks.registry import families_for
from core.run_spec import RunSpec
from core.store.record import Run
from core.wording.tasks import task_text
from pages.shared.ui.literal import literal

MAX_ID = 12
"""Maximum number of characters of an id that tells choices apart: a whole one of a run, the start of a digest."""

STATE_ICONS = {
    "queued": ":material/schedule:",
    "running": ":material/play_circle:",
    "finished": ":material/check_circle:",
    "stopped": ":material/stop_circle:",
    "failed": ":material/error:",
    "interrupted": ":material/power_off:",
}
STATE_COLOURS = {
    "queued": "gray",
    "running": "blue",
    "finished": "green",
    "stopped": "orange",
    "failed": "red",
    "interrupted": "orange",
}


def when(seconds: float) -> str:
    """Format a Unix time in this machine's time zone, as in ``25 Nov 20:15``."""
    return datetime.fromtimestamp(seconds).strftime("%d %b %H:%M")


def base_text(lab: Lab, base: Run | NetworkSpec) -> str:
    """Describe a base in one line: a pretrain run, or a network that was imported, as people call it now."""
    if isinstance(base, NetworkSpec):
        purpose = ", to continue texts" if base.learns == LANGUAGE else ""
        return f"{lab.networks.title_of(base)} · as it was imported{purpose}"
    brought = f"{lab.networks.title_of(base.spec.network)} · " if base.spec.network.brought else ""
    return f"{brought}{task_text(base.spec.task, base.spec.objective)} · {base_facts(base)}"


def has_new_head(base: Run | RunSpec | NetworkSpec) -> bool:
    """Whether nothing has trained the head of a base, given as such or by a run from it.

    So it is with an imported classifier; the output layer of a language model comes with its weights.
    """
    if isinstance(base, RunSpec):
        return base.is_direct and has_new_head(base.network)
    return not isinstance(base, Run) and base.learns != LANGUAGE


def base_label(has_new_head: bool) -> str:
    """What a base is called beside what was trained from it. Args: has_new_head: see :func:`has_new_head`."""
    return "Base, with an untrained head" if has_new_head else "Base"


def base_facts(run: Run) -> str:
    """Return accuracy, epochs, settings of the method and id of a base in one line, without its task."""
    state = "" if run.is_unfinished else run.state
    accuracy = f"{run.spec.objective.primary.noun} {run.score_text()}" if run.result else state
    facts = filter(None, [accuracy, run.epochs_text, run.spec.method.facts, run.id])
    return " · ".join(facts)


def distinct(names: Mapping[str, str]) -> dict[str, str]:
    """The texts of choices by id, followed by the id where several are equal: Streamlit tells them apart by text."""
    count = Counter(names.values())
    return {id: f"{text} · {id[:MAX_ID]}" if count[text] > 1 else text for id, text in names.items()}


def pick(label: str, names: Mapping[str, str], query: str, help: str | None = None, missing: str = "") -> str:
    """Draw a choice that is always kept in the URL, so that a link to it stays valid when there are newer items.

    The URL decides what is shown, so that Back in the browser returns to the choice before. If it names an item that
    does not exist, this says so, draws the choice without a value, and ends the page.

    Args:
        label: of the widget.
        names: the items by id, with the text shown for each, and its id where texts are equal; the first is the
            default.
        query: name of the URL parameter.
        help: tooltip of the label.
        missing: what to say if the URL names an item that does not exist, as plain text.

    Returns:
        The id of the chosen item.
    """
    names, key, wanted = distinct(names), f"pick-{query}", st.query_params.get(query) or next(iter(names))
    exists = wanted in names
    if not exists:
        missing = missing or f"There is no {label.lower()} {wanted!r}; it may have been deleted."
        st.warning(literal(f"{missing} Choose another one."), icon=":material/link_off:")
    st.session_state[key] = wanted if exists else None
    st.selectbox(
        label,
        list(names),
        0 if exists else None,
        format_func=names.__getitem__,
        help=help,
        key=key,
        placeholder="Choose one",
        on_change=_to_address,
        args=(query, key),
    )
    if not exists:
        st.stop()
    st.query_params[query] = wanted
    return wanted


def _to_address(query: str, key: str) -> None:
    if choice := st.session_state[key]:
        st.query_params[query] = choice


CONTINUES = "language-"
"""Before the digest of an imported network that is to continue texts, as an address has it."""


def imported_id(digest: str, learns: str) -> str:
    """What addresses call an imported network that is to learn a kind of data."""
    return f"{CONTINUES * (learns == LANGUAGE)}{digest}"


def imported_bases(lab: Lab) -> dict[str, NetworkSpec]:
    """Imported networks by their id in addresses, once for each kind of data that they learn."""
    cards = lab.networks.list()
    found: dict[str, NetworkSpec] = {card.digest: lab.networks.spec(card.digest) for card in cards}
    continuing = [card.digest for card in cards if card.architecture in TESTED]
    return found | {imported_id(digest, LANGUAGE): lab.networks.spec(digest, learns=LANGUAGE) for digest in continuing}


def imported_for(lab: Lab, info: DatasetInfo) -> list[NetworkCard]:
    """The networks that were imported and learn a dataset, the newest first; for conversations and prompts those that
    can chat before all others.
    """
    if not any(family.is_imported for family in families_for(info.kind)):
        return []
    cards = [card for card in lab.networks.list() if info.kind != LANGUAGE or card.architecture in TESTED]
    dataset = lab.catalog.load(info.name) if info.is_own and info.state == "ready" else None
    if isinstance(dataset, LanguageDataset) and dataset.is_dialogue:
        cards.sort(key=lambda card: not lab.networks.can_chat(card))
    return cards


def base_picker(lab: Lab) -> Run | NetworkSpec | None:
    """Draw a choice of bases, newest first, and of networks that were imported; return None if there are none."""
    bases: dict[str, Run | NetworkSpec] = {run.id: run for run in lab.bases()}
    bases |= imported_bases(lab)
    if not bases:
        return None
    names = {id: base_text(lab, base) for id, base in bases.items()}
    return bases[pick("Base", names, "base", "The network to start from: pretrained here, or imported as it is.")]


def start_id(spec: RunSpec) -> str:
    """Id of the base of a fine-tune run, or digest of the network that was imported, as in the address of a form."""
    return spec.base or imported_id(str(spec.network.brought), spec.network.learns)


def start_text(lab: Lab, spec: RunSpec) -> str:
    """Describe what a fine-tune run starts from: its base, or the network that was imported."""
    return base_text(lab, spec.network if spec.base is None else lab.store.run(spec.base))


def state_badge(run: Run) -> None:
    """Draw a badge with the state of a run."""
    if run.stop_asked and run.is_live:  # it still writes its result, which takes seconds for a large network
        st.badge("stopping", icon=":material/stop_circle:", color="orange")
        return
    st.badge(run.state, icon=STATE_ICONS[run.state], color=STATE_COLOURS[run.state])  # type: ignore[arg-type]
