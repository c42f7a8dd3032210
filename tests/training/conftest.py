"""Digits, on which networks are trained here."""

from __future__ import annotations

import pytest

from core.data.sources.catalog import Catalog
from core.data.task import Task
from core.settings import Settings
from core.tasks.tasks import Tasks
from tests.conftest import DIGITS


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    return Tasks(Catalog(Settings(tmp_path_factory.mktemp("home"))))


@pytest.fixture(scope="module")
def task(tasks: Tasks) -> Task:
    return tasks.get(DIGITS)
