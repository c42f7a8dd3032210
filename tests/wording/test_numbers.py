"""Numbers are written for people in one way."""

from __future__ import annotations

import math

import pytest

from core.numbers import bytes_text, count_text, counted, percent, points_text, seconds_text, seeds_text


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
