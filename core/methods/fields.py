"""The fields of adapter methods as forms and the command line ask for them: what several methods share, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.methods.method import MethodSpec
from core.spec import Bounds, bounds


@dataclass(frozen=True)
class OwnField:
    """A field that one or several methods have alike."""

    name: str
    """In each method."""
    key: str
    """Name in options and widgets: with the kind before it where another method has another field of that name."""
    methods: tuple[type[MethodSpec], ...]
    """At least one."""

    @property
    def about(self) -> Bounds:
        """Title, description, default and limits."""
        return bounds(self.methods[0], self.name)

    @property
    def is_size(self) -> bool:
        """Whether it is the size of its methods, of which several values are tried."""
        return self.methods[0].size_field == self.name


def own_fields(methods: Iterable[type[MethodSpec]]) -> list[OwnField]:
    """The fields of some methods, in the order of the methods and of their fields."""
    found: dict[tuple[str, Bounds, bool], list[type[MethodSpec]]] = {}
    for method in methods:
        for name in method.own_fields():
            found.setdefault((name, bounds(method, name), method.size_field == name), []).append(method)
    taken: set[str] = set()
    fields = []
    for (name, _, _), kinds in found.items():
        key = f"{kinds[0].name()}-{name}" if name in taken else name
        taken.add(name)
        fields.append(OwnField(name, key, tuple(kinds)))
    return fields


def with_values(
    method: type[MethodSpec], fields: Iterable[OwnField], values: Mapping[str, Any], targets: Iterable[str]
) -> list[MethodSpec]:
    """A method with chosen settings: once for each value of its size, if it has one.

    Args:
        method: an adapter method.
        fields: of this and other methods.
        values: by :attr:`OwnField.key`, those of a size as a sequence; a field that is left out has its default.
        targets: names of the layers.

    Raises:
        SpecError: a value is out of bounds.
    """
    own = {field.name: values[field.key] for field in fields if method in field.methods and field.key in values}
    sizes = own.pop(method.size_field, [method.of().size]) if method.size_field else [None]
    return [method.of(**own).on(targets).of_size(size) for size in sizes]
