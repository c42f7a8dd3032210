"""JSON that somebody else wrote: parsed here once the reader has found it small enough."""

from __future__ import annotations

import codecs
import json
from typing import Any

from core.errors import JsonError
from core.reader.opening import in_reader

MAX_VALUES = 500_000
"""Maximum number of values, such as numbers and strings, in one text: the description of a network with a thousand
files has some ten thousand."""

MAX_DEPTH = 64
"""Maximum number of lists and objects inside each other."""


def json_value(content: bytes, unique: bool = False, is_finite: bool = False) -> Any:
    """Parse a text in UTF-8, with or without a byte order mark.

    Args:
        content: the text.
        unique: whether a name may occur only once in an object.
        is_finite: whether NaN and infinities, which are no JSON, are refused.

    Raises:
        JsonError: it is no JSON, or has too many values. The message goes on after ``This is``.
    """
    text = content.removeprefix(codecs.BOM_UTF8)
    _check(text, unique, is_finite)
    return json.loads(text)


@in_reader(JsonError, "JSON that")
def _check(content: bytes, unique: bool, is_finite: bool) -> None:
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_once if unique else None,
            parse_constant=_refused if is_finite else None,
        )
    except UnicodeDecodeError as error:
        raise JsonError("not text in UTF-8: choose another file") from error
    except json.JSONDecodeError as error:
        mend = "look for a missing comma, quote or bracket"
        raise JsonError(f"not valid JSON, in line {error.lineno}: {mend}") from error
    except RecursionError as error:
        raise JsonError("nested too deeply") from error
    except ValueError as error:
        raise error if isinstance(error, JsonError) else JsonError("not valid JSON: a number is too long") from error
    left, level = MAX_VALUES, [[value]]
    for _ in range(MAX_DEPTH):
        level = [each for found in level for each in (found.values() if isinstance(found, dict) else found)]
        left -= len(level)
        level = [each for each in level if isinstance(each, dict | list)]
        if left < 0:
            raise JsonError(f"larger than {MAX_VALUES:,} values")
    if level:
        raise JsonError("nested too deeply")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ. Raises: JsonError: one occurs twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise JsonError(f"not clear, since {name[:80]!r} stands twice in one object: leave one of them out")
        found[name] = value
    return found


def _refused(constant: str) -> None:
    raise JsonError(f"not valid JSON, since {constant} is no number")
