"""Entries that a registry has only while a test runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def with_entry(registry: list[T], entry: T) -> Iterator[T]:
    """Add an entry to a registry, and take it out again at the end."""
    registry.append(entry)
    try:
        yield entry
    finally:
        registry.remove(entry)
