"""Pages show the texts, tables and figures of the golden files, with every number to the last digit.

The page Weights calculates its figures from the weights, and their last digits are the processor's: these are compared
to six digits.

The whole suite draws each page with each of its tabs and choices for one experiment, and ``make soak`` for all.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from core.lab import Lab
from tests.same_numbers.golden import MAIN, changed, changed_lines, read
from tests.same_numbers.homes import HOMES
from tests.same_numbers.printed import COMMANDS
from tests.same_numbers.views import draw, opened, views_of
from tests.soak.sizes import FULL

BEFORE = {
    home: {name: parts for name, parts in read(home, MAIN).items() if not name.startswith(COMMANDS)} for home in HOMES
}
TOLERANCE = 1e-6
"""Relative difference of two numbers that were calculated from weights."""

ROUNDING = 1e-9
"""The same of all others: another processor adds in another order."""

APART = 5
"""Of the runs that Runs shows in detail, every fifth is drawn in the whole suite."""


def one_of_each(views: Iterable[str]) -> list[str]:
    """Of each page, with each of its tabs and choices, the view of one experiment, which changes from page to page."""
    kinds = defaultdict(list)
    for name in views:
        kinds[re.sub(r"(experiment|run)=\S+", "", name)].append(name)
    return [name for number, names in enumerate(kinds.values()) for name in names[number % len(names) :: APART]]


@pytest.fixture(scope="module")
def shown_home(copied_home: tuple[str, Path]) -> Iterator[tuple[Lab, str, Path]]:
    """A home that is open as the lab of this process, with its name and its folder."""
    name, home = copied_home
    with opened(home) as lab:
        yield lab, name, home


@pytest.mark.parametrize("copied_home", HOMES, indirect=True)
def test_pages_are_as_they_were_and_none_of_an_experiment_or_run_is_left_out(
    shown_home: tuple[Lab, str, Path], subtests: pytest.Subtests
) -> None:
    lab, which, home = shown_home
    views = views_of(lab)
    assert views.keys() == BEFORE[which].keys()
    for name in BEFORE[which] if FULL else one_of_each(BEFORE[which]):
        before = BEFORE[which][name]
        with subtests.test(name):
            now = draw(views[name], home)
            lines = changed_lines(before["lines"], now["lines"])
            assert not lines, lines
            tolerance = TOLERANCE if name.startswith("weights") else ROUNDING
            found = changed({**before, "lines": []}, {**now, "lines": []}, tolerance)
            assert not found, found
