"""`make check` leaves out what its list says, and the list names what is there."""

from __future__ import annotations

from tests.conftest import FIRST, SLOW, TESTS


def test_every_slow_module_is_there() -> None:
    assert [name for name in [*SLOW, *FIRST] if not (TESTS / name).exists()] == []


def test_no_module_is_listed_twice() -> None:
    assert len(set(SLOW)) == len(SLOW)
    assert [name for name in SLOW for other in SLOW if name.startswith(f"{other}/")] == []
