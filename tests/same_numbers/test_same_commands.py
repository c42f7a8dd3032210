"""Commands, reports and the store have the numbers of the golden files, to the last digit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.same_numbers.asked import for_programs
from tests.same_numbers.golden import MAIN, OLD, changed, changed_lines, read
from tests.same_numbers.homes import HOMES
from tests.same_numbers.printed import COMMANDS, experiments, texts_of

MEANT = {"minilm_home": {"seeds_needed": None}}
"""What was meant to change in the verdicts of a home since they were written: settings that have not been shown to have
learnt anything are told no number of seeds any more."""

pytestmark = pytest.mark.parametrize("copied_home", HOMES, indirect=True)


def test_what_programs_read_is_as_it_was(copied_home: tuple[str, Path]) -> None:
    name, home = copied_home
    before: dict[str, Any] = read(name, OLD)
    assert before["runs"]
    for found in before["json"].values():
        found["verdict"] |= MEANT.get(name, {})
    assert before["json"].keys() == set(experiments(home))
    differences = changed(before, for_programs(home))
    assert not differences, differences


def test_what_commands_print_and_reports_say_is_as_it_was(copied_home: tuple[str, Path]) -> None:
    name, home = copied_home
    before = {said: parts for said, parts in read(name, MAIN).items() if said.startswith(COMMANDS)}
    now = dict(said for experiment in experiments(home) for said in texts_of(home, experiment))
    assert before.keys() == now.keys()
    for said, parts in before.items():
        lines = changed_lines(parts.pop("lines"), now[said]["lines"])
        assert not lines, f"{said}\n{lines}"
        found = changed(parts, now[said])
        assert not found, f"{said}\n{found}"
