"""Commands, reports and the store have the numbers of the golden files, to the last digit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.tasks.views.text import OF_IMAGES
from tests.same_numbers.asked import for_programs
from tests.same_numbers.golden import MAIN, OLD, changed, changed_lines, read
from tests.same_numbers.homes import HOMES
from tests.same_numbers.printed import COMMANDS, experiments, texts_of

ROUNDING = 1e-9
"""Relative difference of two numbers that people read: another processor adds in another order."""

pytestmark = pytest.mark.parametrize("copied_home", HOMES, indirect=True)


def test_what_programs_read_is_as_it_was(copied_home: tuple[str, Path]) -> None:
    name, home = copied_home
    before: dict[str, Any] = read(name, OLD)
    assert before["runs"]
    # The verdict is that of another rule now, and has all keys that it had.
    verdicts = {id: found.pop("verdict").keys() for id, found in before["json"].items()}
    assert before["json"].keys() == set(experiments(home))
    # Trackers are no longer told what only images have, of runs on texts.
    told = [run["tracked"]["settings"] for run in before["runs"].values()]
    texts = [settings for settings in told if settings["network.kind"] == "transformer"]
    assert bool(texts) == (name == "minilm_home")
    for settings in texts:
        dropped = {settings.pop(f"{part}.{field}", None) for part in ("task", "source") for field in OF_IMAGES}
        assert dropped <= {None, False}
    now = for_programs(home)
    assert all(keys <= now["json"][id]["verdict"].keys() for id, keys in verdicts.items())
    differences = changed(before, now)
    assert not differences, differences


def test_what_commands_print_and_reports_say_is_as_it_was(copied_home: tuple[str, Path]) -> None:
    name, home = copied_home
    before = {said: parts for said, parts in read(name, MAIN).items() if said.startswith(COMMANDS)}
    now = dict(said for experiment in experiments(home) for said in texts_of(home, experiment))
    assert before.keys() == now.keys()
    for said, parts in before.items():
        lines = changed_lines(parts.pop("lines"), now[said]["lines"])
        assert not lines, f"{said}\n{lines}"
        found = changed(parts, now[said], ROUNDING)
        assert not found, f"{said}\n{found}"
