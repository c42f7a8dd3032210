"""The pages that show numbers of runs, each with the tabs and choices of every experiment, and drawing them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from core.errors import LabError
from core.lab import Lab, close_lab, open_lab
from core.settings import Settings
from core.study.weights import predicted
from pages.shared.ui.links import placed, script
from tests.same_numbers.drawn import drawn
from tests.same_numbers.homes import TESTS

SHELL = str(TESTS.parent / "pages" / "shell.py")
SECONDS = 240.0
"""Time after which a page counts as hanging."""

TABS = ("Accuracy", "Rates", "Curves", "Forgetting", "Cost", "Examples", "Runs", "Use it")
WEIGHTS = ("Spectrum", "Rank", "Alpha", "Subspaces")
"""Tabs of pages. Weights is drawn for one experiment of a home, and of a transformer, for which it takes seconds, its
first tab."""

WHOLE = ("experiments", "runs")
"""Pages that show all runs."""

QUESTION = "Run the comparison"
"""The button on Home after which numbers of runs begin."""

FORECAST = (
    r"caption (body: (Thorough: |A true difference of |A look at |Fewer than )|"
    r"(body|help): .*(estimated from the spread of |The spread is that of ))"
)
"""Lines on Home of what runs will cost and can be expected to show."""

View = tuple[str, dict[str, str]]
"""A page, and what its address asks for."""


@contextmanager
def opened(home: Path) -> Iterator[Lab]:
    """Open a home folder as the lab of this process, in a time zone in which moments are the same everywhere.

    Its runs are of versions that did not keep what they answered to the test part. That is computed first, where it can
    be: some pages do so as well, and what the others say must not depend on which was drawn before.
    """
    zone = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        lab = open_lab(replace(Settings(home), threads=1))
        for run in lab.store.runs(states=["finished"]):
            with suppress(LabError):
                predicted.predictions(lab, run)
        yield lab
    finally:
        close_lab()
        os.environ.pop("TZ")
        if zone is not None:
            os.environ["TZ"] = zone
        time.tzset()


def views_of(lab: Lab) -> dict[str, View]:
    """All views of a home folder, by name."""
    found: list[View] = [(page, {}) for page in WHOLE]
    for number, experiment in enumerate(sorted(lab.store.experiments(), key=lambda experiment: experiment.id)):
        asked = {"experiment": experiment.id}
        is_slow = lab.store.members(experiment)[0].spec.network.brought is not None
        found.append(("home", asked))
        found += [("experiment", {**asked, "view": tab}) for tab in TABS]
        if not number:
            found += [("weights", {**asked, "view": tab}) for tab in (WEIGHTS[:1] if is_slow else WEIGHTS)]
        found += [("experiment", {**asked, "all-tried": "true"}), ("experiment", {**asked, "masked": "true"})]
        found.append(("experiment", {**asked, "masked": "true", "view": "Forgetting"}))
    first = {(run.experiment, run.spec.label, run.state): run.id for run in lab.store.runs()}
    found += [("runs", {"run": id}) for id in sorted(first.values())]
    return {
        " ".join([page, *(f"{name}={value}" for name, value in asked.items())]): (page, asked) for page, asked in found
    }


@cache
def registered() -> dict[str, Any]:
    """The pages of the shell as ``AppTest`` knows them, once it has run the first one."""
    return dict(AppTest.from_file(SHELL, default_timeout=SECONDS).run()._registered_pages)


def draw(view: View, home: Path) -> dict[str, Any]:
    """What a view shows; see :func:`tests.same_numbers.drawn.drawn`."""
    page, asked = view
    app = AppTest.from_file(SHELL, default_timeout=SECONDS)
    app._registered_pages = registered()
    name, asked = placed(page, asked)
    app.query_params |= asked
    app.switch_page(script(name)).run()
    assert not app.exception, app.exception
    found = drawn(app, home)
    if page == "home":  # the question before it is about datasets, and has forecasts below its button
        asked_last = next(number for number, line in enumerate(found["lines"]) if QUESTION in line)
        found["lines"] = [line for line in found["lines"][asked_last:] if not re.match(FORECAST, line)]
    return found
