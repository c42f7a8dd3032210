"""What holds for a family or a method that only a test registers: an experiment with it, and what is done with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.artifacts.recipe import Recipe, weights_digest
from core.cli.run import RecipeRunner
from core.engine.jobs.run_files import NETWORK
from core.lab import Lab, close_lab, open_lab
from core.networks.file import read_network
from core.run_spec import RunSpec
from core.serving.predictor import Predictor
from core.serving.request import PredictRequest, Row
from core.settings import Settings
from core.store.record import Experiment, Run
from pages.shared.ui.links import ENTRIES
from tests.adapter.samples import logits
from tests.conftest import TURNED, braked, finish, short, training_lab, wait_until
from tests.launching import fine_tune
from tests.pages.test_pages import draw

PARTS = [
    *((page, None) for page in ENTRIES),
    *(("compare", view) for view in ("Accuracy", "Rates", "Curves", "Examples", "Forgetting", "Cost", "Runs")),
]
"""Pages, and the parts of one."""


@dataclass(frozen=True)
class Done:
    """A lab with a finished experiment on turned digits."""

    lab: Lab
    base: Run
    experiment: Experiment
    runs: tuple[Run, ...]

    def of(self, label: str, seed: int = 0) -> Run:
        return next(run for run in self.runs if (run.spec.label, run.spec.seed) == (label, seed))

    def path(self, label: str, name: str, seed: int = 0) -> Path:
        return self.lab.artifacts.path(self.of(label, seed).id, name)

    @property
    def base_path(self) -> Path:
        return self.lab.artifacts.path(self.base.id, NETWORK)

    @property
    def pixels(self) -> Tensor:
        return self.lab.tasks.get(TURNED).test.all_pixels()


def experiment_done(folder: Path, base: RunSpec, arms: Sequence[Any]) -> Iterator[Done]:
    """The lab of this process with every arm trained on one base, with two seeds. Args: folder: for its home."""
    close_lab()
    lab = open_lab(Settings(home=folder / "home", max_waiting=40, threads=1))
    (pretrained,) = finish(lab, lab.launcher.launch(base).id)
    experiment = fine_tune(lab, pretrained, TURNED, arms, seeds=[0, 1])
    runs = finish(lab, *experiment.runs)
    assert {(run.state, run.cause) for run in (pretrained, *runs)} == {("finished", None)}
    yield Done(lab, pretrained, experiment, tuple(runs))
    close_lab()


def check_drawn(done: Done, page: str, view: str | None, **named: str) -> Any:
    """Draw a page without an error; return it. Args: view: part of a page on the experiment."""
    app = draw(page, **({"experiment": done.experiment.id, "view": view} if view else {}), **named)
    assert not app.error, (page, view, [error.value for error in app.error])
    return app


def check_goes_on(done: Done, like: Run, folder: Path) -> None:
    """A run like this one that was interrupted goes on to the last bit. Args: folder: for a home."""
    settings = Settings(home=folder / "home", threads=1, settle_seconds=0.2)
    with training_lab(settings) as lab:
        (base,) = finish(lab, lab.launcher.launch(done.base.spec.but(optim=short())).id)
        # Small batches, since it is the number of steps that must be large.
        optim = like.spec.optim.but(epochs=4, batch_size=16, keep="best")
        spec = like.spec.but(optim=optim, base=like.spec.base and base.id)
        with braked():
            id = lab.launcher.launch(spec).id
            wait_until(lambda: lab.store.run(id).step > 40)
            lab.close()
    assert lab.store.run(id).state == "interrupted"
    with training_lab(settings) as lab:
        lab.launcher.finish([id])
        wait_until(lambda: lab.store.run(id).state != "queued")
        resumed, untouched = finish(lab, id, lab.launcher.launch(spec).id)
        assert 40 < resumed.resumed_step < resumed.steps
        assert resumed.result is not None
        assert untouched.result is not None
        one, other = (weights_digest(settings.runs / run.id) for run in (resumed, untouched))
        assert one == other is not None
        assert resumed.result.kept_epoch == untouched.result.kept_epoch
        assert lab.store.curve(id).loss.tolist() == lab.store.curve(untouched.id).loss.tolist()


def check_recipe(done: Done, label: str, folder: Path) -> None:
    """The recipe of a run gives its very weights again, and so that of its base."""
    runner = RecipeRunner(done.lab.settings, None, None)
    recipe = Recipe.read(done.lab.recipe(done.of(label).id).to_json())
    assert recipe.base is not None
    runner.train(recipe.base, folder / "base", None)
    assert weights_digest(folder / "base") == recipe.base.weights
    runner.train(recipe, folder / "run", folder / "base" / NETWORK)
    assert weights_digest(folder / "run") == recipe.weights is not None


def check_served(done: Done, predictor: Predictor, *labels: str | None) -> None:
    """Rows of one request are answered by these runs, and by the base where there is None."""
    runs, base = [label and done.of(label) for label in labels], read_network(done.base_path)
    rows = done.pixels[: len(runs)]
    asked = [Row(pixels=row.tolist(), adapter=run and run.id) for row, run in zip(rows, runs, strict=True)]
    answers = predictor.predict(PredictRequest(rows=asked)).predictions
    for answer, run, row in zip(answers, runs, rows, strict=True):
        expected = logits(done.lab.artifacts.trained(run) if run else base, row[None]).softmax(1)[0]
        torch.testing.assert_close(torch.tensor(answer.probabilities), expected, atol=1e-5, rtol=1e-5)
