"""The sentence that a page waits because other files are being read."""

from __future__ import annotations

from contextvars import copy_context

from streamlit.delta_generator import DeltaGenerator

from core.reader import WAITS

WAITING = "Other files are being read: this page goes on as soon as there is room for its file."


def tell_of_waiting(place: DeltaGenerator) -> None:
    """Have a place of the page say when a file waits. A click interrupts the page then."""
    # In a context of its own: a cached function would keep the sentence with its result.
    context = copy_context()
    WAITS.set(lambda is_waiting: context.run(place.info if is_waiting else place.empty, *[WAITING] * is_waiting))
