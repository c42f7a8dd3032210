"""The home folder in ``home.tar.xz``, of the oldest version whose homes open, and what it said of it in
``expected.json.xz``.

It was made once, with the code of commit 3fc5ed74, and is not made again: later versions must open it as it is.

    git worktree add /tmp/oldest 3fc5ed74
    cd /tmp/oldest && OMP_NUM_THREADS=1 PYTHONPATH=. python THIS_FILE FOLDER

Its runs are on images, on texts and on language, from bases that were pretrained and from two networks that were
imported, with a search, a study, a base for each seed, and results that others report. One run was stopped, one failed,
two were interrupted after a checkpoint, and one is archived; some have tags and notes.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import shutil
import sqlite3
import sys
import tarfile
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.artifacts.artifacts import MERGED
from core.data.dataset import ImageDataset, LanguageDataset
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.plan.axes import VarySpec
from core.plan.configuration import preset_configuration
from core.plan.rate_grid import TuneSpec
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.study.arms.arm import arms_of
from core.study.arms.choice import chosen_arms
from core.study.report.answer import answer_of, is_study, study_of
from core.study.report.judged import judged_answer, keep_results
from tests.conftest import braked, copied, finish, short, training_lab, wait_until
from tests.judge.samples import csv_of, read, rows_of
from tests.searched_home import ended
from tests.text_home import DECODER, PETS, import_tiny
from tests.training.tiny_passages import network_of, passages, tokenizer_folder

SMALL = PerceptronSpec.of(num_hidden_1=2, num_hidden_2=5, num_classes=10)
DIGITS = TaskSpec.of(dataset="digits", shots=20)
TURNED = DIGITS.but(rotation=45.0)
TEXTS = short(2, 0.01, batch_size=32)
PAIR = [(short(2, 0.003), FullSpec()), (short(2, 0.01), LoRASpec.of(rank=1))]
LONG = OptimSpec.of(epochs=50, batch_size=2)

FILES = {".lock"}
FOLDERS = ("owners", "staging", "deleted", "tracking")
"""What only a running lab needs, and is left out."""


def stripes() -> ImageDataset:
    """Three classes of stripes: rows, columns and both."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 20)
    images = random.integers(0, 4, (60, 28, 28)) * 20
    images[labels != 1, ::4] += 150
    images[labels != 0, :, ::4] += 40
    images = images.clip(0, 255).astype(np.uint8)
    return ImageDataset("stripes", images[:40], labels[:40], images[40:], labels[40:], ("rows", "columns", "both"))


def make_images(lab: Lab) -> str:
    """Runs on images; returns the id of their base."""
    lab.catalog.keep(stripes(), "stripes")
    base = lab.launch(RunSpec.of(method="pretrain", network=SMALL, task=DIGITS, optim=short(6, 0.003)))
    own = SMALL.but(num_classes=3)
    lab.launch(RunSpec.of(method="pretrain", network=own, task=TaskSpec.of(dataset="stripes"), optim=short(2)))
    finish(lab, base.id)
    layers = LoRASpec.of(rank=2, scaling="alpha/sqrt(r)", target_modules=("layers.2", "layers.4"))
    others = [(short(2, 0.01), method) for method in (layers, DoRASpec.of(rank=1), "head", "biases", "scratch")]
    first = lab.fine_tune(base, TURNED, [*PAIR, *others], range(3), "Digits, *rotated* 45°")
    lab.fine_tune(base, TURNED, PAIR, range(2), "a base for each seed", own_bases=True)
    asked: dict[str, Any] = {"network": SMALL, "shots": 20, "trim": True}
    search = preset_configuration(
        lab.catalog, "rotation-45", "digits", None, short(3), PAIR, range(2), tune=TuneSpec.of(), **asked
    )
    ended(lab, lab.compare(search))
    varied = {"tune": TuneSpec.of(), "vary": VarySpec.of(name="epochs", points=(1, 2))}
    study = preset_configuration(
        lab.catalog, "rotation-45", "digits", None, short(3), PAIR, range(2), **varied, **asked
    )
    ended(lab, lab.compare(study))
    finish(lab, *(run.id for run in lab.runs()))
    lab.rename(first.id, "Digits, rotated 45°")
    whole, lora, *_, last = lab.members(first)
    lab.notes.set_tags(whole.id, ["reference", "café"])
    lab.notes.add_tag([run.id for run in lab.members(first) if run.spec.kind == "lora"], "adapter")
    lab.notes.set_note(whole.id, "Full fine-tuning,\nthe first seed; see *the report*.")
    lab.notes.archive([last.id])
    lab.artifacts.path(lora.id, MERGED)
    return base.id


def make_texts(lab: Lab, folder: Path) -> RunSpec:
    """Runs on texts; returns one of a network that was imported, to be interrupted."""
    network = import_tiny(lab, folder / "tiny")
    arms = [(TEXTS, FullSpec()), (TEXTS, LoRASpec.of(rank=1))]
    direct = lab.fine_tune(network, PETS, arms, range(1))
    pretraining = lab.networks.spec(network.weights)
    lab.compare(
        preset_configuration(lab.catalog, "split", "pets", None, TEXTS, arms, range(2), network=pretraining, length=16)
    )
    finish(lab, *(run.id for run in lab.runs()))
    return next(run.spec for run in lab.members(direct) if run.spec.kind == "lora")


def make_language(lab: Lab, folder: Path) -> None:
    """Runs on texts to continue: of a decoder that is pretrained here, and of one that was imported, on passages."""
    lab.compare(
        preset_configuration(lab.catalog, "split", "pets", None, TEXTS, PAIR, range(1), network=DECODER, length=32)
    )
    network_of("llama tied", dtype=torch.float32).save_pretrained(folder / "llama")
    for file in tokenizer_folder().iterdir():
        shutil.copy(file, folder / "llama")
    zeros = np.zeros(40, np.int64)
    lab.catalog.keep(LanguageDataset("passages", passages(40, 0), zeros, passages(40, 1), zeros), "passages")
    card = lab.networks.import_folder(folder / "llama", "tiny-llama")
    network = lab.networks.spec(card.digest, learns="language")
    task = TaskSpec.of(dataset="passages", length=24)
    lab.fine_tune(network, task, PAIR, range(1), forgetting=task.but(dataset="pets"))
    finish(lab, *(run.id for run in lab.runs()))


def make_unfinished(lab: Lab, base: str, on_texts: RunSpec) -> None:
    """Runs that did not end by themselves; the last two train when the lab is closed."""
    lost = lab.launch(RunSpec.of(method="pretrain", network=SMALL, task=DIGITS, optim=LONG, seed=5))
    failing = lab.launch(
        RunSpec.of(method="full", network=SMALL, task=TURNED, source=DIGITS, base=lost.id, optim=LONG, seed=5)
    )
    lab.stop(lost.id)
    finish(lab, lost.id, failing.id)
    full = RunSpec.of(method="full", network=SMALL, task=TURNED, source=DIGITS, base=base, optim=LONG)
    stopped = lab.launch(full.but(method=LoRASpec.of(rank=1)))
    wait_until(lambda: lab.run(stopped.id).step > 20)
    lab.stop(stopped.id)
    finish(lab, stopped.id)
    left = [lab.launch(full), lab.launch(on_texts.but(optim=on_texts.optim.but(epochs=200)))]
    wait_until(lambda: all(lab.store.checkpoint(run.id) is not None for run in left))


def make_judged(lab: Lab) -> None:
    """Results that others report, with a look at them."""
    found = keep_results(lab, read(csv_of(rows_of(rates=(0.000316, 0.001, 0.00316)))), "Theirs")
    lab.judged.set_note(found.id, "From *their* table.")
    assert judged_answer(lab, found).verdict.looks


def said(lab: Lab) -> dict[str, Any]:
    """Everything in a home folder."""
    runs = {}
    for entry in lab.search.entries([run.id for run in lab.runs()]):
        run, curve = entry.run, lab.curve(entry.run.id)
        runs[run.id] = {
            "spec": json.loads(run.spec.to_json()),
            "label": run.spec.label,
            "arm": run.spec.arm,
            "state": run.state,
            "experiment": run.experiment,
            "step": run.step,
            "cause": run.cause,
            "result": run.result.to_dict() if run.result else None,
            "files": lab.store.files(run.id),
            "states": [state for _, state in lab.history(run.id)],
            "log": [text for _, text in lab.log(run.id)],
            "losses": hashlib.sha256(curve.loss.tobytes() + curve.seconds.tobytes()).hexdigest(),
            "steps": len(curve.step),
            "epochs": len(curve.epochs),
            "note": entry.note,
            "tags": list(entry.tags),
            "archived": entry.run.archived,
        }
    experiments = {}
    for experiment in lab.experiments():
        members = lab.members(experiment)
        chosen = [] if is_study(experiment) else chosen_arms(members)
        experiments[experiment.id] = {
            "name": experiment.name,
            "base": experiment.base,
            "runs": list(experiment.runs),
            "trim": experiment.trim,
            "plan": experiment.plan and json.loads(experiment.plan),
            "arms": {arm.key: [run.id for run in arm.runs] for arm in arms_of(members)},
            "chosen": sorted(arm.key for arm in chosen),
            "looks": [asdict(look) for look in lab.looks.of(experiment.id)],
        }
    judged = {
        each.id: asdict(each) | {"looks": [asdict(look) for look in lab.looks.of(each.id)], "best": _best(lab, each)}
        for each in lab.judged.list()
    }
    networks = {card.digest: {"name": card.name, "files": card.files} for card in lab.networks.list()}
    kept = {name: lab.catalog.load(name) for name in ("stripes", "pets", "passages")}
    datasets = {
        name: {"kind": each.kind, "classes": each.class_names, "sizes": [len(each.train_labels), len(each.test_labels)]}
        for name, each in kept.items()
    }
    return {"runs": runs, "experiments": experiments, "judged": judged, "networks": networks, "datasets": datasets}


def _best(lab: Lab, judged: Any) -> str | None:
    found = judged_answer(lab, judged).verdict
    return found.best and found.best.arm.label


def pack(home: Path, file: Path) -> None:
    """Write the folder as one file, without what is left out."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(path for path in home.rglob("*") if path.is_file() and path.name not in FILES):
            archive.add(path, path.relative_to(home.parent))
    file.write_bytes(lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    home = folder / "home"
    settings = replace(Settings(home), threads=1, workers=2, checkpoint_seconds=0.1)
    with training_lab(settings) as lab:
        base = make_images(lab)
        on_texts = make_texts(lab, folder)
        make_language(lab, folder)
        make_judged(lab)
        for experiment in lab.experiments():  # whose looks are recorded as by the pages
            (study_of if is_study(experiment) else answer_of)(lab, experiment)
        with braked():
            make_unfinished(lab, base, on_texts)
            lab.close()
    with training_lab(settings) as lab:  # which marks what was left as interrupted
        wait_until(lambda: all(copied(lab, run.id) for run in lab.runs()))
    with closing(Lab(settings)) as lab:
        expected = said(lab)
    text = json.dumps(expected, indent=1, sort_keys=True) + "\n"
    (folder / "expected.json.xz").write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    with closing(sqlite3.connect(home / "lab.sqlite3")) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in FOLDERS:
        shutil.rmtree(home / name, ignore_errors=True)
    pack(home, folder / "home.tar.xz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
