"""Numbers and durations as people read them: a range is at most three wide and never an exact figure."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.forecast.forecast import WIDTHS, Basis, Forecast, total
from core.numbers import (
    bytes_text,
    count_text,
    counted,
    forecast_text,
    left_text,
    percent,
    points_text,
    range_text,
    seconds_text,
    seeds_text,
)

UNITS = {"s": 1, "min": 60, "h": 3600}


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (5.0, 10.0, "5 to 10 s"),
        (5.04, 10.2, "5 to 10 s"),
        (0.213, 0.476, "0.21 to 0.48 s"),
        (0.02, 0.05, "under 0.1 s"),
        (50.0, 120.0, "50 s to 2 min"),
        (89.96, 240.0, "90 s to 4 min"),
        (3000.0, 7200.0, "50 min to 2 h"),
        (4e6, 9e6, "1,100 to 2,500 h"),
        (None, None, "measuring …"),
    ],
)
def test_a_range_reads_as_a_person_would_write_it(low: float | None, high: float | None, text: str) -> None:
    assert range_text(low, high) == text


@given(st.floats(0.06, 1e6), st.sampled_from([*WIDTHS]), st.floats(1.0, 50.0))
def test_a_range_that_is_shown_is_at_most_three_wide(seconds: float, basis: Basis, spread: float) -> None:
    forecast = Forecast.around(seconds, 0, basis, spread)
    text = range_text(forecast.seconds_low, forecast.seconds_high)
    if text == "under 0.1 s":
        return
    *first, last, unit = text.replace(",", "").replace(" to ", " ").split()
    low = float(first[0]) * UNITS[first[1] if len(first) > 1 else unit]
    assert 1 < float(last) * UNITS[unit] / low <= 3


def test_what_is_left_and_what_it_took_have_words_for_the_unknown() -> None:
    assert left_text(5.0, 10.0) == "5 to 10 s left"
    assert left_text(300.0, None) == "more than 5 min left: some runs are not timed yet"
    assert left_text(None, None) == "time left not known yet"
    assert forecast_text(5.0, 10.0, 7.0) == "estimated 5 to 10 s, took 7.00 s"


@given(st.floats(1e-4, 1e6), st.integers(0, 10**12), st.sampled_from([*WIDTHS]))
def test_the_line_of_a_log_keeps_the_forecast(seconds: float, memory: int, basis: Basis) -> None:
    forecast = Forecast.around(seconds, memory, basis)
    again = Forecast.from_line(forecast.to_line())
    assert (again.seconds_low, again.seconds_high) == pytest.approx(
        (forecast.seconds_low, forecast.seconds_high), rel=0.006
    )
    assert again.memory == pytest.approx(memory, abs=0.06e6)
    assert again.basis == basis


def test_a_line_without_times_keeps_the_memory_and_other_lines_are_none() -> None:
    unknown = Forecast(None, None, 2_000_000, "unknown")
    assert Forecast.from_line(unknown.to_line()) == unknown
    assert Forecast.from_line("Forecast: rain.") is None
    assert Forecast.from_line("Its process ended before the run did.") is None


def test_a_total_adds_times_and_is_as_weak_as_its_weakest_part() -> None:
    parts = [Forecast(1.0, 2.0, 10, "measured"), Forecast(3.0, 9.0, 30, "rough")]
    assert total(parts) == Forecast(4.0, 11.0, 30, "rough")
    assert total([*parts, Forecast(None, None, 50, "unknown")]) == Forecast(4.0, None, 50, "unknown")
    assert total([*parts, Forecast(7.0, None, 50, "unknown")]) == Forecast(11.0, None, 50, "unknown")
    assert total([Forecast(None, None, 50, "unknown")] * 2) == Forecast(None, None, 50, "unknown")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (percent(96.4), "96.40 %"),
        (percent(None), "–"),
        (percent(math.nan), "not a number"),
        (percent(math.inf), "infinite"),
        (points_text(-1.318), "−1.32 points"),
        (points_text(0.5), "+0.50 points"),
        (points_text(-0.001), "0.00 points"),
        (count_text(6248), "6,248"),
        (counted(1, "other run"), "1 other run"),
        (counted(0, "run"), "0 runs"),
        (counted(1200, "run"), "1,200 runs"),
        (seeds_text([4]), "seed 4"),
        (seeds_text([0, 1]), "seeds 0 and 1"),
        (seeds_text([0, 1, 2]), "seeds 0 to 2"),
        (seeds_text([0, 1, 3]), "seeds 0, 1 and 3"),
        (bytes_text(24_900), "24.9 kB"),
        (bytes_text(999), "999 B"),
        (bytes_text(999_960), "1.0 MB"),
        (bytes_text(5e15), "5,000.0 TB"),
        (bytes_text(0), "0 B"),
        (seconds_text(0.42), "0.42 s"),
        (seconds_text(12.34), "12.3 s"),
        (seconds_text(59.97), "1 min 0 s"),
        (seconds_text(72), "1 min 12 s"),
        (seconds_text(119.7), "2 min 0 s"),
        (seconds_text(3599.8), "1 h 0 min"),
        (seconds_text(7500), "2 h 5 min"),
    ],
)
def test_numbers_are_written_one_way(written, text):
    assert written == text
