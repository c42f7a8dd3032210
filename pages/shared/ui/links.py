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
    is_listed: bool = True
    """Whether the sidebar lists it."""


ENTRIES = {
    "home": Entry("Home", ":material/home:"),
    "new": Entry("New experiment", ":material/add_circle:"),
    "experiments": Entry("Experiments", ":material/list:"),
    "experiment": Entry("Experiment", ":material/stacked_line_chart:", is_listed=False),
    "library": Entry("Library", ":material/database:"),
    "learn": Entry("Learn", ":material/menu_book:"),
}
"""Pages in the order of the navigation, by the name of their folder, which is also their URL path."""


@dataclass(frozen=True)
class Within:
    """Something that stands within a page."""

    page: str
    query: Mapping[str, str]
    """What of the address shows it."""
    icon: str
    is_form: bool = False
    """Whether an address that names an experiment leads to that experiment."""
    tabs: str = "view"
    """What the parameter ``view`` of its old address is called now."""


USE = {"view": "Use it"}
PLACES = {
    "runs": Within("experiments", {"view": "Runs"}, ":material/list:"),
    "judge": Within("experiments", {"view": "Results from elsewhere"}, ":material/gavel:", is_form=True),
    "data": Within("library", {"view": "Datasets"}, ":material/database:"),
    "networks": Within("library", {"view": "Networks"}, ":material/hub:"),
    "pretrain": Within("library", {"view": "Bases"}, ":material/school:"),
    "files": Within("library", {"view": "Adapter files"}, ":material/verified:"),
    "weights": Within("experiment", {"view": "Weights"}, ":material/grid_4x4:", tabs="weights"),
    "adapters": Within("experiment", USE | {"use": "Adapter"}, ":material/extension:"),
    "tryit": Within("experiment", USE | {"use": "Try it"}, ":material/draw:"),
    "serve": Within("experiment", USE | {"use": "Programs"}, ":material/dns:"),
    "compare": Within("experiment", {}, ENTRIES["experiment"].icon),
    "report": Within("experiment", {}, ENTRIES["experiment"].icon),
    "finetune": Within("new", {}, ENTRIES["new"].icon, is_form=True),
    "study": Within("new", {}, ENTRIES["new"].icon, is_form=True),
    "sweep": Within("new", {}, ENTRIES["new"].icon, is_form=True),
}
"""What links and old addresses name that is no page of its own; the URL paths of earlier versions among them."""

OF_EXPERIMENT = ("experiment", "sweep")
"""Parameters of addresses that name an experiment, the second one in earlier versions."""


def script(name: str) -> str:
    """Return the path of a page's script, relative to the folder of pages."""
    return f"{name}/page.py"


def placed(name: str, query: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The page that has what a name of :data:`ENTRIES` or :data:`PLACES` stands for, and its whole address."""
    within = PLACES.get(name)
    if within is None:
        return name, dict(query)
    if within.is_form and any(each in query for each in OF_EXPERIMENT):
        return "experiment", dict(query)
    asked = {within.tabs if each == "view" else each: value for each, value in query.items()}
    return within.page, {**within.query, **asked}


def sections() -> list[st.Page]:
    """Return all pages for ``st.navigation``, and hidden ones that lead from old addresses to them."""
    found = [
        st.Page(
            script(name),
            title=entry.title,
            icon=entry.icon,
            url_path=None if name == "home" else name,
            default=name == "home",
            visibility="visible" if entry.is_listed else "hidden",
        )
        for name, entry in ENTRIES.items()
    ]
    return found + [
        st.Page(partial(_follow, old), title=ENTRIES[within.page].title, url_path=old, visibility="hidden")
        for old, within in PLACES.items()
    ]


def _follow(old: str) -> NoReturn:
    """Go to where a page is now, with the parameters of its old address."""
    go(old, st.query_params.to_dict())


def link(name: str, label: str, query: Mapping[str, str] | None = None) -> None:
    """Draw a link.

    Args:
        name: of :data:`ENTRIES` or :data:`PLACES`.
        label: text of the link.
        query: URL parameters.
    """
    page, asked = placed(name, query or {})
    icon = PLACES[name].icon if name in PLACES else ENTRIES[name].icon
    st.page_link(script(page), label=label, icon=icon, query_params=asked)


def address(path: str) -> str:
    """Return the address of a path on this server, which may be served below a path of its own."""
    base = "/".join(filter(None, str(st.get_option("server.baseUrlPath") or "").split("/")))
    return f"/{base}{path}" if base else path


def go(name: str, query: Mapping[str, str]) -> NoReturn:
    """Switch to another page; arguments as of :func:`link`."""
    page, asked = placed(name, query)
    st.switch_page(script(page), query_params=asked)
