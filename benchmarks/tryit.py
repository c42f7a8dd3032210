"""Milliseconds from the end of a stroke, or of typing, to the answers of all networks on the Try it page:
``python -m benchmarks.tryit``.

A real Chromium draws on, or types into, the page of a server in a process of its own. The networks are a base and eight
adapters. The time ends when the text alternative of the table of answers has changed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, TimeoutError, sync_playwright

from benchmarks.dashboard import served
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.plan.configuration import preset_configuration
from core.run_spec import OptimSpec
from core.settings import Settings
from core.tasks.presets import preset_tasks
from tests.browser.chromium import launched
from tests.launching import compare, fine_tune

RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Of the eight adapters."""

WORDS = ("a", "large", "small", "animal", "to", "move", "of", "the", "plant")

STROKES = 6
"""Of a drawing."""

TOLD = '[aria-label^="The most probable class for each network."]'

WATCH = """
(selector) => {
  window.answered = null;
  const roots = [...document.querySelectorAll("*")].map((element) => element.shadowRoot).filter(Boolean);
  const table = roots.map((root) => root.querySelector(selector)).find(Boolean);
  const label = () => table.getAttribute("aria-label");
  const before = label();
  window.asked = null;
  document.addEventListener("pointerup", () => { window.asked = performance.now(); }, { once: true, capture: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter") window.asked = performance.now();
  }, { capture: true });
  new MutationObserver((_, observer) => {
    if (window.asked !== null && label() !== before) {
      window.answered = performance.now() - window.asked;
      observer.disconnect();
    }
  }).observe(table, { attributes: true });
}
"""
"""Notes when a stroke or a text ended, and when the answers have changed after that."""


def train(home: Path, network: str) -> None:
    """A base and eight adapters."""
    lab = Lab(Settings(home))
    lab.start()
    if network == "perceptron":
        optim = OptimSpec.of(epochs=2, learning_rate=0.002)
        arms = [(optim, LoRASpec.of(rank=rank)) for rank in RANKS]
        experiment = compare(lab, preset_configuration(lab.catalog, "rotation-45", "digits", None, optim, arms, [0]))
    else:
        optim = OptimSpec.of(epochs=1, learning_rate=0.001, batch_size=8)
        spec = lab.networks.spec(lab.networks.import_known("minilm").digest, 12)
        _, task = preset_tasks("split", "definitions", lab.catalog)
        arms = [(optim, LoRASpec.of(rank=min(rank, 32), alpha=rank)) for rank in RANKS]
        experiment = fine_tune(lab, spec, task.but(shots=4), arms, [0])
    while any(run.is_live for run in lab.store.members(experiment)):
        lab.live()
    lab.close()


def stroke(page: Page, number: int) -> None:
    """Draw one line more, or begin a new drawing."""
    canvas = page.get_by_role("img", name="A square to draw on with mouse, pen or finger.")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    if box is None:
        raise SystemExit("The page has no square to draw on.")
    chance = np.random.RandomState(number)
    corner, size = np.array([box["x"], box["y"]]), np.array([box["width"], box["height"]])
    first, *others = (corner + size * chance.uniform(0.2, 0.8, (3, 2))).tolist()
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def typed(page: Page, number: int) -> None:
    """Type another text."""
    words = np.random.RandomState(number).choice(WORDS, 12)
    box = page.get_by_role("textbox", name="Text").first
    box.fill(f"{' '.join(words)} {number}")
    box.press("Control+Enter")


def main() -> None:
    """Measure, and print a line per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=("perceptron", "minilm"), default="perceptron")
    parser.add_argument("--times", type=int, default=60, help="answers that are timed (default: 60)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder), options.network)
        with served(Path(folder)) as url, sync_playwright() as playwright:
            page = launched(playwright).new_page()
            page.set_viewport_size({"width": 1440, "height": 1400})
            page.goto(f"{url}/tryit")
            way = ("Draw", stroke) if options.network == "perceptron" else ("Type", typed)
            page.get_by_text(way[0], exact=True).click(timeout=60_000)
            page.wait_for_timeout(2000)
            way[1](page, 0)
            page.wait_for_selector(TOLD, timeout=60_000)
            taken = []
            for number in range(1, 2 * options.times):
                if options.network == "perceptron" and number % STROKES == 0:  # where all is white, no answer changes
                    page.get_by_role("button", name="Clear", exact=True).click()
                    page.wait_for_selector(TOLD, state="detached")
                    stroke(page, number)
                    page.wait_for_selector(TOLD)
                    continue
                page.wait_for_timeout(400)
                page.evaluate(WATCH, TOLD)
                way[1](page, number)
                try:
                    page.wait_for_function("window.answered !== null", timeout=3000)
                except TimeoutError:  # the same answer as before cannot be seen
                    continue
                taken.append(page.evaluate("window.answered"))
                if len(taken) == options.times:
                    break
    print(
        f"{options.network}: 8 adapters, {len(taken)} answers: median {np.median(taken):.0f} ms, "
        f"95th percentile {np.percentile(taken, 95):.0f} ms"
    )


if __name__ == "__main__":
    main()
