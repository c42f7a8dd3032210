"""A store with nothing in it yet, and what people write about its runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.store.notes import RunNotes
from core.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "lab.sqlite3")


@pytest.fixture
def notes(store: Store, tmp_path: Path) -> RunNotes:
    return RunNotes(store, tmp_path)
