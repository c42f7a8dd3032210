"""Looks at an experiment in a browser, a command and another process: each counts once, whoever reads it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.settings import Settings
from core.study.report.answer import place_of
from tests.browser.conftest import LAB_APP, REPO, Serve, choose_action, note_errors
from tests.conftest import compared, finish, short, training_lab, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.minutes]


def test_looks_are_counted_once_each_by_pages_commands_and_other_processes(
    page: Page, serve: Serve, tmp_path: Path, console_errors: list[str]
) -> None:
    home = tmp_path / "home"
    arms = [(short(), FullSpec()), *((short(), LoRASpec.of(rank=rank)) for rank in (1, 4))]
    with training_lab(Settings(home, threads=1)) as lab:
        experiment = compared(lab, "rotation-45", "digits", None, short(), arms, range(8))
        finish(lab, experiment.base, *experiment.runs)
        assert lab.looks.of(experiment.id) == []

    reader = Lab(Settings(home, threads=1))

    def seeds_looked_at() -> list[int]:
        return [look.seeds for look in reader.looks.of(experiment.id)]

    url = serve(LAB_APP, {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home), "LORA_LAB_CORES": "1"})
    other = page.context.new_page()
    note_errors(other, console_errors)
    page.goto(f"{url}/?experiment={experiment.id}")
    answer = page.get_by_test_id("stMain").locator("h4").first
    expect(answer).to_contain_text("At these rates")
    first = answer.inner_text()
    assert seeds_looked_at() == [8]
    page.reload()
    expect(answer).to_have_text(first)

    # A link to two settings draws fewer, and changes neither the verdict nor the looks.
    keys = sorted({run.spec.arm for run in reader.store.members(experiment) if run.spec.method.size != 1})
    other.goto(f"{url}/experiment?experiment={experiment.id}&arms={','.join(keys)}")
    expect(other.get_by_test_id("stMain").locator("h4").first).to_have_text(first)
    assert seeds_looked_at() == [8]

    choose_action(page, "Add seeds")
    expect(page.get_by_text("A look at 16 seeds allows 0.9 % of false claims.")).to_be_visible()
    page.get_by_role("spinbutton", name="More seeds for every setting").fill("1")
    page.keyboard.press("Tab")
    expect(
        page.get_by_text("A look at 9 seeds allows 0.2 % of false claims; one at 16 would allow 0.9 %.")
    ).to_be_visible()
    page.get_by_role("spinbutton", name="More seeds for every setting").fill("8")
    page.keyboard.press("Tab")
    page.get_by_role("button", name=re.compile(r"Train 24 runs")).click()
    wait_until(lambda: seeds_looked_at() == [8, 16])
    page.reload()
    expect(answer).to_contain_text("At these rates")
    assert seeds_looked_at() == [8, 16]

    command = [sys.executable, "-m", "core", "grow", experiment.id, "--seeds", "16", "--json", "--home", str(home)]
    ran = subprocess.run(command, cwd=REPO, env=os.environ | {"LORA_LAB_DATA": ""}, capture_output=True, check=True)
    said = json.loads(ran.stdout)["verdict"]
    assert "A look at 32 seeds allows 0.5 % of false claims." in ran.stderr.decode()
    assert (said["seeds"], said["earlier_looks"]) == (32, [8, 16])
    page.reload()
    expect(answer).to_contain_text(said["sentence"])
    assert place_of(reader, reader.store.experiment(experiment.id)).seeds == 32
    assert seeds_looked_at() == [8, 16, 32]
    assert console_errors == []
    reader.close()
