"""Networks that arrive in the background: none is dropped since another one with the same name is on its way."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from core.networks.library.arrivals import Arrivals
from core.networks.library.card import NetworkCard
from core.networks.library.networks import Networks
from tests.conftest import HANG, wait_until
from tests.networks.tiny import save_tiny


def test_two_zips_of_one_name_at_once_both_arrive(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [save_tiny(tmp_path / f"{seed}", seed=seed) for seed in range(2)]
    zips = [Path(shutil.make_archive(str(folder), "zip", folder)).read_bytes() for folder in folders]
    told, import_zip = threading.Event(), networks.import_zip

    def wait(*values: Any) -> NetworkCard:
        assert told.wait(HANG)
        return import_zip(*values)

    monkeypatch.setattr(networks, "import_zip", wait)
    arrivals = Arrivals(networks)
    for content in (*zips, zips[1]):
        arrivals.import_zip(content, "tiny.zip")
    names = [state.name for state in arrivals.states()]
    assert names[0] == "tiny.zip"
    assert [name.startswith("tiny.zip (") for name in names] == [False, True]
    told.set()
    wait_until(lambda: not any(state.running for state in arrivals.states()))
    assert [state.error for state in arrivals.states()] == [None, None]
    assert [card.name for card in networks.list()] == ["tiny", "tiny"]
    arrivals.import_zip(zips[1], "tiny.zip")
    wait_until(lambda: not any(state.running for state in arrivals.states()))
    assert [state.name for state in arrivals.states()] == names
