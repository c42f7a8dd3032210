"""Networks that arrive in the background: none is dropped since another one with the same name is on its way."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.networks.library.arrivals import Arrivals
from core.networks.library.card import NetworkCard
from core.networks.library.networks import Networks
from core.settings import Settings
from tests.conftest import HANG, wait_until
from tests.networks.tiny import save_tiny


class Waiting(Networks):
    """A library that begins with a zip when it is told to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.told = threading.Event()

    def import_zip(
        self,
        content: bytes,
        file: str,
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
        name: str = "",
    ) -> NetworkCard:
        assert self.told.wait(HANG)
        return super().import_zip(content, file, progress, stop, name)


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Two networks."""
    folder = tmp_path_factory.mktemp("zips")
    made = [save_tiny(folder / f"{seed}", seed=seed) for seed in range(2)]
    return [Path(shutil.make_archive(str(path), "zip", path)).read_bytes() for path in made]


def test_two_zips_of_one_name_at_once_both_arrive_and_one_zip_twice_arrives_once(
    settings: Settings, zips: list[bytes]
) -> None:
    networks = Waiting(settings)
    arrivals = Arrivals(networks)
    for content in (zips[0], zips[1], zips[0], zips[1]):
        arrivals.import_zip(content, "tiny.zip")
    names = [state.name for state in arrivals.states()]
    assert names[0] == "tiny.zip"
    assert [name.startswith("tiny.zip (") for name in names] == [False, True]
    networks.told.set()
    wait_until(lambda: not any(state.running for state in arrivals.states()))
    assert [state.error for state in arrivals.states()] == [None, None]
    assert [card.name for card in networks.list()] == ["tiny", "tiny"]
    arrivals.import_zip(zips[1], "tiny.zip")
    wait_until(lambda: not any(state.running for state in arrivals.states()))
    assert [state.name for state in arrivals.states()] == names
