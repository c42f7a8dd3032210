"""All views, by the kind of data that they are for."""

from __future__ import annotations

from core.errors import DatasetError
from core.tasks.views.image import ImageView
from core.tasks.views.language import LanguageView
from core.tasks.views.text import TextView
from core.tasks.views.view import View

VIEWS: list[View] = [
    ImageView(),
    TextView(),
    LanguageView(),
]
"""One line per view."""


def view_of(kind: str) -> View:
    """The view that makes tasks of datasets of a kind. Raises: DatasetError: there is none."""
    for view in VIEWS:
        if view.kind == kind:
            return view
    kinds = ", ".join(view.kind for view in VIEWS)
    raise DatasetError(f"There is no way to learn from data of kind {kind!r}; choose a dataset of: {kinds}.")
