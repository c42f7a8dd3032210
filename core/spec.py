"""Settings as specs: frozen, validated, and written as JSON with a version.

Title, description and bounds of each field are defined here once; forms, the command line and errors use them. The
spec of a run is in :mod:`core.run_spec`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from core.errors import SpecError

SCHEMA = 2
"""Version of the JSON format of specs."""

MAX_CHARACTERS = 262_144
"""Maximum length of a spec in JSON, three times that of the longest spec that the bounds of its fields allow."""

Device = Literal["auto", "cuda", "mps", "cpu"]

DEVICES: tuple[Device, ...] = get_args(Device)

K = TypeVar("K", bound="KindSpec")


class Spec(BaseModel):
    """Base class of all specs: frozen, without unknown fields, NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def of(cls, /, **values: Any) -> Self:
        """Create a spec. Raises: SpecError: a value is invalid; the message is one sentence."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise SpecError(_sentence(cls, error), error.errors()[0]["loc"]) from error

    def but(self, /, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated like a new spec. Raises: SpecError: a value is invalid."""
        return type(self).of(**{name: getattr(self, name) for name in type(self).model_fields} | changes)

    def to_json(self) -> str:
        """Serialize to JSON with sorted keys and the schema version."""
        return json.dumps({"schema": SCHEMA, **self.model_dump(mode="json")}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of :meth:`to_json`.

        Raises:
            SpecError: too long, not JSON, of another schema version, or invalid.
        """
        if len(text) > MAX_CHARACTERS:
            raise SpecError(f"This spec has {len(text):,} characters; a spec has at most {MAX_CHARACTERS:,}.")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError("This is not a spec: it is not valid JSON.") from error
        schema = values.pop("schema", None) if isinstance(values, dict) else None
        if schema != SCHEMA:
            raise SpecError(f"This spec was not written with schema version {SCHEMA}.")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpecError(_sentence(cls, error)) from error


class KindSpec(Spec):
    """A spec whose class is found by its ``kind``, such as the settings of a method."""

    kind: str = Field(title="Kind")

    @classmethod
    def name(cls) -> str:
        """The kind of this class."""
        return str(cls.model_fields["kind"].default)


def class_of(kind: str, classes: Sequence[type[K]], what: str) -> type[K]:
    """The class of a kind.

    Args:
        kind: its name.
        classes: the registered kinds.
        what: what they are, for the message.

    Raises:
        SpecError: there is no such kind.
    """
    known = {cls.name(): cls for cls in classes}
    if kind not in known:
        raise SpecError(f"There is no {what} {shortened(kind)}; choose one of: {', '.join(known)}.")
    return known[kind]


def by_kind(value: Any, info: ValidationInfo, base: type[K], classes: Sequence[type[K]]) -> K:
    """What a value stands for: a spec itself, the name of a kind with its default settings, or a kind with settings.

    Args:
        value: of a field that is being validated.
        info: of the validation.
        base: class of all kinds.
        classes: the registered kinds.

    Raises:
        ValueError: no such kind, or its settings are invalid; the message is one sentence.
    """
    if isinstance(value, base):
        return value
    fields = {"kind": value} if isinstance(value, str) else value
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if not isinstance(kind, str):
        name = str(info.field_name).capitalize()
        raise ValueError(f"{name} must be a kind with its settings, not {shortened(value)}.")
    cls = class_of(kind, classes, str(info.field_name))
    try:
        return cls.model_validate(fields)
    except ValidationError as error:
        raise ValueError(_sentence(cls, error)) from error


@dataclass(frozen=True)
class Bounds:
    """Metadata of a field, for forms and the command line."""

    title: str
    description: str
    default: Any
    low: float | None
    high: float | None


def bounds(spec: type[Spec], field: str) -> Bounds:
    """Title, description, default and limits of a field.

    Exclusive limits are returned as they are; a form must exclude them itself.
    """
    info = spec.model_fields[field]
    low = high = None
    for rule in info.metadata:
        low = rule.ge if isinstance(rule, Ge) else rule.gt if isinstance(rule, Gt) else low
        high = rule.le if isinstance(rule, Le) else rule.lt if isinstance(rule, Lt) else high
    return Bounds(info.title or field, info.description or "", info.default, low, high)  # type: ignore[arg-type]


def _sentence(spec: type[Spec], error: ValidationError) -> str:
    """The first problem of a validation error, as one readable sentence."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    names = [str(part) for part in first["loc"]]
    title = shown_name(names[-1]) if names else spec.__name__
    owner: Any = spec
    for name in names:
        info = getattr(owner, "model_fields", {}).get(name)
        if info is not None:
            title, owner = info.title or name, _spec_in(info.annotation)
    given = first.get("input")
    context = first.get("ctx", {})
    match first["type"]:
        case "greater_than_equal":
            rule = f"must be at least {context['ge']:g}"
        case "greater_than":
            rule = f"must be more than {context['gt']:g}"
        case "less_than_equal":
            rule = f"must be at most {context['le']:g}"
        case "finite_number":
            rule = "must be a finite number"
        case "missing":
            return f"{title} is missing."
        case "extra_forbidden":
            return f"{shown_name(names[-1])} is not a setting; known here: {', '.join(owner.model_fields)}."
        case "literal_error":
            rule = f"must be {context['expected']}"
        case "too_long":
            return f"{title} takes at most {context['max_length']}: remove some."
        case "too_short":
            return f"{title} takes at least {context['min_length']}: add some."
        case "string_too_long":
            rule = f"must have at most {context['max_length']} characters"
        case "string_too_short":
            return f"{title} must not be empty."
        case "string_pattern_mismatch":
            rule = "must be a name of lower-case letters, digits and hyphens"
        case _:
            message = first["msg"]
            rule = f"is invalid: {message[0].lower()}{message[1:]}"
    return f"{title} {rule}, not {shortened(given)}."


def _spec_in(annotation: Any) -> Any:
    """The spec class in a field's type, such as ``TaskSpec | None``; the type itself if there is none."""
    options = (annotation, *get_args(annotation))
    return next((option for option in options if _is_spec(option)), annotation)


def _is_spec(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Spec)


def shortened(value: object) -> str:
    """The repr of a value, shortened for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def shown_name(name: str) -> str:
    """A setting's name for a message; quoted and shortened if it is not an identifier."""
    return name if name.isidentifier() and len(name) <= 60 else shortened(name)
