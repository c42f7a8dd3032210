"""What several networks answer to one input, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.numbers import count_text, listed

MAX_NAMED = 3
"""Networks that are named for one answer; more are counted."""

MAX_ANSWERS = 3
"""Answers that are told beside the most frequent one; networks with others are counted."""


def answers_text(answers: Mapping[str, str], truth: str | None = None) -> str:
    """Say who answers what, as in ``7 of 9 networks answer 3; LoRA r=1 and Base answer 8, which is right.``

    Args:
        answers: of each network, by what it is called; at least one.
        truth: the right answer; None if it is not known.
    """
    by_answer: dict[str, list[str]] = {}
    for network, answer in answers.items():
        by_answer.setdefault(answer, []).append(network)
    groups = sorted(by_answer.items(), key=lambda group: -len(group[1]))
    told = groups[: 1 + MAX_ANSWERS]
    parts = [
        f"{_all(networks, len(answers)) if place == 0 else _who(networks)} {_verb(networks)} {answer}"
        f"{', which is right' if answer == truth else ''}"
        for place, (answer, networks) in enumerate(told)
    ]
    if rest := sum(len(networks) for _, networks in groups[len(told) :]):
        parts.append(f"{count_text(rest)} {'has another answer' if rest == 1 else 'have other answers'}")
    if truth is not None and truth not in dict(told):
        parts.append(f"the right answer is {truth}")
    return f"{'; '.join(parts)}."


def _all(networks: Sequence[str], count: int) -> str:
    """The networks with the most frequent answer, of this many."""
    if len(networks) == 1:
        return _who(networks)
    if len(networks) == count:
        return "Both networks" if count == 2 else f"All {count_text(count)} networks"
    return f"{count_text(len(networks))} of {count_text(count)} networks"


def _who(networks: Sequence[str]) -> str:
    """The names of networks; those with a comma in quotation marks, since commas separate them."""
    named = [f"“{name}”" if "," in name else name for name in networks[:MAX_NAMED]]
    more = len(networks) - len(named)
    return listed([*named, *([f"{count_text(more)} more"] if more else [])])


def _verb(networks: Sequence[str]) -> str:
    return "answers" if len(networks) == 1 else "answer"
