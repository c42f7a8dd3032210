"""What a command that a signal ends says is kept of it: what is there, and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core.__main__ import parser
from core.artifacts.recipe import Recipe
from core.cli.options import NOTHING_KEPT, RUNS_KEPT
from core.run_spec import RunSpec
from tests import forked
from tests.conftest import DIGITS, short, wait_until


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("compare", RUNS_KEPT),
        ("grow e-00000000", RUNS_KEPT),
        ("serve", RUNS_KEPT),
        ("run recipe.json", NOTHING_KEPT),
        ("time", NOTHING_KEPT),
        ("verify adapter.zip --base base", NOTHING_KEPT),
        ("export r-00000000 file", NOTHING_KEPT),
        ("report e-00000000 report.html", NOTHING_KEPT),
        ("track e-00000000 --to tensorboard:logs", ""),
    ],
)
def test_only_commands_that_train_the_queue_say_that_runs_are_kept(command: str, kept: str) -> None:
    assert parser().parse_args(command.split()).kept == kept


def test_a_run_from_a_recipe_says_that_nothing_was_kept(tmp_path: Path) -> None:
    spec = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=200))
    (tmp_path / "recipe.json").write_text(Recipe.of(run="r-00000000", spec=spec).to_json())
    environment = {**os.environ, "LORA_LAB_HOME": str(tmp_path / "home")}
    errors = tmp_path / "errors.log"
    with errors.open("wb") as log:
        process = forked.start(["-m", "core", "run", "recipe.json"], cwd=tmp_path, stderr=log, env=environment)
    wait_until(lambda: "step" in errors.read_text())
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert errors.read_text().endswith("\nEnded by SIGTERM. Nothing was kept.\n")
    assert list(tmp_path.glob("*r-00000000*")) == []
