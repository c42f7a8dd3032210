"""What a page and ``/healthz`` say while the store cannot be written and afterwards; run by ``test_full_disk_page``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from core.lab import Lab, close_lab, open_lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.web.downloads import routes
from tests.conftest import DIGITS, short, wait_until
from tests.pages.test_pages import draw
from tests.soak.small_disk import Disk, Limit, empty_log
from tests.web.asking import ask


def said(lab: Lab, id: str) -> dict[str, Any]:
    """What is said now: by the first page, the page of runs, ``/healthz``, and of a run."""
    status, body, _ = ask(Starlette(routes=routes(str)), "/healthz")
    run = lab.store.run(id)
    return {
        **{page: [error.value for error in draw(page).error] for page in ("home", "runs")},
        "health": [status, json.loads(body)],
        "run": [run.state, run.cause],
    }


def main(home: Path, kind: str) -> dict[str, Any]:
    """Args: home: an empty folder, on the small disk if there is one; kind: ``disk`` or ``limit``."""
    disk = Disk(home) if kind == "disk" else Limit()
    # Without checkpoints: the part of one that does not fit is removed, and then there is room again.
    lab = open_lab(Settings(home=home / "lab", threads=1, checkpoint_seconds=3600))
    id = lab.launcher.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001, epochs=500))).id
    wait_until(lambda: lab.store.run(id).step > 0)
    found = {"before": said(lab, id)}
    empty_log(lab)
    disk.fill(0)
    wait_until(lambda: lab.workers.writes.waiting != ())  # the run has broken off
    found["during"] = said(lab, id)
    disk.free()
    wait_until(lambda: lab.store.run(id).state == "interrupted")
    wait_until(lambda: lab.usage.obstacle() is None)
    found["after"] = said(lab, id)
    close_lab()
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
