"""Pages show the texts, tables and figures of the golden files, with every number to the last digit.

The page Weights calculates its figures from the weights, and their last digits are the processor's: these are compared
to six digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.lab import Lab
from tests.same_numbers.golden import MAIN, changed, changed_lines, read
from tests.same_numbers.homes import HOMES
from tests.same_numbers.printed import COMMANDS
from tests.same_numbers.views import draw, opened, views_of

BEFORE = {
    home: {name: parts for name, parts in read(home, MAIN).items() if not name.startswith(COMMANDS)} for home in HOMES
}
TOLERANCE = 1e-6
"""Relative difference of two numbers that were calculated from weights."""


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
    for name, before in BEFORE[which].items():
        with subtests.test(name):
            now = draw(views[name], home)
            lines = changed_lines(before["lines"], now["lines"])
            assert not lines, lines
            tolerance = TOLERANCE if name.startswith("weights") else 0.0
            found = changed({**before, "lines": []}, {**now, "lines": []}, tolerance)
            assert not found, found
