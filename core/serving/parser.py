"""Reads requests for predictions: msgspec builds and checks them by the types in :mod:`core.serving.request`."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

import msgspec
from msgspec import ValidationError

from core.errors import ServingError
from core.serving.request import AdaptersQuery, PredictRequest

MAX_PLACE = 120
"""Maximum number of characters of an error that say where it is: the name of a field may have any length."""

INVALID = "The request is not valid JSON."

SHAPE = (
    'send {"rows": [{"adapter": "RUN", "text": "…"}]} to a base that reads or continues texts, and "pixels": [0.5, …] '
    'in place of "text" to one that reads images'
)
"""The shortest request of each kind of data, for errors of keys."""

WORDINGS = {
    r"Expected `(?:float|int)` >= (\d+).*": r"input should be greater than or equal to \1",
    r"Expected `(?:float|int)` <= (\d+).*": r"input should be less than or equal to \1",
    r"Expected `array` of length >= 1": "list should have at least 1 item",
    r"Expected `array` of length <= (\d+)": r"list should have at most \1 items",
    r"Expected `str` of length >= 1": "string should have at least 1 character",
    r"Expected `str` of length <= (\d+)": r"string should have at most \1 characters",
    r"Expected `object.*": f"input should be an object; {SHAPE}",
    r"Expected `array`.*": f"input should be a valid array; {SHAPE}",
    r"Expected `array.*": "input should be a valid array",
    r"Expected `str.*": "input should be a valid string",
    r"Expected `float.*": "input should be a valid number",
    r"Expected `int.*": "input should be a valid integer",
    r"Number out of range": "input should be a finite number",
}
"""What msgspec says of a value, and what a person reads."""

KEYS = {
    r"Object contains unknown field `(.*)`": "extra inputs are not permitted",
    r"Object missing required field `(.*)`": "field required",
}
"""What msgspec says of the fields of an object, and what a person reads of such a field."""

_MESSAGE = re.compile(r"(.*?)(?: - at `\$([\w.\[\]]*)`)?", re.DOTALL)
"""What msgspec says, and of which value: nothing for the whole request."""

_DECODER = msgspec.json.Decoder(PredictRequest)
_one_at_a_time = threading.Lock()
"""Held while a request is built: one of a million rows takes some 80 MB until it is refused."""


def parse(content: bytes) -> PredictRequest:
    """Read a request. Of a field that is there more than once, the last one counts.

    Raises:
        ServingError: not JSON, or not a request; the message names the first field that is wrong.
    """
    try:
        with _one_at_a_time:
            return _DECODER.decode(content)
    except ValidationError as error:
        raise _error(error, f"; {SHAPE}") from error
    except ValueError as error:  # malformed, truncated or not UTF-8
        raise ServingError(INVALID) from error


def parse_query(texts: Mapping[str, str]) -> AdaptersQuery:
    """Read the query of a request for adapters. Raises: ServingError: a field is wrong; the message names it."""
    try:
        return msgspec.convert(dict(texts), AdaptersQuery, strict=False)
    except ValidationError as error:
        raise _error(error) from error


def _error(error: ValidationError, shape: str = "") -> ServingError:
    """An error in words for people. Args: shape: what to say of fields that are unknown or missing."""
    found = _MESSAGE.fullmatch(str(error))
    reason, place = (found[1], found[2] or "") if found else (str(error), "")
    for pattern, wording in KEYS.items():
        if key := re.fullmatch(pattern, reason, re.DOTALL):
            place, reason = f"{place}.{key[1]}", f"{wording}{shape}"
    for pattern, wording in WORDINGS.items():
        if told := re.fullmatch(pattern, reason):
            reason = told.expand(wording)
            break
    where = place.removeprefix(".")[:MAX_PLACE] or "The request"
    return ServingError(f"{where} is wrong: {reason[0].lower()}{reason[1:]}.")
