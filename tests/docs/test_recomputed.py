"""The program that computes answers again: it shares nothing with what it checks, and comes to the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import stats

from core.cli import as_json
from core.lab import Lab
from core.results.row import Row, rows_of
from core.rule.place import Place
from core.store.curves import trends_of
from core.store.looks import Look
from core.store.record import Experiment, Run
from docs.measurements import recomputed
from docs.measurements.recomputed import TOLERANCE, deviation, main
from docs.measurements.recomputed_runs import labels_of
from docs.measurements.recomputed_statistics import interval, two_way_p
from docs.measurements.recomputed_study import main as study_main
from tests.docs.source import ROOT, Module
from tests.study.samples import decided_on, make_run

Values = np.ndarray[Any, Any]

EPOCHS = 12
RATES = (0.001, 0.00316, 0.01)
RANKS = (1, 4, 16)
EASY = 20.0
"""By how much more is known than is needed, where every method is right on all examples."""
FEW = 6.0
"""By how much less LoRA knows with a few seeds, which decide the mean."""
truth = cache(labels_of)


def test_neither_the_program_nor_what_it_imports_of_this_project_imports_the_lab() -> None:
    names, known = ["docs.measurements.recomputed_study"], set[str]()
    while names:
        name = names.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        if path.exists() and name not in known:
            known.add(name)
            imports = Module(path).imports
            assert not [own for own in imports if own.split(".")[0] in ("core", "pages", "tests", "importlib", "app")]
            assert "__import__" not in path.read_text(encoding="utf-8")
            names += [each for own in imports for each in (own, own.rpartition(".")[0])]
    assert len(known) == 4


class Drawn:
    """An experiment whose runs are right on examples by chance, in a home folder of its own."""

    def __init__(
        self,
        home: Path,
        seed: int,
        seeds: int,
        better: float,
        rates: Sequence[float] = RATES,
        failing: bool = False,
        few: float = 0.0,
    ) -> None:
        self.home, self.right, self.curves, self.runs = home, dict[str, Values](), dict[str, Values](), list[Run]()
        rng, self.failing = np.random.default_rng(seed), failing
        ease = rng.normal(2.5, 2, len(truth("digits")))
        for method, rank in (("full", 0), *(("lora", rank) for rank in RANKS)):
            for place, rate in enumerate(rates):
                strength = (better if rank or better == EASY else 0.0) - (0.4 * abs(place - 1)) - 0.2 * (rank == 1)
                for number in range(seeds):
                    own = strength - few * bool(rank and number % 8 in (1, 4, 6))
                    logits = ease + own + rng.normal(0, 0.1) + rng.normal(0, 0.5, len(ease))
                    self._add(rng, method, rank, rate, number, rng.random(len(ease)) < 1 / (1 + np.exp(-logits)))

    def _add(self, rng: np.random.Generator, method: str, rank: int, rate: float, seed: int, right: Values) -> None:
        rising = 0.5 if seed % 2 else -0.5
        curve = 100 * right.mean() + rising * np.linspace(-1, 0, EPOCHS) + rng.normal(0, 0.05, EPOCHS)
        curve[-1] = round(curve[-1])  # so that some settings tie
        if self.failing and seed == 0 and (rank == 4 or (not rank and rate == RATES[-1])):
            run = make_run(method, seed, rank=rank, state="failed", optim={"learning_rate": rate, "epochs": EPOCHS})
        else:
            run = make_run(
                method,
                seed,
                float(np.where(right, 100.0, 0.0).mean()),
                rank,
                optim={"learning_rate": rate, "epochs": EPOCHS},
                kept_epoch=EPOCHS,
                largest_class=100 * float(np.bincount(truth("digits")).max() / len(right)),
                validation_accuracy=float(curve[-1]),
                trends=trends_of({"validation_accuracy": curve}),
            )
        run = replace(run, id=f"r-{len(self.runs):x}")
        self.runs.append(run)
        self.right[run.id], self.curves[run.id] = right, curve
        self._write(run)

    def _write(self, run: Run) -> None:
        folder = self.home / "runs" / run.id
        folder.mkdir(parents=True)
        result = None if run.result is None else json.dumps(run.result.to_dict())
        row = {"spec": run.spec.to_json(), "state": run.state, "steps": run.steps, "result": result}
        epochs = [{"measures": json.dumps({"validation_accuracy": value})} for value in self.curves[run.id].tolist()]
        (folder / "run.json").write_text(json.dumps({"rows": json.dumps({"runs": [row], "epochs": epochs})}))
        if run.result is not None:
            labels = truth("digits")
            told = np.where(self.right[run.id], labels, (labels + 1) % 10).astype(np.uint8)
            save_file({"predicted": told}, folder / "predictions.safetensors")

    def tested(self, row: Row) -> Values:
        return np.where(self.right[row.id], 100.0, 0.0)

    def answer(self, seeds: int, looks: list[Look]) -> tuple[list[Run], Place]:
        runs = [run for run in self.runs if run.spec.seed < seeds]
        return runs, decided_on(rows_of(runs), self.tested, looks)


def printed(runs: list[Run], found: Place, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``--json`` prints of runs and their verdict."""
    lab: Any = SimpleNamespace(artifacts=SimpleNamespace(path=lambda *_: "adapter.zip"))
    monkeypatch.setattr(as_json, "place_of", lambda *_: found)
    experiment: Any = SimpleNamespace(plan=None)
    told: dict[str, Any] = json.loads(json.dumps(as_json.as_json(lab, experiment, [], runs)))
    return told


@pytest.mark.parametrize(
    ("seed", "better", "stages", "rates", "failing", "said"),
    [
        (2, 0.5, (7, 9), RATES, False, ("shown", "methods", "LoRA r=4, lr 0.00316", None)),
        (0, -1.0, (8,), RATES, True, ("shown", "methods", "Full, lr 0.00316", None)),
        (2, 0.5, (7, 9), (0.000316, 0.00316, 0.0316), False, ("shown", "rates", None, None)),
        (0, 0.2, (8,), RATES[1:2], False, ("shown", "rates", None, None)),
        (0, 0.0, (8,), RATES[:2], False, ("open", None, None, "withheld")),
        (0, 0.0, (8,), RATES, False, ("open", None, None, None)),
        (0, -1.0, (4,), RATES, False, ("leaning", None, None, None)),
        (0, EASY, (7,), RATES, False, ("open", None, None, None)),
        (0, 0.1, (16,), RATES, False, ("shown", "runs", None, None)),
    ],
    ids=[
        "after a second look",
        "a rank and a neighbor failed",
        "no neighbor",
        "given rates",
        "withheld",
        "too few examples",
        "leaning",
        "too easy examples",
        "few seeds decide",
    ],
)
def test_an_answer_is_the_same_by_other_means(
    seed: int,
    better: float,
    stages: Sequence[int],
    rates: Sequence[float],
    failing: bool,
    said: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = FEW * (said[1] == "runs")
    drawn, looks = Drawn(tmp_path, seed, stages[-1], better, rates, failing, few), list[Look]()
    for seeds in stages:
        runs, found = drawn.answer(seeds, looks)
        told = printed(runs, found, monkeypatch)
        about = told["verdict"]
        assert (about["level"], about["about"], about["choice"], about["withheld"] and "withheld") == said
        rows = recomputed.recomputed(tmp_path, told, truth("digits"))
        assert [row for row in rows if deviation(*row[2:]) > TOLERANCE] == []
        looks += [replace(look, at=float(seeds)) for look in found.looks]


def test_what_differs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = printed(*Drawn(tmp_path, 2, 9, 0.5).answer(7, []), monkeypatch)
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps(told))
    asked = [str(tmp_path), str(answer), "digits"]
    assert main(asked) == 0
    assert "DIFFERS" not in capsys.readouterr().out
    setting = told["verdict"]["settings"][0]
    setting["p"] += 2e-6
    setting["claims"][0]["about_methods"] ^= True
    told["arms"][0]["measures"]["accuracy"][0] += 0.01
    answer.write_text(json.dumps(told))
    assert main(asked) == 1
    marked = [line for line in capsys.readouterr().out.splitlines() if line.endswith("DIFFERS")]
    assert [line.split(":")[1].split()[0] for line in marked] == ["accuracy", "p", "claims"]


def test_of_one_setting_the_test_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(0.5, 1, 8), rng.integers(-3, 5, 8) / 4):
        assert two_way_p(values[:, None]) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
        low, high = stats.ttest_1samp(values, 0).confidence_interval()
        assert interval(values[:, None]) == pytest.approx((values.mean(), low, high))


def test_a_study_that_was_trained_is_computed_again_and_a_wrong_number_is_found(
    studied: tuple[Lab, Experiment], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab, experiment = studied
    members = lab.store.members(experiment)
    told = json.loads(json.dumps(as_json.as_json(lab, experiment, [], members)))
    file = tmp_path / "answer.json"
    for change, status in ((0.0, 0), (1e-4, 1)):
        told["study"]["at"][1]["settings"][0]["difference"] += change
        file.write_text(json.dumps(told), encoding="utf-8")
        assert study_main([str(lab.settings.home), str(file), "digits"]) == status, capsys.readouterr().out
    told_apart = [line for line in capsys.readouterr().out.splitlines() if line.endswith("DIFFERS")]
    assert [line.partition(":")[0].startswith("2, LoRA r=2") for line in told_apart] == [True]
