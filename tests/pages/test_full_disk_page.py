"""A disk that is full is said on every page and by ``/healthz``, and runs that broke off say so once it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pages.shared.ui.literal import literal
from tests import forked
from tests.conftest import HANG
from tests.soak.test_full_disk import KINDS, SMALL_DISK


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_written_is_said_until_it_can(tmp_path: Path, kind: str) -> None:
    command = ["-m", "tests.pages.full_disk_page", str(tmp_path), kind]
    if kind == "disk" and SMALL_DISK:
        before = [*SMALL_DISK, str(tmp_path), sys.executable, *command]
        done = subprocess.run(before, cwd=forked.REPO, capture_output=True, text=True, timeout=HANG, check=False)
    else:
        done = forked.run(command, timeout=HANG)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    fine = {"ok": True, "live_runs": 1}
    assert found["before"] == {"home": [], "runs": [], "health": [200, fine], "run": ["running", None]}

    during = found["during"]
    status, health = during["health"]
    assert (status, health["ok"]) == (503, False)
    assert ("the disk is full: free some space" if kind == "disk" else "check the disk") in health["error"]
    assert "may have broken off" in health["error"]
    assert during["home"] == during["runs"] == [literal(health["error"])]

    after = found["after"]
    assert (after["home"], after["runs"], after["health"]) == ([], [], [200, fine | {"live_runs": 0}])
    state, cause = after["run"]
    assert state == "interrupted"
    assert "could not be written" in cause
