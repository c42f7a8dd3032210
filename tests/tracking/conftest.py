"""A home folder with a finished experiment, and an MLflow with tables and nothing in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.lab import Lab
from core.settings import Settings
from core.store.record import Experiment
from tests.conftest import BOTH, compared, finish, short, wait_until
from tests.tracking.readers import Curves, in_mlflow, in_tensorboard, mlflow_client, single


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Experiment]:
    """A home folder with a finished experiment, trained once."""
    home = tmp_path_factory.mktemp("tracked") / "home"
    lab = Lab(Settings(home=home))
    lab.start()
    arms = [(optim.but(epochs=3), method) for optim, method in BOTH]
    experiment = compared(lab, "rotation-45", "digits", None, short(rate=0.001), arms, range(2))
    finish(lab, experiment.base, *experiment.runs)
    wait_until(lambda: not lab.live())
    lab.close()
    return home, experiment


@pytest.fixture
def home(trained: tuple[Path, Experiment], tmp_path: Path) -> Path:
    """A copy of that home folder."""
    return Path(shutil.copytree(trained[0], tmp_path / "home"))


@pytest.fixture
def experiment(trained: tuple[Path, Experiment]) -> Experiment:
    """The experiment in it."""
    return trained[1]


@pytest.fixture
def idle(home: Path) -> Iterator[Lab]:
    """A lab on it that trains nothing."""
    lab = Lab(Settings(home=home))
    yield lab
    lab.store.close()


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SQLite file of an MLflow with nothing in it: making its tables takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow_client(path).search_experiments()
    return path


@pytest.fixture
def mlflow_file(tables: Path, tmp_path: Path) -> Path:
    """A copy of that file."""
    folder = tmp_path / "mlflow"
    folder.mkdir()
    return Path(shutil.copyfile(tables, folder / "mlflow.db"))


@dataclass(frozen=True)
class Place:
    """A tracker, and how its own reader reads it."""

    target: str
    read: Callable[[], Curves]
    kept: Callable[[Curves], Curves]
    """Numbers as the tracker keeps them."""


@pytest.fixture(params=["tensorboard", "mlflow"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "tensorboard":
        return Place(f"tensorboard:{tmp_path / 'logs'}", lambda: in_tensorboard(tmp_path / "logs"), single)
    file = request.getfixturevalue("mlflow_file")
    return Place(f"mlflow:sqlite:///{file}", lambda: in_mlflow(file), lambda curves: curves)
