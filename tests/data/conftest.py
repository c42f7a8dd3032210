"""A catalog of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data.sources.catalog import Catalog
from core.settings import Settings


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(Settings(tmp_path))
