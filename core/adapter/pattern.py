"""Regular expressions that select layers in PEFT's config: matched as PEFT does, unless that could take long.

A file may come from anybody, and matching may try every way to divide a path among the parts of a pattern. Their number
is bounded here, before anything is matched.
"""

from __future__ import annotations

import math
import re

from core.adapter.archive import CONFIG
from core.errors import AdapterError

MAX_LENGTH = 256
"""Maximum length of a name or pattern, and of the names of tensors that it is matched against."""
MAX_WAYS = 2**21
"""Maximum number of ways to try: those of two repetitions without a bound, and 63 more for each of them."""

PLAIN = re.compile(r"[\w.-]+")
"""A name, without what has a meaning in regular expressions but the dot."""

_TOKEN = re.compile(
    r"(?P<character>\\[wWdDsS.\\-]|[\w.-]|\[\^?(?:\\[wWdDsS.\\-]|[\w.-])+\])"
    r"|(?P<open>\((?:\?:)?)|(?P<close>\))|(?P<bar>\|)|(?P<place>[$^]|\\b)"
    r"|(?P<optional>\?\??)|(?P<repeat>[*+]\??|\{(?P<least>\d{0,3})(?P<range>,(?P<most>\d{0,3}))?\}\??)"
)


def checked_pattern(pattern: str, repetitions: int = 0) -> str:
    """Return a pattern that is a name, or a regular expression that is fast to match.

    Args:
        pattern: from a config.
        repetitions: without a bound, in what is put around the pattern.

    Raises:
        AdapterError: it is no regular expression, too long, or could take long to match.
    """
    if len(pattern) <= MAX_LENGTH and PLAIN.fullmatch(pattern):
        return pattern
    try:
        if len(pattern) > MAX_LENGTH:
            raise ValueError(f"it has more than {MAX_LENGTH} characters")
        re.compile(pattern)
        re.compile(rf"(.*\.)?({pattern})$")
        if _ways(pattern, repetitions) > MAX_WAYS:
            raise ValueError("it has too many repetitions and alternatives")
    except (re.error, ValueError) as error:
        raise AdapterError(f"{CONFIG} selects layers by {pattern!r:.80}, which cannot be used: {error}.") from error
    return pattern


def _ways(pattern: str, repetitions: int) -> int:
    """An upper bound for the number of ways to match a valid pattern with a path.

    Repetitions without a bound share the characters of a path; all other choices multiply.

    Raises:
        ValueError: it repeats a group, or has something else that is not counted here.
    """
    ways, position, before = 1, 0, ""
    alternatives = [1]  # of each group that is open
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        kind = token.lastgroup if token else None
        if token is None or kind is None:
            raise ValueError(f"LoRA Lab does not accept {pattern[position : position + 2]!r} in it")
        if kind == "open":
            alternatives.append(1)
        elif kind == "bar":
            alternatives[-1] += 1
        elif kind == "close":
            ways *= alternatives.pop()
        elif kind == "optional":
            if before not in ("character", "close"):
                raise ValueError("LoRA Lab does not accept extensions of groups in it")
            ways *= 2
        elif kind == "repeat":
            if before != "character":
                raise ValueError("only single characters may be repeated")
            if (choices := _choices(token)) is None:
                repetitions += 1
            else:
                ways *= choices
        before, position = kind, token.end()
    return ways * alternatives[0] * math.comb(MAX_LENGTH + repetitions, repetitions)


def _choices(token: re.Match[str]) -> int | None:
    """How many numbers of repetitions a quantifier permits; None if there is no bound."""
    if token["least"] is None or (token["range"] and not token["most"]):
        return None
    return int(token["most"]) - int(token["least"] or 0) + 1 if token["range"] else 1
