"""The lab that pages use, and a base in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.lab import Lab, close_lab, open_lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Run
from tests.conftest import BOTH, DIGITS, compared, copied, finish, short, wait_until


@pytest.fixture
def opened(settings: Settings) -> Iterator[Lab]:
    """Open the process-wide lab, which pages find."""
    yield open_lab(settings)
    close_lab()


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a finished experiment, trained once for all tests that begin with a copy of it."""
    home = tmp_path_factory.mktemp("filled") / "home"
    lab = Lab(Settings(home=home))
    lab.start()
    experiment = compared(lab, "rotation-45", "digits", None, short(rate=0.001), BOTH, seeds=range(2))
    finish(lab, experiment.base, *experiment.runs)
    wait_until(lambda: all(copied(lab, run.id) for run in lab.runs()))
    lab.close()
    return home


@pytest.fixture
def filled(filled_home: Path, settings: Settings) -> Iterator[Lab]:
    """Open the process-wide lab on a home folder with a finished experiment."""
    shutil.copytree(filled_home, settings.home)
    yield open_lab(settings)
    close_lab()


@pytest.fixture
def base(opened: Lab) -> Run:
    """Train a base."""
    return finish(opened, opened.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))).id)[0]
