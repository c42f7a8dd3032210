"""An empty library."""

from __future__ import annotations

import pytest

from core.networks.library.networks import Networks
from core.settings import Settings


@pytest.fixture
def networks(settings: Settings) -> Networks:
    return Networks(settings)
