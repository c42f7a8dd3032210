"""No press on a link is lost, neither on one to a file nor on one to a page, whatever redraws the page meanwhile."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from core.artifacts.exports import FORMATS
from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.methods.full import FullSpec
from core.settings import Settings
from core.store.record import Experiment
from pages.shared.ui.links import ENTRIES, placed
from tests.browser.conftest import LAB_APP, Serve, downloaded, module_of, settled
from tests.conftest import TURNED, short, wait_until
from tests.launching import fine_tune
from tests.soak.sizes import FULL, full_or_short, keep
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.browser

FILES = full_or_short(50, 1)
"""Presses on each link to a file."""

PAGES = full_or_short(50, 1)
"""Presses on each link to a page."""

TARGETS = full_or_short(len(ENTRIES), 3)
"""Pages to which links are pressed."""

TO_FILES, TO_PAGES = "a[data-testid^=stBaseLinkButton]:visible", "[data-testid=stPageLink] a:visible"
"""Streamlit draws a link that has a tooltip twice, once for small screens."""

PHASES = (0.0, 0.3, 0.9, 1.7)
"""Seconds from the moment a link is there to the press: while the script runs, and at other moments between ticks."""

REDRAWN = """
import time
import streamlit as st
from pages.shared.ui.download import download

@st.fragment(run_every=0.3)
def tick():
    if st.session_state.get("drawn") != (now := int(3 * time.time())):
        st.session_state.drawn = now
        st.rerun()

def made():
    time.sleep(0.4)  # longer than a page stands
    return b"made"

tick()
download("At once", lambda: b"at once", "at-once.txt", "text/plain", "at-once")
download("Slowly", made, "slowly.txt", "text/plain", "slowly")
"""
"""A page that draws itself again three times per second: what a button of Streamlit promised is forgotten by then."""


@dataclass(frozen=True)
class Site:
    """A server with a comparison, and with a run that trains throughout."""

    url: str
    lab: Lab
    """The same home beside the server."""
    done: Experiment
    live: str
    adapter: Path
    pressed: set[str] = field(default_factory=set)
    """Pages to which a link was pressed."""

    def visits(self, title: str) -> list[tuple[str, Callable[[Page], None]]]:
        """Addresses of a place, and what is to be done there before all links are there."""
        shown = f"experiment={self.done.id}"
        if title == "Home":
            return [(f"/?{shown}", _nothing)]
        if title == "Use it":
            return [(f"/adapters?{shown}", _nothing), *full_or_short([("/files", self._upload)], [])]
        views = full_or_short(("Accuracy", "Rates", "Curves", "Forgetting", "Cost", "Examples", "Runs"), ("Runs",))
        both = ",".join([*self.done.runs, self.live])  # with a panel that a timer redraws
        return [
            *((f"/experiment?{shown}&view={view}", _nothing) for view in views),
            *full_or_short([(f"/experiment?runs={both}&view=Runs", _nothing)], []),
        ]

    def _upload(self, page: Page) -> None:
        page.locator("input[type=file]").set_input_files(self.adapter)
        expect(page.get_by_role("link", name="Merged network")).to_be_visible()


def _nothing(page: Page) -> None:
    """All links are there."""


@pytest.fixture(scope="module")
def site(serve: Serve, trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = trained_home.copy(tmp_path_factory.mktemp("home") / "home")
    lab = Lab(Settings(home=home))
    done = trained_home.plain
    adapters = [run for run in lab.store.members(done) if run.spec.role == "adapter"]
    for name in full_or_short((*FORMATS,), ("peft", "safetensors")):
        if FORMATS[name].fits(adapters[0]):
            lab.exports.make(adapters[0], FORMATS[name])
    (home / "slow").touch()
    url = serve(LAB_APP, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home)})
    endless = [(short(epochs=40, rate=0.001, batch_size=1), FullSpec())]
    (live,) = fine_tune(lab, lab.store.run(done.base), TURNED, endless, [9], "Trains throughout").runs
    wait_until(lambda: lab.store.run(live).step > 0)
    yield Site(url, lab, done, live, lab.artifacts.path(adapters[0].id, ADAPTER))
    lab.store.close()


def opened(page: Page, address: str, prepare: Callable[[Page], None]) -> Locator:
    """Open a page and return its main part once all links are there."""
    page.goto(address)
    main = page.get_by_test_id("stMain")
    expect(main.get_by_role("heading", level=1)).to_be_visible()
    prepare(page)
    expect(main.locator(TO_FILES).first).to_be_visible()
    settled(page)
    return main


def key_of(link: Locator) -> str:
    """Which file a link is to: several are called alike, and the end of the address says which one it is."""
    return str(link.get_attribute("href")).rpartition("/")[2]


def target_of(link: Locator) -> str:
    """Which page a link is to."""
    return urlsplit(link.get_attribute("href") or "").path.strip("/")


@pytest.mark.timeout(1800 if FULL else 900)
@pytest.mark.parametrize("title", ["Home", "Experiment", "Use it"])
def test_no_press_on_a_link_is_lost_while_a_run_trains(
    page: Page, site: Site, tmp_path: Path, console_errors: list[str], title: str
) -> None:
    """In the whole suite, a link to each of three pages is pressed; in ``make soak``, every link."""
    files, pages = Counter[str](), Counter[str]()
    slowest = 0.0
    for address, prepare in site.visits(title):
        main = opened(page, site.url + address, prepare)
        while due := {key: link for link in main.locator(TO_FILES).all() if files[key := key_of(link)] < FILES}:
            for key, link in due.items():
                files[key] += 1
                page.wait_for_timeout(250 * PHASES[files.total() % len(PHASES)])
                downloaded(link).save_as(tmp_path / "file")
                assert (tmp_path / "file").stat().st_size > 0, f"{address} {key}"
        links = main.locator(TO_PAGES)
        for name, target in [(link.inner_text().split("\n")[-1], target_of(link)) for link in links.all()]:
            while pages[name] < PAGES and (FULL or (target not in site.pressed and len(site.pressed) < TARGETS)):
                page.goto(site.url + address)
                link = links.filter(has_text=name).first
                expect(link).to_be_visible()
                page.wait_for_timeout(1000 * PHASES[pages.total() % len(PHASES)])
                pages[name] += 1
                site.pressed.add(target)
                begun = time.monotonic()
                link.click()
                page_name = placed(target, {})[0] if target else ""
                shown = ENTRIES[page_name].title if target else "Full fine-tuning or LoRA?"
                begins = re.compile(f"^({re.escape(shown)}|{re.escape(site.done.name)})")
                expect(page.get_by_test_id("stMain").get_by_role("heading", level=1, name=begins)).to_be_visible()
                assert urlsplit(page.url).path == f"/{page_name}"
                slowest = max(slowest, time.monotonic() - begun)
    assert site.lab.store.run(site.live).state == "running"
    assert set(files.values()) == {FILES}
    keep(f"links to files, {title}", links=len(files), presses=files.total(), lost=0)
    if pages:  # Adapters has none
        figures = {"links": len(pages), "presses": pages.total(), "lost": 0, "slowest_seconds": round(slowest, 2)}
        keep(f"links to pages, {title}", **figures)
    assert console_errors == []


def query(page: Page) -> dict[str, list[str]]:
    """What the address of a page says, by the name of the parameter."""
    return parse_qs(urlsplit(page.url).query)


def test_one_press_of_back_undoes_one_press(page: Page, site: Site, console_errors: list[str]) -> None:
    """Pages write what they show into their address, one part after another: nobody goes back through these."""
    page.goto(f"{site.url}/experiment?experiment={site.done.id}")
    page.wait_for_function("window.loraLabBack")
    settled(page)
    for title in ("Library", "Experiments"):
        page.get_by_test_id("stSidebarNavLink").filter(has_text=re.compile(f"{title}$")).click()
        expect(page.get_by_test_id("stMain").get_by_role("heading", level=1, name=title, exact=True)).to_be_visible()
        settled(page)
    page.get_by_test_id("stSidebar").get_by_role("link", name=site.done.name).click()
    settled(page)
    page.get_by_role("tab", name="Weights").click()
    page.wait_for_url(lambda url: {"experiment", "view", "run", "layer"} <= parse_qs(urlsplit(url).query).keys())
    settled(page)
    before = query(page)
    layer = page.get_by_role("combobox", name="Layer")
    layer.evaluate("element => element.scrollIntoView({block: 'center'})")  # a list that makes the page scroll closes
    layer.click()
    page.get_by_role("option", name="layers.2").click()
    page.wait_for_url(lambda url: "layer=layers.2" in url)
    settled(page)
    page.go_back()
    expect(page.get_by_role("combobox", name="Layer")).to_have_value(re.compile(before["layer"][0]))
    assert query(page) == before
    page.go_back()  # to the first tab
    for title in ("Experiments", "Library", site.done.name):
        page.go_back()
        expect(page.get_by_test_id("stMain").get_by_role("heading", level=1, name=title, exact=True)).to_be_visible()
    assert console_errors == []


@pytest.mark.minutes  # what draws itself again between the two halves of a click loses it, on a busy machine
def test_no_press_is_lost_on_a_page_that_draws_itself_again_all_the_time(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    page.goto(serve(module_of(tmp_path, REDRAWN)))
    for _ in range(50):
        for name, content in (("At once", b"at once"), ("Slowly", b"made")):
            file = downloaded(page.get_by_role("link", name=name))
            assert file.suggested_filename == f"{name.lower().replace(' ', '-')}.txt"
            assert Path(file.path()).read_bytes() == content
