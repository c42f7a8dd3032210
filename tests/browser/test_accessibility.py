"""Every page with all of it open: no violation of WCAG 2 level AA by the project, no error, and nothing too wide.

Everything that people can name has a name that looks like markup, and nothing is made of it.

In the whole suite, a page and one more of its tabs are looked at in one theme and one width, which change from page to
page; in ``make soak``, with all tabs in both, and with other choices in its address.
"""

from __future__ import annotations

import csv
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import BrowserContext, Page, TimeoutError, expect

from core.data.dataset import ImageDataset
from core.lab import Lab
from core.settings import Settings
from core.study.report.judged import keep_results
from core.wording.tasks import MAX_NAME
from pages.shared.experiment.actions import ACTIONS
from pages.shared.ui.links import ENTRIES
from tests.browser.conftest import (
    BACKGROUNDS,
    LAB_APP,
    PRESS_MILLISECONDS,
    PRESSES,
    REPO,
    Serve,
    downloaded,
    note_errors,
    open_dialog,
    settled,
)
from tests.conftest import HANG
from tests.judge.samples import csv_of, read
from tests.same_numbers.homes import copy_of
from tests.soak.sizes import FULL, full_or_short

pytestmark = pytest.mark.browser

FILTERED = "runs?run=r-b5ea1bb2&dataset=digits&tag=rank+1"
OTHERS = ["experiment?all-tried=true", "learn?learn_rank=16", "runs?run=r-b5ea1bb2,r-0f5233ef"]
PAGES = [
    "",
    *(name for name in ENTRIES if name != "home"),
    *("networks", "pretrain", "files", "adapters", "tryit", "serve", "weights"),
    FILTERED,
    *full_or_short(["runs", *OTHERS], []),
]
"""Every page, and addresses under which one draws something else; the runs are those of the home of digits."""

FAILED = "r-7a74c8a3"
"""A run of the same home."""

NAME = (
    "=1+1 :material/rocket: :rocket: :red[red] **bold** a <-> b www.example.org https://example.org a@example.org "
    "[link](https://example.org) ![image](https://example.org/x.png) <u>html</u> $x^2$ ~~gone~~"
)

MADE = """
() => {
  const told = (part) => ["href", "src", "aria-label"].map((name) => part.getAttribute(name)).join(" ");
  const whole = new Set(["bold", "gone", "html", "red", "link", "x^2"]);
  return [...document.querySelectorAll("a, img, [role=img], strong, del, u, annotation, [style*=color]")]
    .filter((part) => /example|rocket/.test(told(part)) || whole.has(part.textContent))
    .map((part) => part.outerHTML);
}
"""
"""JavaScript that returns elements that were created from the name."""

RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}

COLOR_RULES = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""Those of level AA that look at colors: no other depends on the theme."""

AT_ONCE = """
addEventListener("DOMContentLoaded", () => {
  const style = document.createElement("style");
  style.textContent = "*, ::before, ::after { transition: none !important; animation: none !important; }";
  document.head.append(style);
});
"""
"""Has everything on a page change at once instead of slowly, which nobody needs to wait for."""

COUNT_RUNS = """
addEventListener("DOMContentLoaded", () => {
  window.runs = 0;
  new MutationObserver(() => { window.runs += 1; }).observe(document.documentElement,
    { subtree: true, attributeFilter: ["data-test-script-state", "data-stale"] });
});
"""
"""Counts the beginnings and ends of runs of the page's script, during which Streamlit draws old parts faintly."""

ASKING = {"Delete": "This deletes", "Rename": "Save name"}
"""Buttons that open a dialog of their own, with what it says."""

CLOSED = '[data-testid="stExpander"] details:not([open]) > summary'
"""What opens an expander."""

PANEL, POPOVER, DIALOG = (
    '[role="tabpanel"]',
    '[data-testid="stPopoverBody"]',
    '[data-testid="stDialog"] [role="dialog"]',
)

WHOLE = "html"
"""The whole page with its expanders open."""

OPENED = f'[data-testid="stExpander"] details[open], {PANEL}, {POPOVER}, {DIALOG}'

PENDING = """
([opened, background]) => {
  const app = document.querySelector('[data-testid="stApp"]');
  const has = (where) => (part) => part.querySelector(where);
  const open = [...document.querySelectorAll(opened)], plots = [...document.querySelectorAll(".js-plotly-plot")];
  return Object.entries({
    "the script": app?.dataset.testScriptState !== "notRunning",
    "a part": document.querySelector('[data-testid="stSkeleton"], [data-stale="true"]'),
    "what was opened": !open.every(has('[data-testid="stElementContainer"]')),
    "a chart": !plots.every(has(".main-svg")),
    "the theme": !app || getComputedStyle(app).backgroundColor !== background,
    "an animation": document.getAnimations().some((animation) => animation.playState === "running"),
  }).flatMap(([what, pending]) => pending ? [what] : []);
}
"""
"""What of a page is not drawn yet, also in what was opened, in a theme, or has a color on its way to another."""

IDLE = f"(expected) => !({PENDING})(expected).length"

POLL_MILLISECONDS = 250
"""From one look at what is pending to the next: one per frame, as is usual, costs more than the page itself."""

AUDIT = """
async ([where, rules]) => {
  const found = await axe.run(where, { runOnly: rules, resultTypes: ["violations"], preload: false });
  return found.violations.flatMap((violation) => violation.nodes.map(
    (node) => ({ rule: violation.id, html: node.html.slice(0, 200), why: node.failureSummary })));
}
"""

OTHER: dict[Literal["light", "dark"], Literal["light", "dark"]] = {"light": "dark", "dark": "light"}

HEIGHT = """
() => {
  const main = document.querySelector('[data-testid="stMain"]');
  return innerHeight + main.scrollHeight - main.clientHeight;
}
"""
"""Height of a window in which nothing is scrolled out of sight; axe leaves out the contrast of what is."""

FAINT = """
(where) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = luminance(getComputedStyle(document.querySelector('[data-testid="stApp"]')).backgroundColor);
  const letters = document.querySelectorAll(`${where} .js-plotly-plot :is(text, tspan):not(:has(tspan))`);
  return [...letters].filter((text) => text.textContent.trim()).flatMap((text) => {
    const ink = luminance(getComputedStyle(text).fill);
    const contrast = (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
    return contrast < 4.5 ? [`${text.textContent}: ${contrast.toFixed(2)}`] : [];
  });
}
"""
"""Texts in charts whose contrast with the page is below 4.5:1; axe does not look at SVG."""


WIDTHS = (1440, 390)

FITS = "document.scrollingElement.scrollWidth <= innerWidth"
"""Whether a page is no wider than its window."""

COVERED = """
() => {
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const charts = [...document.querySelectorAll(".js-plotly-plot, .live-chart")].flatMap((chart) => {
    const title = chart.querySelector(".gtitle"), bar = chart.querySelector(".modebar");
    if (!title?.textContent || !bar) return [];
    const [a, b, whole] = [title, bar, chart].map((part) => part.getBoundingClientRect());
    return b.width && (meet(a, b) || a.right > whole.right) ? [title.textContent] : [];
  });
  const words = [...document.querySelectorAll('[data-testid="stMarkdownContainer"] :is(p, li, h1, h2, h3, h4)')];
  const tables = [...document.querySelectorAll('[data-testid="stDataFrame"]')].flatMap((table) => {
    const bar = table.parentElement.querySelector('[data-testid="stElementToolbar"]')?.getBoundingClientRect();
    const { top } = table.getBoundingClientRect();
    if (!bar?.width) return [];
    const shown = { left: bar.left, right: bar.right, top: top - bar.height, bottom: top };
    return words.filter((text) => text.checkVisibility()).filter((text) => {
      const range = document.createRange();
      range.selectNodeContents(text);
      return [...range.getClientRects()].some((line) => meet(line, shown));
    }).map((text) => text.textContent);
  });
  return [...charts, ...tables];
}
"""
"""Titles of charts that the chart's toolbar covers or its edge cuts, and texts that the toolbar of a table covers, once
a pointer or a finger shows it; on a touch screen that of a table is always shown."""


MENU = "stMenuButtonButton"
"""The button of the menu of an experiment's actions."""


@dataclass
class Visitor:
    """Opens pages and everything on them, and has axe and :data:`FAINT` look at it."""

    page: Page
    theme: Literal["light", "dark"] = "light"
    visited: int = 0
    """Number of pages."""
    seen: set[str] = field(default_factory=set)
    """Tabs and dialogs of each page, and popovers, which are the same on every page."""
    violations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What axe and :data:`FAINT` found, by page, what is open on it, and theme."""
    errors: list[str] = field(default_factory=list)
    """What pages logged as errors, and the exceptions that they showed."""
    too_wide: list[tuple[str, int]] = field(default_factory=list)
    """Pages that are wider than their window, and its width."""
    covered: set[str] = field(default_factory=set)
    """Pages and what :data:`COVERED` found on them."""
    made: list[str] = field(default_factory=list)
    """What was created from names."""
    named: set[str] = field(default_factory=set)
    """Addresses under which the name can be read."""

    def __post_init__(self) -> None:
        note_errors(self.page, self.errors)

    def visit(self, url: str, address: str) -> None:
        """Look at a page, in the theme that the one before it did not have; after two wide pages come two narrow ones.

        The other theme and width come second, and only at full size: changing them draws every chart again, and the
        theme runs the page's script again. Rules that look at no color are asked in the first one.
        """
        self.theme = OTHER[self.theme]
        self.page.emulate_media(color_scheme=self.theme)
        first, second = WIDTHS if FULL or self.visited // 2 % 2 == 0 else WIDTHS[::-1]
        self.visited += 1
        self.page.set_viewport_size({"width": first, "height": 900})
        self.page.goto(f"{url}/{address}")
        self._fit(address, first)
        if NAME in " ".join((self.page.get_by_test_id("stMainBlockContainer").text_content() or "").split()):
            self.named.add(address)
        for what, where in self._parts(address.partition("?")[0]):
            self.made += self.page.evaluate(MADE)
            self._note_covered(address)
            self._audit(f"/{address} {what}", where, RULES)
            if FULL:
                self._settle(OTHER[self.theme])
                self._audit(f"/{address} {what}", where, COLOR_RULES)
        if FULL:
            self._fit(address, second)
        self.errors += self.page.get_by_test_id("stException").all_inner_texts()

    def _fit(self, address: str, width: int) -> None:
        """Note whether a page does not fit into a window of this width, which its charts follow after a while."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self._settle()
        expect(self.page.get_by_test_id("stMainBlockContainer").get_by_role("heading").first).to_be_visible()
        try:
            self.page.wait_for_function(FITS, polling=POLL_MILLISECONDS)
        except TimeoutError:
            self.too_wide.append((address, width))

    def _note_covered(self, address: str) -> None:
        """Note what is covered, and still is after a while: what a press has opened may still move."""
        try:
            self.page.wait_for_function(f"() => !({COVERED.strip()})().length", polling=POLL_MILLISECONDS)
        except TimeoutError:
            self.covered |= {f"/{address} {title}" for title in self.page.evaluate(COVERED)}

    def _parts(self, path: str) -> Iterator[tuple[str, str]]:
        """Open expanders, then each tab, popover and dialog; yield what is open, and the selector of what is new."""
        self._unfold()
        yield "", WHOLE
        for tab in self.page.locator('[role="tab"][aria-selected="false"]').all_inner_texts()[: full_or_short(None, 1)]:
            if not self._is_new(f"{path} {tab}"):
                continue
            self.page.get_by_role("tab", name=tab, exact=True).click()
            expect(self.page.get_by_role("tab", name=tab, exact=True, selected=True)).to_be_visible()
            self._unfold()
            yield tab, PANEL
        for button in self.page.get_by_test_id("stPopoverButton").all():
            label = button.inner_text().splitlines()[2]  # after the name of the icon
            if not self._is_new(label):
                continue
            button.click()
            yield from self._once_open(label, POPOVER)
        if self.page.get_by_test_id(MENU).count():
            for action in [each.title for each in ACTIONS.values() if each.has_dialog]:
                yield from self._action(action)
        for name, says in ASKING.items():
            ask = self.page.get_by_role("button", name=name, exact=True)
            if ask.count() and self._is_new(f"{path} {name}"):
                open_dialog(ask.first, says)
                yield from self._once_open(name, DIALOG)

    def _action(self, title: str) -> Iterator[tuple[str, str]]:
        """Open the dialog of an experiment's action, once in all, where the menu has it."""
        self.page.get_by_test_id(MENU).first.click()
        entry = self.page.get_by_role("menuitem", name=title)
        if not entry.count() or not self._is_new(title):
            self.page.keyboard.press("Escape")
            return
        entry.click()
        for _ in range(PRESSES):  # what a page that is drawn anew at that moment loses is pressed again
            with suppress(AssertionError):
                expect(self.page.locator(DIALOG)).to_be_visible(timeout=PRESS_MILLISECONDS)
                break
            self.page.get_by_test_id(MENU).first.click()
            entry.click()
        yield from self._once_open(title, DIALOG)

    def _once_open(self, what: str, where: str) -> Iterator[tuple[str, str]]:
        """Yield what is opened, and close it."""
        expect(self.page.locator(where)).to_be_visible()
        self._settle()
        yield what, where
        self.page.keyboard.press("Escape")
        expect(self.page.locator(where)).to_have_count(0)

    def _is_new(self, name: str) -> bool:
        new = name not in self.seen
        self.seen.add(name)
        return new

    def _unfold(self) -> None:
        """Open every expander, also those in another."""
        self._settle()
        while self.page.locator(CLOSED).count():
            self.page.locator(CLOSED).evaluate_all("summaries => summaries.forEach((summary) => summary.click())")
            self._settle()

    def _settle(self, theme: Literal["light", "dark"] | None = None) -> None:
        """Wait until the page is drawn, in this theme or the one it has."""
        self.theme = theme or self.theme
        self.page.emulate_media(color_scheme=self.theme)
        expected = [OPENED, BACKGROUNDS[self.theme]]
        try:
            self.page.wait_for_function(IDLE, arg=expected, timeout=1000 * HANG, polling=POLL_MILLISECONDS)
        except TimeoutError:
            pytest.fail(f"{self.page.url} still waits for {self.page.evaluate(PENDING, expected)}; {self.errors}")

    def _audit(self, what: str, where: str, rules: dict[str, Any]) -> None:
        while (height := self.page.evaluate(HEIGHT)) > self.page.evaluate("window.innerHeight"):
            self.page.set_viewport_size({"width": self.page.evaluate("window.innerWidth"), "height": height})
            self._settle()
        for _ in range(20):
            self.page.locator(where).first.wait_for(state="attached")  # a rerun may replace what was opened
            runs = self.page.evaluate("window.runs")
            audit: list[dict[str, Any]] = self.page.evaluate(AUDIT, [where, rules])
            faint = self.page.evaluate(FAINT, where)
            is_idle = not self.page.evaluate(PENDING, [OPENED, BACKGROUNDS[self.theme]])
            if is_idle and self.page.evaluate("window.runs") == runs:
                break
            self._settle()  # the page was drawn again meanwhile, as when an expected time has become known
        audit += [{"rule": "chart-contrast", "html": text, "why": ""} for text in faint]
        self.violations[f"{what} {self.theme}"] = audit


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """An old home with a network, where everything that people can name has a name that looks like markup."""
    home = copy_of("digits_home", tmp_path_factory.mktemp("old"))
    lab = Lab(Settings(home=home))
    shutil.copytree(copy_of("minilm_home", home.parent / "texts") / "networks", home / "networks")
    for experiment in lab.store.experiments():
        lab.store.rename(experiment.id, NAME)
    for entry in lab.search.entries([run.id for run in lab.store.runs()]):
        lab.notes.set_note(entry.run.id, NAME)
        lab.notes.set_tags(entry.run.id, [*entry.tags, NAME[:40]])
    images, labels = np.zeros((20, 28, 28), np.uint8), np.arange(20) % 2
    lab.catalog.keep(ImageDataset("own", images, labels, images, labels, (NAME[:60], "**bold**")), "own")
    reported = [{"method": name, "seed": 0, "accuracy": 50.0} for name in ("full", NAME[:100], "**bold**")]
    judged = keep_results(lab, read(csv_of(reported)), NAME[:MAX_NAME])
    lab.judged.set_note(judged.id, NAME)
    with closing(sqlite3.connect(home / "lab.sqlite3")) as db, db:
        db.execute("UPDATE runs SET cause = ? WHERE id = ?", (NAME, FAILED))
    return lab


@pytest.fixture(scope="module")
def url(lab: Lab, serve: Serve) -> str:
    return serve(LAB_APP, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(lab.settings.home)})


@pytest.fixture(scope="module")
def visitor(url: str, context: BrowserContext) -> Visitor:
    """A visitor that has been on every page; one server and one browser tab do for all."""
    page = context.new_page()
    page.add_init_script(AXE_SCRIPT)
    page.add_init_script(AT_ONCE)
    page.add_init_script(COUNT_RUNS)
    visitor = Visitor(page)
    for address in PAGES:
        visitor.visit(url, address)
    page.close()
    return visitor


def test_every_dialog_of_the_project_was_looked_at(visitor: Visitor) -> None:
    dialogs = sum(file.read_text().count("@st.dialog(") for file in (REPO / "pages").rglob("*.py"))
    asked = {(state.split()[0], name) for state in visitor.violations for name in ASKING if f" {name} " in state}
    asked.discard(("/", "Rename"))  # an action of experiments, which are below
    assert len(asked) == dialogs - 1, "all but the one that is there once a dataset was saved"
    actions = {action.title for action in ACTIONS.values() if action.has_dialog} - {"Extend rates", "Find the epochs"}
    assert {title for title in actions for state in visitor.violations if f" {title} " in state} == actions


def test_no_page_has_a_violation_of_level_aa(visitor: Visitor) -> None:
    assert {page: nodes for page, nodes in visitor.violations.items() if nodes} == {}


@pytest.mark.parametrize("fault", ["errors", "too_wide", "covered", "made"])
def test_no_page_has_a_fault_that_its_visitor_notes(visitor: Visitor, fault: str) -> None:
    assert not getattr(visitor, fault)


def test_a_name_can_be_read(visitor: Visitor) -> None:
    assert "" in visitor.named


def test_class_names_can_be_read_in_a_preview(page: Page, url: str) -> None:
    page.goto(f"{url}/pretrain")
    page.get_by_role("combobox", name="Dataset").click()
    page.get_by_role("option", name=re.compile(r"^own( · images)? \(your own\)$")).click()
    page.get_by_text("Preview images").click()
    expect(page.get_by_test_id("stMainBlockContainer")).to_contain_text(NAME[:60])
    assert page.evaluate(MADE) == []


def test_names_of_runs_can_be_read_and_are_downloaded_without_a_formula(
    page: Page, url: str, lab: Lab, tmp_path: Path
) -> None:
    for address in (f"experiment?runs={FAILED}", f"runs?run={FAILED}"):
        page.goto(f"{url}/{address}")
        expect(page.get_by_test_id("stMainBlockContainer")).to_contain_text(NAME)
        settled(page)
        assert page.evaluate(MADE) == []
    downloaded(page.get_by_role("link", name="Download CSV")).save_as(tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = {row["Run"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {run.id for run in lab.store.runs() if not run.archived}
    assert {row["Note"] for row in rows.values()} == {f"'{NAME}"}
    assert rows[FAILED]["Tags"] == f"'{NAME[:40]}"
    assert {id for id, row in rows.items() if row["Cause"] == f"'{NAME}"} == {FAILED}
    # No table offers a download of its own.
    page.get_by_test_id("stDataFrame").first.hover()
    expect(page.get_by_role("button", name="Fullscreen").first).to_be_visible()
    expect(page.get_by_role("button", name="Download as CSV")).to_have_count(0)
