"""How long each module of tests takes: recorded by ``make durations``, read for their order and for the mark ``slow``.

``python -m tests.durations FILE`` takes the times of a JUnit report, of the whole suite or of some modules.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

TESTS = Path(__file__).parent
FILE = TESTS / "durations.json"

SLOW_SECONDS = 2.0
"""A module that takes longer is slow: ``make check`` leaves it out."""


def seconds_by_module() -> dict[str, float]:
    """What is recorded, by the module's path in tests/; a module that is new is not there."""
    known: dict[str, float] = json.loads(FILE.read_text())
    return known


def seconds_of(path: Path, known: dict[str, float]) -> float:
    """The time of a module; 0 where it is not known."""
    return known.get(path.relative_to(TESTS).as_posix(), 0.0)


def record(report: Path) -> None:
    """Put the times of a report into the file, and take out modules that are gone."""
    seconds: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        module = case.get("classname", "").removeprefix("tests.").replace(".", "/") + ".py"
        seconds[module] += float(case.get("time", 0))
    known = seconds_by_module() | {module: round(total, 1) for module, total in seconds.items()}
    there = {module: total for module, total in sorted(known.items()) if (TESTS / module).exists()}
    FILE.write_text(json.dumps(there, indent=1) + "\n")


if __name__ == "__main__":
    record(Path(sys.argv[1]))
