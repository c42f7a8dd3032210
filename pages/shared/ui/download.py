"""Links that download a file. A press on a link is the browser's: no redrawing of the page can lose it.

Buttons of Streamlit's own ask the script for the file, and a page that is redrawn at that moment has forgotten which
file it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from core.web.downloads import Offer, Offers
from pages.shared.ui.links import address

OFFERS = "offers"
"""Session state key: the files that the pages of this session offer."""

ICON = ":material/download:"

Kind = Literal["primary", "secondary", "tertiary"]


def download(
    label: str,
    content: Callable[[], bytes | str],
    name: str,
    media_type: str,
    key: str,
    *,
    kind: Kind = "secondary",
    help: str | None = None,
    disabled: bool = False,
) -> None:
    """Draw a link to a file that the page makes when it is pressed.

    Args:
        label: text of the link.
        content: makes the file, in a thread without a page: it draws nothing and reads no session state. A
            :class:`core.errors.LabError` becomes a sentence in the new tab.
        name: the file name.
        media_type: of the file.
        key: of the link, unique on the page.
        kind: how it looks.
        help: tooltip.
        disabled: whether there is nothing to download.
    """
    _link(label, offered(key, content, name, media_type), key, kind, help, disabled)


def offered(key: str, content: Callable[[], bytes | str], name: str, media_type: str) -> str:
    """The address of a file that is made whenever somebody asks for it, while the session lasts.

    Args: see :func:`download`.
    """
    if OFFERS not in st.session_state:
        st.session_state[OFFERS] = Offers()
    offers: Offers = st.session_state[OFFERS]
    return address(offers.put(key, Offer(name, media_type, content)))


def download_of_run(
    label: str, run: str, file: str, key: str, *, kind: Kind = "secondary", help: str | None = None
) -> None:
    """Draw a link to a file of a run, whose address is permanent.

    Args:
        label: text of the link.
        run: id of the run.
        file: one that :func:`core.web.downloads.download` gives; it is called ``RUN-FILE`` then.
        key: of the link, unique on the page.
        kind: how it looks.
        help: tooltip.
    """
    _link(label, address(f"/download/{run}/{file}"), key, kind, help)


def _link(label: str, url: str, key: str, kind: Kind, help: str | None, disabled: bool = False) -> None:
    st.link_button(label, url, key=key, type=kind, icon=ICON, help=help, disabled=disabled)
