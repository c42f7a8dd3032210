"""The lab that pages use, and a base in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.lab import Lab, close_lab, open_lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Run
from tests.conftest import DIGITS, finish, short
from tests.trained_home import TrainedHome


@pytest.fixture
def opened(settings: Settings) -> Iterator[Lab]:
    """Open the process-wide lab, which pages find."""
    yield open_lab(settings)
    close_lab()


@pytest.fixture
def filled(trained_home: TrainedHome, settings: Settings) -> Iterator[Lab]:
    """Open the process-wide lab on a home folder with a finished experiment."""
    trained_home.copy(settings.home)
    yield open_lab(settings)
    close_lab()


@pytest.fixture
def base(opened: Lab) -> Run:
    """Train a base."""
    return finish(opened, opened.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))).id)[0]
