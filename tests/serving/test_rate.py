"""Rates are what was answered in the latest minute, divided by the seconds of it that are known."""

from __future__ import annotations

import pytest

from core.serving.rate import WINDOW, Answered, Rate, rate_of


def answered(*at: float, rows: int = 1) -> list[Answered]:
    return [Answered(each, rows, 0.1) for each in at]


def test_a_steady_rate_is_found_whatever_part_of_it_is_known() -> None:
    whole = answered(*(0.5 * number for number in range(1, 401)), rows=3)
    for kept in (10, 100, 400):
        latest = whole[-kept:]
        for now in (200.0, 200.4):
            found = rate_of(latest, latest[0].at if kept < 400 else 0.0, now)
            assert found.requests == pytest.approx(2.0, rel=0.11)
            assert found.rows == pytest.approx(3 * found.requests)


def test_what_is_older_than_a_minute_does_not_count() -> None:
    latest = answered(1.0, 2.0, 70.0)
    assert rate_of(latest, 0.0, 71.0) == Rate(1 / WINDOW, 1 / WINDOW)
    assert rate_of(latest, 0.0, 70.0 + WINDOW) == Rate(0.0, 0.0)


def test_after_the_start_only_the_seconds_since_it_count() -> None:
    assert rate_of(answered(1.0, 2.0, 3.0, 4.0, rows=2), 0.0, 4.0) == Rate(1.0, 2.0)
    assert rate_of([], 5.0, 5.0) == Rate(0.0, 0.0)
