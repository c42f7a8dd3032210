"""What each golden file holds: all that a commit says of a home folder, as parts that are compared one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.same_numbers.printed import experiments, json_of, texts_of
from tests.same_numbers.stored import stored


def for_programs(home: Path) -> dict[str, Any]:
    """What programs read: ``--json`` of each experiment, and each run with its curve."""
    found = {"json": {id: json_of(home, id) for id in experiments(home)}}
    return {**found, "runs": stored(home)}


def for_people(home: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What people read on the command line and in reports, and then on the pages, by name."""
    from tests.same_numbers.views import draw, opened, views_of  # the older commit has no such pages

    for experiment in experiments(home):
        yield from texts_of(home, experiment)
    with opened(home) as lab:
        for name, view in views_of(lab).items():
            yield name, draw(view, home)
