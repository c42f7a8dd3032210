"""A network is brought by its name in a real browser: progress, stop, going on, the card, and what is wrong."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import REPO, Serve, new_context
from tests.conftest import HANG
from tests.networks.library.hub_server import HubServer
from tests.networks.tiny import save_tiny

pytestmark = pytest.mark.browser


def test_a_network_is_stopped_on_its_way_goes_on_and_is_listed(serve: Serve, chromium: Browser, tmp_path: Path) -> None:
    hub = HubServer(save_tiny(tmp_path / "tiny"))
    hub.hold = threading.Event()
    home = tmp_path / "home"
    url = serve(REPO / "app.py", {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home), "HF_ENDPOINT": hub.address})
    context = new_context(chromium)
    context.set_default_timeout(1000 * HANG)
    page = context.new_page()
    page.goto(f"{url}/networks")
    page.get_by_role("textbox", name="Name at Hugging Face").fill("org/tiny")
    page.get_by_role("button", name="Download", exact=True).click()
    expect(page.get_by_text("Bringing org/tiny")).to_be_visible(timeout=1000 * HANG)
    assert hub.waiting.wait(HANG)
    page.get_by_test_id("stMain").get_by_role("button", name="Stop", exact=True).click()
    hub.hold.set()
    expect(page.get_by_text("org/tiny was stopped.")).to_be_visible(timeout=1000 * HANG)
    hub.hold = None
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("linear layers: 8 in attention")).to_be_visible(timeout=1000 * HANG)
    expect(page.get_by_text("org/tiny", exact=True)).to_be_visible()
    page.get_by_role("textbox", name="Name at Hugging Face").fill("org/nothing")
    page.get_by_role("button", name="Download", exact=True).click()
    expect(page.get_by_text("There is no network org/nothing")).to_be_visible(timeout=1000 * HANG)
    context.close()
    hub.shutdown()
    hub.server_close()
