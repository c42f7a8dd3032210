"""The disk is full while a checkpoint, a result or the store is written: one sentence, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest

from tests import forked
from tests.soak.sizes import keep

pytestmark = pytest.mark.minutes

REPO = Path(__file__).resolve().parents[2]
MOUNT = 'mount -t tmpfs -o size=96m tmpfs "$0" && exec "$@"'


def small_disk() -> list[str] | None:
    """Command prefix that runs a command with a small separate file system, as root or as a user if allowed."""
    for options in (["-m"], ["-rm"]):
        command = ["unshare", *options, "sh", "-c", MOUNT]
        try:
            if subprocess.run([*command, "/mnt", "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            return None
    return None


SMALL_DISK = small_disk()
KINDS = ["disk", "limit"] if SMALL_DISK else ["limit"]
"""A limit on file sizes works everywhere, a separate file system only where one can be mounted."""

CASES = list(product(KINDS, ("texts", "language", "digits")))
"""What is full, and what is trained meanwhile."""


@pytest.mark.parametrize(("kind", "data"), CASES)
def test_a_full_disk_costs_no_finished_work_and_is_said_clearly(tmp_path: Path, kind: str, data: str) -> None:
    before = [*SMALL_DISK, str(tmp_path)] if kind == "disk" and SMALL_DISK else []
    start = time.monotonic()
    command = ["-m", "tests.soak.small_disk", str(tmp_path), kind, data]
    done = (
        subprocess.run(
            [*before, sys.executable, *command], cwd=REPO, capture_output=True, text=True, timeout=600, check=False
        )
        if before
        else forked.run(command, timeout=600)
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    full = "The disk is full" if kind == "disk" else "larger than this system allows"

    # A network that could not be imported is not there at all; once there is space, its runs end as all others do.
    if data == "texts":
        assert "could not be saved" in found["bring during"]
        assert found["bring during"].endswith("Free some space, then import it again.")
        assert found["bring left"] == []
        assert found["bring known"] == 0

    # The previous checkpoint stays valid, training goes on, and checkpoints resume once there is space.
    during, after = found["checkpoint during"], found["checkpoint after"]
    assert found["checkpoint readable"]
    assert during["state"] == "running"
    (said,) = during["log"]
    assert said.startswith("A checkpoint could not be written.")
    assert full in said
    assert (after["state"], after["whole"]) == ("stopped", True)

    # A result that could not be written does not fail the run, since it can be made again.
    during, after = found["result during"], found["result after"]
    assert found["result readable"]
    assert during["state"] == "interrupted"
    assert full in during["cause"]
    assert during["cause"].endswith("then finish the run.")
    assert found["result files"] == []
    assert (after["state"], after["whole"], after["cause"]) == ("finished", True, None)

    # If the store cannot be written, the run records that as soon as it can be.
    during, after = found["store during"], found["store after"]
    assert found["store readable"]
    assert "store of runs could not be written" in during["cause"]
    assert after["step"] > after["resumed_step"] > 0
    assert (after["state"], after["whole"], after["cause"]) == ("stopped", True, None)
    assert found["next"]["state"] == "finished"
    assert found["integrity"] == "ok"
    assert found["left over"] == []
    faults = [*(["network"] if data == "texts" else []), "checkpoint", "result", "store"]
    keep(f"full disk ({kind}, {data})", faults=faults, seconds=round(time.monotonic() - start))
