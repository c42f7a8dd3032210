"""The list of pages, and all navigation: no other module knows where the scripts of pages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import streamlit as st


@dataclass(frozen=True)
class Entry:
    """One page in the navigation."""

    title: str
    icon: str
    section: str
    """Heading of its group in the navigation; empty for the first page."""


ENTRIES = {
    "home": Entry("Home", ":material/home:", ""),
    "pretrain": Entry("Pretrain", ":material/school:", "Train"),
    "new": Entry("New experiment", ":material/add_circle:", "Train"),
    "networks": Entry("Networks", ":material/hub:", "Train"),
    "data": Entry("Data", ":material/database:", "Train"),
    "runs": Entry("Runs", ":material/list:", "Results"),
    "experiment": Entry("Experiment", ":material/stacked_line_chart:", "Results"),
    "judge": Entry("Judge", ":material/gavel:", "Results"),
    "weights": Entry("Weights", ":material/grid_4x4:", "Results"),
    "adapters": Entry("Adapters", ":material/extension:", "Results"),
    "tryit": Entry("Try it", ":material/draw:", "Results"),
    "serve": Entry("Serve", ":material/dns:", "Results"),
    "learn": Entry("Learn", ":material/menu_book:", "Understand"),
}
"""Pages in the order of the navigation, by the name of their folder, which is also their URL path."""


MOVED = {
    "finetune": ("new", "new"),
    "study": ("new", "experiment"),
    "sweep": ("new", "experiment"),
    "compare": ("experiment", "experiment"),
    "report": ("experiment", "experiment"),
}
"""Where pages of earlier versions are now, by their URL paths: without an experiment in the address, and with one."""

OF_EXPERIMENT = ("experiment", "sweep")
"""Parameters of addresses that name an experiment, the second one in earlier versions."""


def script(name: str) -> str:
    """Return the path of a page's script, relative to the folder of pages."""
    return f"{name}/page.py"


def sections() -> dict[str, list[st.Page]]:
    """Return all pages by section, for ``st.navigation``."""
    found: dict[str, list[st.Page]] = {}
    for name, entry in ENTRIES.items():
        first = not found
        page = st.Page(
            script(name), title=entry.title, icon=entry.icon, url_path=None if first else name, default=first
        )
        found.setdefault(entry.section, []).append(page)
    found[""] += [
        st.Page(partial(_follow, now), title=ENTRIES[now[0]].title, url_path=old, visibility="hidden")
        for old, now in MOVED.items()
    ]
    return found


def _follow(now: tuple[str, str]) -> NoReturn:
    """Go to where a page is now, with the parameters of its old address."""
    query = st.query_params.to_dict()
    go(now[any(name in query for name in OF_EXPERIMENT)], query)


def link(name: str, label: str, query: Mapping[str, str] | None = None) -> None:
    """Draw a link to a page. Args: name: of the page's folder; label: text of the link; query: URL parameters."""
    st.page_link(script(name), label=label, icon=ENTRIES[name].icon, query_params=dict(query or {}))


def address(path: str) -> str:
    """Return the address of a path on this server, which may be served below a path of its own."""
    base = "/".join(filter(None, str(st.get_option("server.baseUrlPath") or "").split("/")))
    return f"/{base}{path}" if base else path


def go(name: str, query: Mapping[str, str]) -> NoReturn:
    """Switch to another page, with these URL parameters."""
    st.switch_page(script(name), query_params=dict(query))
