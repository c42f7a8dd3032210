"""The home folder of version 1 in ``home/``, and what that version said of it in ``expected.json``.

It was made once, with the code of commit 5a9927c, and is not made again: later versions must open it as it is.

    git worktree add /tmp/version-1 5a9927c
    cd /tmp/version-1 && PYTHONPATH=. python THIS_FILE FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from core.data.dataset import ImageDataset
from core.lab import Lab
from core.runs.record import Experiment
from core.settings import Settings
from core.spec import LoRASpec, ModelSpec, OptimSpec, RunSpec, TaskSpec
from core.study.compare import arms_of, chosen_arms, validation_of
from core.study.report import Table, report_of
from tests.launching import fine_tune

SMALL = ModelSpec.of(num_hidden_1=12, num_hidden_2=10, num_classes=10)
TURNED = TaskSpec.of(dataset="digits", rotation=45.0)


def settle(lab: Lab, *ids: str) -> None:
    while any(lab.store.run(id).is_live for id in ids):
        time.sleep(0.02)


def training(rate: float, epochs: int = 2) -> OptimSpec:
    return OptimSpec.of(learning_rate=rate, epochs=epochs, batch_size=64)


def own_dataset() -> ImageDataset:
    """Three classes of stripes: rows, columns and both."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 40)
    images = random.integers(0, 60, (120, 28, 28))
    images[labels != 1, ::4] += 150
    images[labels != 0, :, ::4] += 40
    images = images.clip(0, 255).astype(np.uint8)
    return ImageDataset("stripes", images[:90], labels[:90], images[90:], labels[90:], ("rows", "columns", "both"))


def report_text(lab: Lab, experiment: Experiment) -> dict[str, object]:
    report = report_of(lab, experiment, 1.0)
    tables = [
        part.frame.to_csv(index=False)
        for section in report.sections
        for part in section.parts
        if isinstance(part, Table)
    ]
    return {"question": report.question, "answer": report.answer, "warnings": report.warnings, "tables": tables}


def main(folder: Path) -> None:
    lab = Lab(replace(Settings(folder / "home"), checkpoint_seconds=0.2))
    lost = lab.launcher.launch(RunSpec.of(method="pretrain", model=SMALL, task=TaskSpec.of(), optim=training(0.003, 5)))
    failing = lab.launcher.launch(
        RunSpec.of(method="full", model=SMALL, task=TURNED, source=TaskSpec.of(), base=lost.id, optim=training(0.01))
    )
    lab.stop(lost.id)
    lab.start()
    settle(lab, failing.id)
    lab.catalog.keep(own_dataset(), "stripes")
    base = lab.launcher.launch(RunSpec.of(method="pretrain", model=SMALL, task=TaskSpec.of(), optim=training(0.003, 6)))
    settle(lab, base.id)
    arms = [
        (training(0.001), None),
        (training(0.005), LoRASpec.of(rank=1)),
        (training(0.005), LoRASpec.of(rank=4, scaling="alpha/sqrt(r)", target_modules=("layers.2", "layers.4"))),
        (training(0.01), "head"),
        (training(0.01), "biases"),
        (training(0.003), "scratch"),
    ]
    first = fine_tune(lab, base, TURNED, arms, range(3), "Digits, rotated 45°")
    sweep = fine_tune(lab, 
        base,
        TaskSpec.of(dataset="digits", invert=True),
        [(training(rate), lora) for rate in (0.001, 0.003, 0.01) for lora in (None, LoRASpec.of(rank=2))],
        range(2),
        "digits sweep",
    )
    own = lab.launcher.launch(
        RunSpec.of(method="pretrain", model=SMALL, task=TaskSpec.of(dataset="stripes"), optim=training(0.003))
    )
    varied = fine_tune(lab, base, TURNED, arms[:2], range(2), "a base for each seed", own_bases=True)
    settle(lab, own.id, *first.runs, *sweep.runs, *varied.runs)
    stopped = lab.launcher.launch(
        RunSpec.of(
            method="lora",
            model=SMALL,
            task=TURNED,
            source=TaskSpec.of(),
            base=base.id,
            lora=LoRASpec.of(),
            optim=OptimSpec.of(epochs=200, batch_size=1),
        )
    )
    while lab.store.run(stopped.id).step < 200:
        time.sleep(0.01)
    lab.stop(stopped.id)
    settle(lab, stopped.id)
    left = lab.launcher.launch(
        RunSpec.of(
            method="full",
            model=SMALL,
            task=TURNED,
            source=TaskSpec.of(),
            base=base.id,
            optim=OptimSpec.of(epochs=200, batch_size=1),
        )
    )
    while lab.store.checkpoint(left.id) is None:
        time.sleep(0.01)
    lab.shelf.set_tags(first.runs[0], ["reference", "café"])
    lab.shelf.add_tag(first.runs[1::6], "rank 1")
    lab.shelf.set_note(first.runs[0], "Full fine-tuning,\nthe first seed; see *the report*.")
    lab.shelf.archive([sweep.runs[-1]])
    lab.file(first.runs[1], "merged.safetensors")
    lab.close()

    lab = Lab(Settings(folder / "home"))
    runs = {}
    for entry in lab.search.entries([run.id for run in lab.store.runs()]):
        run, curve = entry.run, lab.store.curve(entry.run.id)
        runs[run.id] = {
            "spec": run.spec.to_json(),
            "label": run.spec.label,
            "arm": run.spec.arm,
            "state": run.state,
            "experiment": run.experiment,
            "step": run.step,
            "cause": run.cause,
            "result": asdict(run.result) if run.result else None,
            "files": lab.store.files(run.id),
            "states": [state for _, state in lab.store.transitions(run.id)],
            "log": [text for _, text in lab.store.log(run.id)],
            "losses": hashlib.sha256(curve.loss.tobytes() + curve.seconds.tobytes()).hexdigest(),
            "steps": len(curve.step),
            "epochs": len(curve.epochs),
            "note": entry.note,
            "tags": list(entry.tags),
            "archived": entry.run.archived,
        }
    experiments = {}
    for experiment in lab.store.experiments():
        arms = arms_of(lab.store.members(experiment))
        chosen = {arm.key for arm in chosen_arms(arms, validation_of(arms))}
        experiments[experiment.id] = {
            "name": experiment.name,
            "base": experiment.base,
            "runs": list(experiment.runs),
            "arms": {arm.key: [run.id for run in arm.runs] for arm in arms},
            "chosen": sorted(chosen),
            "report": report_text(lab, experiment),
        }
    expected = {"runs": runs, "experiments": experiments, "dataset": lab.catalog.load("stripes").class_names}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    lab.store.close()
    with sqlite3.connect(folder / "home" / "lab.sqlite3") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
