"""`make check` leaves out what its list says, and `make soak` runs all that has a full size."""

from __future__ import annotations

import re

from tests.conftest import FIRST, SLOW, TESTS

HAS_FULL_SIZE = re.compile(r"mark\.minutes|\bsome_of\b|\btests\.soak\.sizes\b")
"""What a module has that is larger in a soak run."""


def test_every_slow_module_is_there() -> None:
    assert [name for name in [*SLOW, *FIRST] if not (TESTS / name).exists()] == []


def test_no_module_is_listed_twice() -> None:
    assert len(set(SLOW)) == len(SLOW)
    assert [name for name in SLOW for other in SLOW if name.startswith(f"{other}/")] == []


def test_the_soak_runs_every_module_that_has_a_full_size() -> None:
    listed = re.search(r"^FULL := .*?\)$", (TESTS.parent / "Makefile").read_text(), re.MULTILINE | re.DOTALL)
    assert listed
    modules = [path for path in TESTS.rglob("test_*.py") if HAS_FULL_SIZE.search(path.read_text())]
    outside = [path.relative_to(TESTS).as_posix() for path in modules if path.parent.name not in ("soak", "docs")]
    assert sorted(re.findall(r"\S+\.py", listed[0])) == sorted(outside)


def test_no_two_modules_of_tests_have_one_name() -> None:
    # Forked processes and pickles find a module by its name, and would find the other one.
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
