"""All sources of datasets, in the order in which their datasets are shown."""

from __future__ import annotations

from collections.abc import Callable

from core.data.sources.definitions import Definitions
from core.data.sources.digits import Digits
from core.data.sources.mnist_16k import Mnist16k
from core.data.sources.own_kinds import OwnImages, OwnPassages, OwnTexts
from core.data.sources.published import Published
from core.data.sources.source import Source
from core.settings import Settings

SourceFactory = Callable[[Settings], Source]
"""Makes a source; usually its class."""

SOURCES: list[SourceFactory] = [
    Digits,
    Mnist16k,
    Published,
    Definitions,
    OwnImages,
    OwnTexts,
    OwnPassages,
]
"""One line per source. A catalog asks those that are listed when it is made."""
