"""One sentence says what several networks answer, whatever they are called and however many they are."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.wording.tasks import MAX_ANSWERS, MAX_NAMED, answers_text

SEVEN = {f"LoRA r={rank}": "3" for rank in (2, 4, 8, 16, 32, 64)} | {"Full": "3"}


@pytest.mark.parametrize(
    ("answers", "truth", "text"),
    [
        ({"Base": "3"}, None, "Base answers 3."),
        ({"Base": "3", "Full": "3"}, "3", "Both networks answer 3, which is right."),
        ({"Base": "8", "Full": "3"}, "3", "Base answers 8; Full answers 3, which is right."),
        (SEVEN, "5", "All 7 networks answer 3; the right answer is 5."),
        (
            {"LoRA r=1": "8", "Base": "8"} | SEVEN,
            None,
            "7 of 9 networks answer 3; LoRA r=1 and Base answer 8.",
        ),
        (
            {"Base, with an untrained head": "8", "LoRA r=2, merged": "8"} | SEVEN,
            "8",
            "7 of 9 networks answer 3; “Base, with an untrained head” and “LoRA r=2, merged” answer 8, which is right.",
        ),
        (
            SEVEN | {f"DoRA r={rank}": "8" for rank in range(5)},
            None,
            "7 of 12 networks answer 3; DoRA r=0, DoRA r=1, DoRA r=2 and 2 more answer 8.",
        ),
        (
            SEVEN | {f"n-{label}": f"c{label}" for label in range(5)},
            "c4",
            "7 of 12 networks answer 3; n-0 answers c0; n-1 answers c1; n-2 answers c2; 2 have other answers; "
            "the right answer is c4.",
        ),
    ],
)
def test_who_answers_what(answers: dict[str, str], truth: str | None, text: str) -> None:
    assert answers_text(answers, truth) == text


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), st.none() | st.sampled_from("abcdefghi"))
def test_the_most_frequent_answer_comes_first_and_the_truth_is_said_once(given: list[str], truth: str | None) -> None:
    text = answers_text({f"n{place}": answer for place, answer in enumerate(given)}, truth)
    counts = Counter(given)
    first = text.removesuffix(".").split("; ")[0].removesuffix(", which is right")
    assert counts[first.rpartition(" ")[2]] == max(counts.values())
    assert text.count("right") == (truth is not None)
    assert ("which is right" in text) <= (truth in counts)
    assert text.count(";") <= MAX_ANSWERS + 2
    assert text.count(" n") <= MAX_NAMED * (MAX_ANSWERS + 1) + 1
