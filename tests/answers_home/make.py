"""The home folder in ``home.tar.xz``: experiments and judged results of every kind that an answer may be about.

It was made once, with the code before results became one table, and is not made again: later versions must give the
answers in ``tests/same_numbers/golden`` of it.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tests/answers_home/make.py FOLDER

Only what answers are computed of is kept: the store, predictions for test parts, datasets and tokenizers. Networks and
adapters are left out.
"""

from __future__ import annotations

import io
import lzma
import random
import shutil
import sqlite3
import sys
import tarfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import NETWORK, PREDICTIONS
from core.judge.reading import Reading
from core.judge.results import gather
from core.judge.sources import Given, given
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.objectives.classification import ClassificationSpec
from core.objectives.language import LanguageSpec
from core.plan.axes import VarySpec
from core.plan.configuration import preset_configuration
from core.plan.experiment import Setting
from core.plan.search import TuneSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Experiment, Run
from core.study.report.answer import answer_of, is_study, study_of
from core.study.report.judged import judged_answer, keep_results
from core.study.report.results_export import results_files
from tests.conftest import braked, finish, short, training_lab, wait_until
from tests.judge.samples import csv_of, rows_of
from tests.judge.test_trainer_folders import ANSWERS, RATES, saved
from tests.launching import compare, fine_tune
from tests.searched_home import ended
from tests.text_home import DECODER, PETS, import_tiny

SMALL = PerceptronSpec.of(num_hidden_1=10, num_hidden_2=8, num_classes=10)
DIGITS = TaskSpec.of(dataset="digits")
TURNED = DIGITS.but(rotation=45.0, shots=30)
FULL, LORA = FullSpec(), LoRASpec.of(rank=2)
F1 = ClassificationSpec.of(measure="macro_f1", within=2.0)


def pair(rate: float = 0.003, adapter_rate: float = 0.01, epochs: int = 3, *more: Any) -> list[Setting]:
    """Full fine-tuning and LoRA, and other methods at the rate of adapters."""
    found: list[Setting] = [(short(epochs, rate), FULL), (short(epochs, adapter_rate), LORA)]
    return found + [(short(epochs, adapter_rate), method) for method in more]


def rates(
    epochs: int = 3, full: Sequence[float] = (0.001, 0.003, 0.01), adapter: Sequence[float] = ()
) -> list[Setting]:
    """Full fine-tuning and LoRA, each at several learning rates."""
    found: list[Setting] = [(short(epochs, rate), FULL) for rate in full]
    return found + [(short(epochs, rate), LORA) for rate in adapter or [3 * rate for rate in full]]


def read(lab: Lab, experiment: Experiment) -> None:
    """Read the answer of an experiment, as a page does, which records a look."""
    (study_of if is_study(experiment) else answer_of)(lab, experiment)


def on_images(lab: Lab) -> list[Experiment]:
    """Experiments with given rates on one base, and on a base for each seed."""
    base = lab.launcher.launch(RunSpec.of(method="pretrain", network=SMALL, task=DIGITS, optim=short(8, 0.005)))
    finish(lab, base.id)
    ranks = [LoRASpec.of(rank=1), LoRASpec.of(rank=4), LoRASpec.of(rank=8)]
    layers = LoRASpec.of(rank=2, scaling="alpha/sqrt(r)", target_modules=("layers.2", "layers.4"))

    def on(name: str, arms: Sequence[Setting], seeds: int, task: TaskSpec = TURNED, **more: Any) -> Experiment:
        return fine_tune(lab, base, task, arms, range(seeds), name, **more)

    found = [
        on("seven seeds", pair(), 7),
        on("eight seeds, ranks", pair(0.003, 0.01, 4, *ranks), 8),
        on("three seeds", pair(), 3),
        on("one seed", pair(), 1),
        on("sixteen seeds", pair(0.002, 0.02), 16),
        on("five seeds of long training", pair(0.003, 0.01, 20), 5),
        on("controls", pair(0.003, 0.01, 3, "head", "biases", "scratch"), 7),
        on("DoRA and some layers", pair(0.003, 0.01, 3, DoRASpec.of(rank=2), layers), 8),
        on("rates", rates(), 7),
        on("the best rates at ends", rates(2, (0.0001, 0.0003), (0.0003, 0.001)), 7),
        on("at chance", pair(1e-6, 1e-6, 1), 8),
        on("without full", [pair()[1]], 7),
        on("without LoRA", [pair()[0]], 7),
        on("a wide margin", pair(), 8, objective=ClassificationSpec.of(within=10.0)),
        on("a margin of none", pair(), 8, objective=ClassificationSpec.of(within=0.0)),
        on("macro-F1", pair(), 8, objective=F1),
        on("few classes", pair(), 7, TaskSpec.of(dataset="digits", classes=(0, 1, 2), invert=True, shots=30)),
        on("shuffled pixels", pair(0.01, 0.03, 6), 8, DIGITS.but(permutation=1, shots=60)),
        on("patience", [(optim.but(patience=2, keep="best", epochs=12), method) for optim, method in pair()], 7),
        on("a base for each seed", pair(), 8, own_bases=True),
        on("rates, a base for each seed", rates(3, (0.001, 0.003, 0.01)), 7, own_bases=True),
    ]
    ended_all(lab, found)
    return found


def on_searches(lab: Lab) -> list[Experiment]:
    """Searches for rates and epochs, and studies along every axis."""

    def asked(seeds: int, arms: Sequence[Setting], preset: str = "rotation-45", **more: Any) -> Experiment:
        values = {"network": SMALL, "shots": 30} | more
        return compare(
            lab, preset_configuration(lab.catalog, preset, "digits", None, short(6), arms, range(seeds), **values)
        )

    def varied(name: str, points: Sequence[Any], seeds: int = 7, *more: Any) -> Experiment:
        vary = VarySpec.of(name=name, points=tuple(points))
        return asked(seeds, pair(0.003, 0.01, 2, *more), tune=TuneSpec.of(), vary=vary)

    found = [
        asked(7, pair(), tune=TuneSpec.of()),
        asked(8, pair(0.003, 0.01, 3, LoRASpec.of(rank=4), LoRASpec.of(rank=8)), tune=TuneSpec.of(longer=1)),
        asked(7, pair(0.003, 0.01, 1), tune=TuneSpec.of(longer=2)),
        asked(3, pair(), tune=TuneSpec.of(longer=1), trim=True),
        asked(7, pair(), tune=TuneSpec.of(rates=3)),
        asked(7, pair(), "split", tune=TuneSpec.of(rates=3)),
        asked(7, pair(), tune=TuneSpec.of(), own_bases=True),
        asked(7, pair(0.003, 0.01, 3, *(LoRASpec.of(rank=rank) for rank in (1, 4, 8))), tune=TuneSpec.of(rates=3)),
        asked(8, pair(0.003, 0.01, 6), shots=None, tune=TuneSpec.of(longer=2)),
        asked(10, pair(0.003, 0.01, 12, LoRASpec.of(rank=8)), "same", shots=None, tune=TuneSpec.of(longer=1)),
        asked(7, pair(0.003, 0.01, 9), shots=100, tune=TuneSpec.of(longer=1), objective=F1),
        varied("epochs", (1, 3)),
        varied("shots", (10, 40), 7, LoRASpec.of(rank=4)),
        varied("layers", ("all-linear", "layers.0"), 7),
        varied("batch", (16, 64), 3),
        varied("batch-updates", (16, 64), 3),
    ]
    ended_all(lab, found)
    return found


def on_texts(lab: Lab, folder: Path) -> list[Experiment]:
    """A tiny transformer on labelled texts, and a tiny decoder on texts to continue."""
    network = import_tiny(lab, folder / "tiny")
    wide = [(short(4, rate, batch_size=32), method) for rate, method in ((0.003, FULL), (0.01, LORA))]

    def continued(seeds: int, **more: Any) -> Experiment:
        asked = {"network": DECODER, "length": 32, "objective": LanguageSpec()} | more
        return compare(
            lab, preset_configuration(lab.catalog, "split", "pets", None, short(4, 0.01), wide, range(seeds), **asked)
        )

    found = [
        fine_tune(lab, network, PETS, wide, range(7), "texts"),
        fine_tune(lab, network, PETS, rates_of(wide, (0.001, 0.003, 0.01)), range(3), "rates on texts"),
        fine_tune(lab, network, PETS.but(shots=10), wide, range(8), "few texts", objective=F1),
        continued(7),
        continued(3, tune=TuneSpec.of(rates=3)),
        continued(8, tune=TuneSpec.of()),
    ]
    ended_all(lab, found)
    return found


def rates_of(arms: Sequence[Setting], rates: Sequence[float]) -> list[Setting]:
    """Each arm at each of these rates."""
    return [(optim.but(learning_rate=rate), method) for optim, method in arms for rate in rates]


def grown(lab: Lab, experiments: Sequence[Experiment]) -> None:
    """Read answers, and add seeds and ranks after looks; the last one is read again only once."""
    first, ranks, *others = experiments
    for experiment in (first, ranks):
        read(lab, experiment)
        lab.experiments.grow(experiment, pair(), range(10))
        ended_all(lab, [experiment])
    read(lab, first)
    lab.experiments.grow(first, [(short(3, 0.01), LoRASpec.of(rank=6))], range(10))
    ended_all(lab, [first])
    for experiment in others[:6]:
        read(lab, experiment)


def left(lab: Lab) -> list[Experiment]:
    """Experiments of which runs were stopped, of which some are archived, and of which a seed has failed."""
    base = next(run for run in lab.store.runs() if run.spec.role.value == "base" and run.spec.network == SMALL)
    stopped = fine_tune(lab, base, TURNED, pair(0.003, 0.011), range(8), "stopped")
    with braked():
        wait_until(lambda: any(run.step > 1 for run in lab.store.members(stopped)))
        lab.stop(*[run.id for run in lab.store.members(stopped) if run.spec.seed > 6])
    archived = fine_tune(lab, base, TURNED, pair(0.0031), range(8), "archived")
    ended_all(lab, [stopped, archived])
    last = next(run for run in lab.store.runs() if run.spec.role.value == "base" and run.spec.seed == 7)
    file = lab.settings.runs / last.id / NETWORK
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    failed = fine_tune(lab, base, TURNED, pair(0.0032), range(8), "a seed that failed", own_bases=True)
    ended_all(lab, [failed])
    file.write_bytes(content)
    lab.notes.archive([run.id for run in lab.store.members(archived) if run.spec.seed == 7])
    return [stopped, archived, failed]


def judged(lab: Lab, folder: Path, experiments: Sequence[Experiment]) -> None:
    """Results of every kind that others report, each looked at once."""
    for method in ("full", "lora"):
        for rate in RATES:
            for seed in range(7):
                saved(folder / "runs" / f"{method}-lr{rate:g}-seed{seed}", method, rate, seed)
    noise = random.Random(0)
    sweep = [
        {"name": f"{method}-lr{rate:g}-seed{seed}", "eval/accuracy": 0.8 + 0.02 * noise.random(), "epochs": 3}
        for method in ("full", "lora-r8")
        for rate in (1e-4, 3e-4, 1e-3)
        for seed in range(3)
    ]
    tables: dict[str, tuple[list[Given], dict[str, Any]]] = {
        "theirs": ([Given("a.csv", csv_of(rows_of()))], {}),
        "at ends": ([Given("b.csv", csv_of(rows_of(rates=(0.001, 0.00316))))], {}),
        "one rate": ([Given("c.csv", csv_of(rows_of(rates=(0.001,))))], {}),
        "three seeds": ([Given("d.csv", csv_of(rows_of(seeds=range(3))))], {}),
        "a margin": ([Given("e.csv", csv_of(rows_of()))], {"within": 3.0, "examples": 500}),
        "Trainer": (given([folder / "runs"]), ANSWERS),
        "names": ([Given("f.csv", csv_of(sweep))], {"in_names": "read", "evaluated": "validation", "unit": "fraction"}),
    }
    for place, experiment in enumerate(experiments):
        files = results_files(lab, experiment, "ours")
        tables[f"our own {place}"] = [Given(file, content) for file, content in files.items()], {}
    for name, (files, reading) in tables.items():
        found = gather(files, Reading.of(**reading))
        if found.questions:
            raise SystemExit(f"{name}: {found.questions}")
        judged_answer(lab, keep_results(lab, found, name))


def ended_all(lab: Lab, experiments: Sequence[Experiment]) -> list[Run]:
    """Wait until nothing more comes of these."""
    return [run for experiment in experiments for run in ended(lab, experiment)]


def pack(home: Path, file: Path) -> None:
    """Write a home folder as one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(path for path in home.rglob("*") if path.is_file() and path.name != ".lock"):
            archive.add(path, path.relative_to(home.parent))
    file.write_bytes(lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    home = folder / "home"
    settings = replace(Settings(home), threads=1, workers=2)
    with training_lab(settings) as lab:
        images = on_images(lab)
        print(len(lab.store.experiments()), "experiments", len(lab.store.runs()), "runs", flush=True)
        searches = on_searches(lab)
        print(len(lab.store.experiments()), "experiments", len(lab.store.runs()), "runs", flush=True)
        texts = on_texts(lab, folder)
        grown(lab, images)
        left(lab)
        for experiment in (*searches, *texts):
            read(lab, experiment)
        judged(lab, folder, [images[8], images[1], texts[0]])
        print(len(lab.store.experiments()), "experiments", len(lab.store.runs()), "runs", flush=True)
    with closing(sqlite3.connect(home / "lab.sqlite3")) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in ("owners", "staging", "deleted", "tracking", "backups", "damaged"):
        shutil.rmtree(home / name, ignore_errors=True)
    for path in (home / "runs").rglob("*"):
        if path.is_file() and path.name != PREDICTIONS:
            path.unlink()
    pack(home, folder / "home.tar.xz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
