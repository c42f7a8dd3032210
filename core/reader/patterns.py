"""Regular expressions that somebody else wrote, matched in the reader: some take longer than anybody lives."""

from __future__ import annotations

import re

from core.errors import LabError
from core.reader.limits import Limits
from core.reader.opening import in_reader


@in_reader(LabError, limits=Limits(memory=2**28, cpu=2, wall=30))
def first_matches(
    groups: tuple[tuple[str, ...], ...], texts: tuple[str, ...], what: str, error: type[LabError]
) -> tuple[tuple[int, ...], ...]:
    """For each group and each text, the index of the first expression that matches all of the text; -1 if none does.

    All of them share one limit on time.

    Args:
        groups: regular expressions.
        texts: what they are matched with.
        what: subject of error messages.
        error: class of the errors.

    Raises:
        error: an expression is not valid, or they take too long.
    """
    found = []
    for group in groups:
        compiled = []
        for expression in group:
            try:
                compiled.append(re.compile(expression))
            except (re.error, OverflowError, RecursionError) as problem:
                raise error(f"{what} has {expression!r:.80}, which cannot be used: {problem}.") from problem
        found.append(tuple(next((n for n, one in enumerate(compiled) if one.fullmatch(text)), -1) for text in texts))
    return tuple(found)
