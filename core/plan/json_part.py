"""Objects of a JSON file that people write by hand: read strictly, and each error says in which place it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from core.errors import JsonError, LabError, SpecError
from core.reader.json_text import json_value
from core.spec import Spec, shortened, shown_name

WIDTH = 140
"""Characters per line, up to which an object or a list is written on one line."""

INDENT = 2

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class JsonPart:
    """One object of the file."""

    values: Mapping[str, Any]
    place: str = ""
    """Where it stands, as in ``arms[1].optim``; empty for the whole file."""

    @classmethod
    def of_text(cls, text: bytes) -> JsonPart:
        """Parse a JSON object. Raises: SpecError: it is no JSON, another value, or names a setting twice."""
        try:
            return cls.of_value(json_value(text, unique=True), "")
        except JsonError as error:
            raise SpecError(f"This is {error}.") from error

    @classmethod
    def of_value(cls, value: object, place: str) -> JsonPart:
        """A value as an object. Raises: SpecError: it is not one."""
        if not isinstance(value, dict):
            raise SpecError(f"{place or 'The file'} must be an object in braces, not {shortened(value)}.")
        return cls(value, place)

    def at(self, name: str) -> str:
        """The place of a setting, as in ``arms[1].optim.learning_rate``."""
        return f"{self.place}.{shown_name(name)}" if self.place else shown_name(name)

    def part(self, name: str) -> JsonPart:
        """The object under a name; an empty one where it is left out. Raises: SpecError: it is another value."""
        return self.of_value(self.values.get(name, {}), self.at(name))

    def parts(self, name: str) -> Iterator[JsonPart]:
        """The objects of the list under a name. Raises: SpecError: there is no list, or another value in it."""
        found = self.values.get(name)
        if not isinstance(found, list):
            raise SpecError(f"{self.at(name)} must be a list in square brackets, not {shortened(found)}.")
        for number, value in enumerate(found):
            yield self.of_value(value, f"{self.at(name)}[{number}]")

    def only(self, known: Collection[str]) -> JsonPart:
        """Return the object itself. Raises: SpecError: it has a setting with another name than these."""
        for name in self.values:
            if name not in known:
                raise SpecError(f"{self.at(name)} is not a setting; known here: {', '.join(known)}.")
        return self

    def require(self, *names: str) -> None:
        """Check that these settings are there. Raises: SpecError: one is missing."""
        for name in names:
            if name not in self.values:
                raise SpecError(f"{self.at(name)} is missing.")

    def check_numbers(self, cls: type[Spec]) -> None:
        """Check that true and false stand for no number of a spec. Raises: SpecError: one does, as 1 or 0."""
        for name, field in cls.model_fields.items():
            value = self.values.get(name)
            types = set(_types(field.annotation))
            wrong = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, bool)]
            if wrong and types & {int, float} and bool not in types:
                what = "numbers" if isinstance(value, list) else "a number"
                raise SpecError(f"{self.at(name)}: {field.title or name} must be {what}, not {wrong[0]}.")

    def spec(self, cls: type[S], defaults: Mapping[str, Any] | None = None, above: JsonPart | None = None) -> S:
        """The spec that the object is.

        Args:
            cls: of the spec.
            defaults: what holds where a setting is left out; None for what the spec has.
            above: an object whose settings hold before the defaults.

        Raises:
            SpecError: a setting is unknown or out of bounds; the message begins with its place.
        """
        self.only(list(cls.model_fields)).check_numbers(cls)
        shared = {} if above is None else dict(above.values)
        try:
            return cls.of(**dict(defaults or {}) | shared | dict(self.values))
        except SpecError as error:
            first = error.place[0] if error.place else None
            is_above = above is not None and first in shared and first not in self.values
            with placed(above.place if is_above and above is not None else self.place):
                raise

    def made(self, make: Callable[..., S], **values: Any) -> S:
        """What a function makes of values. Raises: SpecError: as it does, with the place before its message."""
        with placed(self.place):
            return make(**values)


@contextmanager
def placed(place: str) -> Iterator[None]:
    """Put a place before the message of errors. Raises: SpecError."""
    try:
        yield
    except LabError as error:
        names = error.place if isinstance(error, SpecError) else ()
        where = place
        for name in names:
            where += f"[{name}]" if isinstance(name, int) else f".{shown_name(name)}" if where else shown_name(name)
        raise SpecError(f"{where}: {error}" if where else str(error)) from error


def json_text(value: Any, room: int = WIDTH, depth: int = 0) -> str:
    """A value as JSON with one setting per line, but for objects and lists that are short enough for one line.

    Args:
        value: what :mod:`json` can write.
        room: characters that are left in the line.
        depth: of the value in the whole.
    """
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (depth and len(line) <= room) or _is_numbers(value):
        return line
    pad = " " * INDENT * (depth + 1)
    names = [f"{json.dumps(name, ensure_ascii=False)}: " for name in value] if isinstance(value, dict) else None
    inner = list(value.values()) if isinstance(value, dict) else value
    heads = names or [""] * len(inner)
    rows = [
        pad + head + json_text(each, WIDTH - len(pad) - len(head) - 1, depth + 1)
        for head, each in zip(heads, inner, strict=True)
    ]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([first, ",\n".join(rows), " " * INDENT * depth + last])


def _types(annotation: Any) -> Iterator[Any]:
    """The types that a type is made of."""
    yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)


def _is_numbers(value: dict[str, Any] | list[Any]) -> bool:
    return isinstance(value, list) and all(isinstance(each, int | float) for each in value)
