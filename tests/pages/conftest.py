"""The lab that pages use, and a base in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.lab import Lab, close_lab, open_lab
from core.settings import Settings
from core.store.record import Run
from tests.trained_home import TrainedHome


@pytest.fixture
def opened(current_lab: Lab) -> Lab:
    """The process-wide lab, which pages find, on an empty home folder."""
    return current_lab


@pytest.fixture
def filled(trained_home: TrainedHome, opened: Lab) -> Lab:
    """The process-wide lab with the plain experiment of the trained home and its base, which tests may change."""
    trained_home.bring(opened, str(trained_home.plain.base), *trained_home.plain.runs)
    return opened


@pytest.fixture
def base(trained_home: TrainedHome, opened: Lab) -> Run:
    """A base that knows all digits, in a lab that has nothing else."""
    return trained_home.bring(opened, str(trained_home.plain.base))[0]


@pytest.fixture(scope="module")
def everything(trained_home: TrainedHome) -> Iterator[Lab]:
    """The process-wide lab with all of the trained home, for tests that leave it as it is."""
    yield open_lab(Settings(home=trained_home.home, max_waiting=40))
    close_lab()
