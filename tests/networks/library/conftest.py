"""An empty library, and a small network that can be imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.networks.library.networks import Networks
from core.settings import Settings
from tests.networks.tiny import save_tiny


@pytest.fixture
def networks(settings: Settings) -> Networks:
    return Networks(settings)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, which is only read."""
    return save_tiny(tmp_path_factory.mktemp("sound") / "tiny")
