"""One's own texts in a browser: import MiniLM, upload a table, compare, and load the adapter in PEFT."""

from __future__ import annotations

import csv
import re
import zipfile
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from playwright.sync_api import Page, expect
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from core.adapter import apply_adapter, read_adapter
from core.data.sources.built_in import Definitions
from core.networks.forward import forward
from core.networks.library.networks import Networks
from core.settings import Settings
from tests.browser.conftest import REPO, Serve, choose_one_rate, downloaded

pytestmark = [
    pytest.mark.browser,
    pytest.mark.minutes,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # in PEFT
]

CLASSES = ("animal", "food", "plant")
ROWS = 60
"""Rows of each class."""


def table(path: Path) -> Path:
    """A table whose columns are called anything: definitions of three classes."""
    dataset = Definitions(Settings(path.parent)).load("definitions")
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["no.", "what it says", "kind of thing"])
        for name in CLASSES:
            label = dataset.class_names.index(name)
            rows = [text for text, own in zip(dataset.train_texts, dataset.train_labels, strict=True) if own == label]
            writer.writerows([number, text, name] for number, text in enumerate(rows[:ROWS]))
    return path


def slide(page: Page, label: str, key: str, times: int, value: str) -> None:
    """Move a slider, and wait until it shows a value."""
    slider = page.get_by_role("slider", name=label)
    for _ in range(times):
        slider.press(key)
    expect(slider).to_have_attribute("aria-valuetext", value)


def test_own_texts_on_a_brought_network_end_in_an_adapter_that_peft_loads(
    page: Page, serve: Serve, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    url = serve(REPO / "app.py", {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home), "HF_HUB_OFFLINE": "1"})
    page.goto(f"{url}/networks")
    page.get_by_role("button", name="Import minilm").click()
    expect(page.get_by_text("linear layers: 24 in attention")).to_be_visible()

    page.goto(f"{url}/data")
    page.get_by_text("Texts", exact=True).first.click()
    page.locator("input[type=file]").set_input_files(table(tmp_path / "things.csv"))
    expect(page.get_by_text("3 classes").first).to_be_visible()
    page.get_by_text("As a network reads them").click()
    expect(page.get_by_text("nothing is cut")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("things is saved")).to_be_visible()

    page.goto(f"{url}/new")
    dataset = page.get_by_role("combobox", name="Dataset")
    dataset.fill("things")
    page.get_by_role("option", name=re.compile("things")).click()
    page.get_by_text("Ten shots", exact=True).click()
    expect(page.get_by_text("Ten training examples per class")).to_be_visible()
    choose_one_rate(page)
    slide(page, "Seeds", "ArrowLeft", 5, "3")
    page.get_by_role("button", name="Start the experiment").click()
    expect(page.get_by_text(re.compile(r"\d of 6 finished")).first).to_be_visible()
    page.reload()
    expect(page).to_have_url(re.compile("/experiment"))
    expect(page.get_by_text("6 of 6 finished").first).to_be_visible()
    expect(page.get_by_test_id("stMain").get_by_role("heading", level=4).first).to_be_visible()

    page.goto(f"{url}/tryit")
    page.get_by_text("Type", exact=True).click()
    text = page.get_by_role("textbox", name="Text").first
    text.fill("a large cat")
    text.press("Control+Enter")
    told = page.locator('[aria-label^="The most probable class for each network."]')
    expect(told).to_be_visible()
    answers = told.get_attribute("aria-label") or ""
    for network in ("Base, with an untrained head", "Full", "LoRA r="):
        assert f"{network}" in answers
    expect(page.get_by_text("The base answered bit for bit")).to_be_visible()

    page.goto(f"{url}/adapters")
    downloaded(page.get_by_role("link", name="Adapter for PEFT")).save_as(tmp_path / "adapter.zip")

    zipfile.ZipFile(tmp_path / "adapter.zip").extractall(tmp_path / "adapter")
    library = Networks(Settings(home))
    (card,) = library.list()
    adapter = read_adapter(tmp_path / "adapter.zip")
    folder = library.folder(card.digest)
    batch = AutoTokenizer.from_pretrained(folder)(
        ["a large cat", "a green leaf", "baked bread and butter"], padding=True, return_tensors="pt"
    )
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    theirs = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    ours = apply_adapter(library.start(library.spec(card.digest, 3), seed=7), adapter).eval()
    with torch.no_grad():
        own = forward(ours, {name: batch[name] for name in ("input_ids", "attention_mask")})
        torch.testing.assert_close(theirs(**batch).logits, own, atol=1e-5, rtol=1e-5)
