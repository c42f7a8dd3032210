"""In a browser: what a person stops can be finished, with the numbers that it would have had."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.pretrain import PretrainSpec
from core.plan.configuration import preset_configuration
from core.run_spec import default_optim
from core.settings import Settings
from core.store.record import Experiment
from core.study.stats.claims import DEFAULT_SEEDS
from tests.browser.conftest import SLOWED, Serve, choose_digits
from tests.conftest import finish, wait_until
from tests.engine.test_resume import weights

pytestmark = pytest.mark.browser

LEFT = re.compile(r"^Finish: 17 runs")


def stop_all(page: Page, reader: Lab) -> None:
    """Stop everything on Home once the base has learnt something, and wait until all of it has ended."""
    before = max((run.step for run in reader.runs() if run.spec.base is None), default=0)
    wait_until(lambda: any(run.step > before for run in reader.runs() if run.spec.base is None))
    page.get_by_role("button", name="Stop all").click()
    expect(page.get_by_text("What has been learnt stays")).to_be_visible()
    page.get_by_role("button", name="Stop 17 runs").click()
    expect(page.get_by_role("heading", name="No verdict yet: 16 of 16 runs were stopped.")).to_be_visible()


def test_a_comparison_that_was_stopped_is_finished_with_the_numbers_that_it_would_have_had(
    page: Page, serve: Serve, tmp_path: Path, console_errors: list[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "slow").touch()
    env = {"LORA_LAB_DATA": "", "LORA_LAB_HOME": str(home), "LORA_LAB_CORES": "1"}
    url = serve(SLOWED, env)
    reader = Lab(Settings(home))
    page.goto(url)
    choose_digits(page, "Pretrained on")
    page.get_by_text("Quick", exact=True).click()
    page.get_by_role("button", name="Run the comparison").click()
    stop_all(page, reader)
    (experiment,) = reader.experiments()

    # Every page has one button, also after a reload; where the same question is asked, there is another one beside it.
    page.reload()
    for path in ("", "runs", f"compare?experiment={experiment.id}"):
        page.goto(f"{url}/{path}")
        expect(page.get_by_role("button", name=LEFT).first).to_be_visible()
    page.goto(url)
    choose_digits(page, "Pretrained on")
    page.get_by_text("Quick", exact=True).click()
    expect(page.get_by_role("button", name=re.compile("^Start anew: 17 runs"))).to_be_visible()
    stopped_at = reader.run(experiment.base).step
    page.get_by_role("button", name=LEFT).first.click()  # where the question is asked
    expect(page.get_by_text("Running now")).to_be_visible()
    stop_all(page, reader)
    assert reader.run(experiment.base).step > stopped_at
    (home / "slow").unlink()
    page.get_by_role("button", name=LEFT).last.click()  # beside the answer
    expect(page.get_by_text("16 of 16 finished").first).to_be_visible()
    expect(page.get_by_role("heading", name="No verdict yet")).to_have_count(0)
    assert [known.id for known in reader.experiments()] == [experiment.id]
    assert reader.run(experiment.base).resumed_step > stopped_at
    check_never_stopped(reader, experiment, tmp_path / "other")
    reader.close()
    assert console_errors == []


def check_never_stopped(reader: Lab, experiment: Experiment, home: Path) -> None:
    """Assert that an experiment has the numbers of one that was never stopped: to the last bit where a run of a bank
    has those that it has alone.
    """
    other = Lab(Settings(home, threads=1))
    other.start()
    arms = [(default_optim(FullSpec), FullSpec()), (default_optim(LoRASpec), LoRASpec.of(rank=4))]
    asked = preset_configuration(
        other.catalog, "rotation-45", "digits", None, default_optim(PretrainSpec), arms, range(DEFAULT_SEEDS)
    )
    reference = other.compare(asked)
    expected = finish(other, reference.base, *reference.runs)
    found = reader.runs_of([experiment.base, *experiment.runs])
    assert len(found) == len(expected)
    for run, same in zip(found, expected, strict=True):
        assert (run.state, run.spec.kind, run.spec.seed) == ("finished", same.spec.kind, same.spec.seed)
        assert run.result
        assert same.result
        if run.spec.role != "adapter":
            np.testing.assert_array_equal(reader.curve(run.id).loss, other.curve(same.id).loss)
            for name, tensor in weights(other, same).items():
                assert torch.equal(weights(reader, run)[name], tensor), name
        else:
            assert run.score == pytest.approx(same.score, abs=2.0)
    other.close()
