"""axe-core on every page in both themes: no violation of WCAG 2 level AA in what the project draws."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page

from pages.shared.links import ENTRIES
from tests.browser.conftest import REPO, Serve, new_context
from tests.conftest import HANG

pytestmark = pytest.mark.browser

OLD_HOME = REPO / "tests" / "old_home" / "home"

PAGES = ["", *(name for name in ENTRIES if name != "home"), "compare?all-tried=true", "learn?learn_rank=16"]

OPTIONS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}

STREAMLITS = {
    ("list", '[data-testid="stSidebarNav"] *'): "the navigation puts its headings and lists into a list without items",
    ("listitem", '[data-testid="stSidebarNav"] *'): "the same: its entries lie in a div instead of a list",
    (
        "scrollable-region-focusable",
        ".katex-display",
    ): "st.latex scrolls a wide formula, and the keyboard cannot focus it",
}
"""Violations that are Streamlit's own, by rule and element, with the reason. This list may only shrink."""

IDLE = """
() => {
  const app = document.querySelector('[data-testid="stApp"]');
  return app?.dataset.testScriptState === "notRunning" && !document.querySelector('[data-testid="stSkeleton"]')
    && [...document.querySelectorAll(".js-plotly-plot")].every((plot) => plot.querySelector(".main-svg"))
    && document.getAnimations().every((animation) => animation.playState !== "running");
}
"""
"""Whether a page has drawn everything and no color is on its way to another."""

AUDIT = """
async ([options, own]) => {
  const found = await axe.run(options);
  return found.violations.flatMap((violation) => violation.nodes.map((node) => {
    const element = document.querySelector(node.target[0]);
    const known = own.find(([rule, where]) => rule === violation.id && element?.matches(where));
    return { rule: violation.id, known: known ?? null, html: node.html.slice(0, 200), why: node.failureSummary };
  }));
}
"""

FAINT = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = luminance(getComputedStyle(document.querySelector('[data-testid="stApp"]')).backgroundColor);
  const letters = ".js-plotly-plot text:not(:has(tspan)), .js-plotly-plot tspan:not(:has(tspan))";
  return [...document.querySelectorAll(letters)].filter((text) => text.textContent.trim()).flatMap((text) => {
    const ink = luminance(getComputedStyle(text).fill);
    const contrast = (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
    return contrast < 4.5 ? [`${text.textContent}: ${contrast.toFixed(2)}`] : [];
  });
}
"""
"""Texts in charts whose contrast with the page is below 4.5:1; axe does not look at SVG."""


@pytest.fixture(scope="module")
def url(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    home: Path = tmp_path_factory.mktemp("old") / "home"
    shutil.copytree(OLD_HOME, home)
    return serve(REPO / "app.py", {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home)})


@pytest.fixture(scope="module")
def opened(chromium: Browser) -> Iterator[Page]:
    """Open one page for the whole module; axe is in it after every navigation."""
    context = new_context(chromium, bypass_csp=True)
    page = context.new_page()
    page.add_init_script(AXE_SCRIPT)
    yield page
    context.close()


@pytest.fixture(scope="module")
def violations(url: str, opened: Page) -> dict[str, list[dict[str, Any]]]:
    """Return what axe finds, and texts of charts that are too faint, by page and theme."""
    found = {}
    for address in PAGES:
        opened.goto(f"{url}/{address}")
        for theme in ("light", "dark"):
            opened.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            opened.wait_for_function(IDLE, timeout=1000 * HANG)
            audit = opened.evaluate(AUDIT, [OPTIONS, [list(entry) for entry in STREAMLITS]])
            faint = [
                {"rule": "chart-contrast", "known": None, "html": text, "why": ""} for text in opened.evaluate(FAINT)
            ]
            found[f"/{address} {theme}"] = audit + faint
    return found


def test_no_page_has_a_violation_of_level_aa(violations: dict[str, list[dict[str, Any]]]) -> None:
    own = {page: [node for node in nodes if not node["known"]] for page, nodes in violations.items()}
    assert {page: nodes for page, nodes in own.items() if nodes} == {}


def test_the_list_of_streamlits_own_violations_only_shrinks(violations: dict[str, list[dict[str, Any]]]) -> None:
    seen = {tuple(node["known"]) for nodes in violations.values() for node in nodes if node["known"]}
    assert set(STREAMLITS) - seen == set()
    assert "color-contrast" not in {rule for rule, _ in STREAMLITS}
