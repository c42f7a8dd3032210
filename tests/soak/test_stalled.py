"""Idle pages, and stalled connections without the token: clients with it get in, and training goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

import pytest

from core.lab import Lab
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.checkpoints import PREFIX
from tests.conftest import DIGITS, HANG, finish, short, wait_until
from tests.soak.sizes import keep
from tests.soak.stalling import Stalling
from tests.web.clients import drawn_page, stream
from tests.web.conftest import Visitor, start

pytestmark = pytest.mark.minutes

IDLE, STALLED = 200, 300
"""Websockets of pages, and stalled connections: more than the descriptors of a process that does not ask for more."""
DESCRIPTORS = 256
"""What macOS gives a process that does not ask."""
SECONDS = 90.0
BATCH = 1
"""Small, so that it trains for longer than a checkpoint takes to come."""
MAX_WAIT = 2.0
"""Seconds for a page: what is promised where this is measured, and no more than a hang elsewhere."""

PAGE_SECONDS = 4.0
"""Interval between two new pages: Streamlit keeps the descriptors of a page for two minutes after it is closed."""

MAX_LINES = 100


def timed(job: Callable[[], object]) -> float:
    start = time.monotonic()
    job()
    return time.monotonic() - start


def seconds_to_draw(visitor: Visitor) -> float:
    start = time.monotonic()
    with drawn_page(visitor):
        return time.monotonic() - start


@pytest.mark.timeout(900)
def test_stalled_connections_keep_nobody_with_the_token_out(tmp_path: Path) -> None:
    lab = Lab(Settings(tmp_path / "home"))  # not started, so that the server trains what it queues
    task = RunSpec.of(
        method="pretrain",
        network=PerceptronSpec.of(num_classes=10),
        task=DIGITS,
        optim=short(epochs=200, batch_size=BATCH),
    )
    run = lab.launcher.launch(task)
    started = start(tmp_path, "--server.address", "0.0.0.0", soft_descriptors=DESCRIPTORS)
    with closing(lab.store), started as server, ExitStack() as idle:
        visitor = server.entered()
        checkpoints: set[str] = set()
        pages: list[float] = []
        sockets: list[float] = []
        stay = [idle.enter_context(stream(visitor)) for _ in range(IDLE)]
        with Stalling(server.port, STALLED) as stalling:
            wait_until(lambda: sum(stalling.opened.values()) >= STALLED)
            lines = len(server.printed().splitlines())
            page_at = time.monotonic()
            end = page_at + SECONDS
            while time.monotonic() < end or (not checkpoints and lab.store.run(run.id).is_live):
                pages.append(timed(lambda: visitor.ask("GET", "/runs")))
                pages.append(timed(lambda: visitor.ask("GET", "/healthz")))
                if time.monotonic() >= page_at:
                    page_at += PAGE_SECONDS
                    sockets.append(seconds_to_draw(visitor))
                checkpoints |= {path.name for path in (tmp_path / "home" / "runs" / run.id).glob(f"{PREFIX}*")}
                time.sleep(0.2)
            assert all(one.ping().wait(HANG) for one in stay), "a websocket that was open before them is gone"
            written = len(server.printed().splitlines()) - lines
        lab.stop(run.id)
        (ended,) = finish(lab, run.id)
        keep(
            "stalled connections",
            idle_websockets=IDLE,
            stalled=STALLED,
            opened=sum(stalling.opened.values()),
            most_open_for_the_client=stalling.most_open,
            pages=len(pages),
            page_median_ms=round(1000 * median(pages)),
            page_slowest_ms=round(1000 * max(pages)),
            websocket_median_ms=round(1000 * median(sockets)),
            websocket_slowest_ms=round(1000 * max(sockets)),
            log_lines=written,
            checkpoints=len(checkpoints),
            run=ended.state,
        )
        assert ended.state in ("finished", "stopped"), ended.cause
        assert ended.result is not None
        assert checkpoints
        assert not [text for _, text in lab.store.log(run.id) if "checkpoint could not" in text]
        assert max(pages) < MAX_WAIT
        assert max(sockets) < MAX_WAIT
        assert written < MAX_LINES, server.printed()[-3000:]
        assert "Traceback" not in server.printed()
