"""Reads requests for predictions, and builds only what is known to be within bounds.

24 MiB may hold eight million rows, or twelve million pixels in one row. So a request is gone through token by token:
rows are counted, a field may be there once, and a value is built where its JSON is not too long for it. All bounds are
those of the types in :mod:`core.serving.request`, by which msgspec builds and checks each value.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, ValidationError
from msgspec.inspect import ListType, Metadata, StrType, StructType, Type, UnionType, type_info
from msgspec.json import Decoder
from msgspec.structs import FieldInfo, fields

from core.errors import ServingError
from core.serving.request import AdaptersQuery, PredictRequest

SMALL = 2**17
"""Bytes of a value that is built in any case: it takes a few megabytes at most."""

CHARACTER_BYTES = 12
r"""Maximum number of bytes of one character in JSON: two escapes, as in ``\ud83d\ude00``."""

MAX_PLACE = 120
"""Maximum number of characters of an error that say where it is: the name of a field may have any length."""

INVALID = "The request is not valid JSON."

UNKNOWN, REPEATED, MISSING = "extra inputs are not permitted", "field is there more than once", "field required"

OBJECT, ARRAY, STR, RANGE = "Expected `object`", "Expected `array`", "Expected `str`", "Number out of range"

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
    r"Expected `object.*": "input should be an object",
    r"Expected `array.*": "input should be a valid array",
    r"Expected `str.*": "input should be a valid string",
    r"Expected `float.*": "input should be a valid number",
    r"Expected `int.*": "input should be a valid integer",
    RANGE: "input should be a finite number",
}
"""What msgspec says of a value, and what a person reads."""

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'

SPACE = rb"[ \t\n\r]*+"


def _token(pattern: bytes, after: bytes = b"") -> re.Pattern[bytes]:
    """A token, what has to follow it, and the space around that."""
    return re.compile(rb"(" + pattern + rb")" + SPACE + after + SPACE, re.DOTALL)


START, OPEN, CLOSE, OPEN_LIST, CLOSE_LIST = (_token(each) for each in (rb"", rb"\{", rb"\}", rb"\[", rb"\]"))

NAME, NEXT = _token(STRING, rb":"), _token(rb"[,}\]]")

VALUE = _token(STRING + rb'|\[[^\]]*+\]?|[-+.\w]++|["{]')
"""A string, a list of numbers, a number or a name; of any other value as much as shows that it is none of these."""

FIRST_STRING = _token(rb'\[[^"]*+(?:' + STRING + rb")?")
"""A list up to the end of the first string in it."""

NOT_FINITE = re.compile(rb"NaN|Infinity")
"""What Python writes for numbers that JSON does not have."""

S = TypeVar("S", bound=Struct)


def parse(content: bytes) -> PredictRequest:
    """Read a request.

    Raises:
        ServingError: not JSON, or not a request; the message names the first field that is wrong.
    """
    json = _Json(content)
    found = _read_object(json, "", PredictRequest)
    json.need_end()
    return found


def parse_query(texts: Mapping[str, str]) -> AdaptersQuery:
    """Read the query of a request for adapters. Raises: ServingError: a field is wrong; the message names it."""
    types = {field.name: field.type for field in fields(AdaptersQuery)}
    values = {}
    for name, text in texts.items():
        if name not in types:
            raise _error(UNKNOWN, name)
        try:
            values[name] = msgspec.convert(text, types[name], strict=False)
        except ValidationError as error:
            raise _error(str(error), name) from error
    return AdaptersQuery(**values)


class _Json:
    """A place in JSON, which moves on with each token that is taken."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0
        self.take(START)

    def take(self, token: re.Pattern[bytes]) -> bytes | None:
        """Take a token, if it is next."""
        found = token.match(self._content, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[1]

    def need(self, token: re.Pattern[bytes]) -> bytes:
        """Take a token. Raises: ServingError: another one is next."""
        found = self.take(token)
        if found is None:
            raise ServingError(INVALID)
        return found

    def need_value(self) -> bytes:
        """Take a value. Raises: ServingError: there is none."""
        start = self._at
        value = self.need(VALUE)
        if value.startswith(b"[") and b'"' in value:
            self._at = start
            value = self.need(FIRST_STRING)
        return value

    def need_end(self) -> None:
        """Raises: ServingError: there is more."""
        if self._at < len(self._content):
            raise ServingError(INVALID)

    def parts(self, start: re.Pattern[bytes], end: re.Pattern[bytes], place: str, expected: str) -> Iterator[int]:
        """Number the parts of an object or a list; between two numbers, the tokens of a part have to be taken.

        Raises:
            ServingError: no object or list is here, or its parts are not followed by what they should be.
        """
        if self.take(start) is None:
            self.need(VALUE)
            raise _misshapen(expected, place)
        if self.take(end):
            return
        for index in itertools.count():
            yield index
            after = self.need(NEXT)
            if end.match(after):
                return
            if after != b",":
                raise ServingError(INVALID)


@dataclass(frozen=True)
class _Field:
    """A field of a request or a row: a list or a string, or null where it may be left out."""

    required: bool
    kind: ListType | StrType
    max_length: int
    decoder: Decoder[Any]

    @classmethod
    def of(cls, field: FieldInfo) -> _Field:
        """Raises: TypeError: a value of the field could have any length."""
        kind = _without_null(type_info(field.type))
        if not isinstance(kind, ListType | StrType) or kind.max_length is None:
            raise TypeError(f"{field.name} is neither a list nor a string of limited length.")
        return cls(field.required, kind, kind.max_length, Decoder(field.type))

    def read(self, json: _Json, place: str) -> Any:
        """Build the value that is next. Raises: ServingError: it is wrong."""
        if isinstance(self.kind, ListType) and isinstance(self.kind.item_type, StructType):
            return self._read_objects(json, place, self.kind.item_type.cls)
        value = json.need_value()
        if len(value) > SMALL and self._is_too_long(value):
            raise self._too_long(place)
        try:
            return self.decoder.decode(value)
        except ValidationError as error:
            raise _error(str(error), place) from error
        except ValueError as error:  # malformed, truncated or not UTF-8
            found = NOT_FINITE.search(value) if value.startswith(b"[") else None
            if found:
                raise _error(f"{RANGE} - at `$[{value.count(b',', 0, found.start())}]`", place) from error
            raise ServingError(INVALID) from error

    def _read_objects(self, json: _Json, place: str, kind: type[Struct]) -> list[Struct]:
        found: list[Struct] = []
        for index in json.parts(OPEN_LIST, CLOSE_LIST, place, ARRAY):
            if index == self.max_length:
                raise self._too_long(place)
            found.append(_read_object(json, f"{place}[{index}]", kind))
        if len(found) < (self.kind.min_length or 0):
            raise _error(f"{ARRAY} of length >= {self.kind.min_length}", place)
        return found

    def _is_too_long(self, value: bytes) -> bool:
        """Whether JSON shows by its commas or its size that a list or a string is too long."""
        if isinstance(self.kind, ListType):
            return value.startswith(b"[") and value.count(b",") >= self.max_length
        return value.startswith(b'"') and len(value) > CHARACTER_BYTES * self.max_length + len('""')

    def _too_long(self, place: str) -> ServingError:
        return _error(f"{ARRAY if isinstance(self.kind, ListType) else STR} of length <= {self.max_length}", place)


@cache
def _fields_of(kind: type[Struct]) -> dict[str, _Field]:
    return {field.name: _Field.of(field) for field in fields(kind)}


def _without_null(kind: Type) -> Type:
    """A type without its description and null."""
    match kind:
        case Metadata(type=inner) | UnionType(types=(inner, *_)):
            return _without_null(inner)
    return kind


def _read_object(json: _Json, place: str, kind: type[S]) -> S:
    known, values = _fields_of(kind), {}
    for _ in json.parts(OPEN, CLOSE, place, OBJECT):
        name = _name(json.need(NAME))
        own = f"{place}.{name}" if place else name
        if name not in known:
            raise _misshapen(UNKNOWN, own)
        if name in values:
            raise _error(REPEATED, own)
        values[name] = known[name].read(json, own)
    for name, field in known.items():
        if field.required and name not in values:
            raise _misshapen(MISSING, f"{place}.{name}" if place else name)
    return kind(**values)


def _name(token: bytes) -> str:
    """The name of a field; of one that is longer than what errors show, the beginning."""
    if len(token) > CHARACTER_BYTES * MAX_PLACE:
        return token[1:MAX_PLACE].decode(errors="replace")
    try:
        return msgspec.json.decode(token, type=str)
    except ValueError as error:
        raise ServingError(INVALID) from error


def _misshapen(message: str, place: str) -> ServingError:
    """An error of keys, with the shortest request. Args: as in :func:`_error`."""
    return ServingError(f"{str(_error(message, place)).removesuffix('.')}; {SHAPE}.")


def _error(message: str, place: str) -> ServingError:
    """An error in words for people, from what msgspec says and the names of the fields down to the value."""
    reason, _, part = message.partition(" - at `$")
    for pattern, wording in WORDINGS.items():
        if found := re.fullmatch(pattern, reason):
            reason = found.expand(wording)
            break
    where = (place + part.rstrip("`"))[:MAX_PLACE] or "The request"
    return ServingError(f"{where} is wrong: {reason[0].lower()}{reason[1:]}.")
