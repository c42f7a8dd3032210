"""Copies of the homes, one for each module of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.same_numbers.homes import copy_of


@pytest.fixture(scope="module")
def copied_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a home, and a copy of it that the tests of a module share."""
    return request.param, copy_of(request.param, tmp_path_factory.mktemp(request.param))
