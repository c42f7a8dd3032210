"""Many runs in every state, written directly to a store without training."""

from __future__ import annotations

import json

import numpy as np

from core.data.task_spec import TaskSpec
from core.methods.lora import LoRASpec
from core.run_spec import OptimSpec, RunSpec
from core.store.record import State
from core.store.store import Store
from core.training.sharing import bank_key
from tests.study.samples import RESULT, measured

STATES: list[State] = ["finished", "finished", "finished", "stopped", "failed", "interrupted"]
"""States of the runs, in turn; none is queued, so that no worker claims one."""

DATASETS = ["digits", "mnist", "fashion-mnist"]
PER_EXPERIMENT = 50


def write_many(store: Store, count: int) -> list[str]:
    """Write ``count`` runs: bases with experiments of fine-tune runs, some with notes and tags, some archived.

    Returns:
        Ids, the oldest first.
    """
    draw = np.random.default_rng(0)
    runs, transitions, tags, experiments, losses, epochs = [], [], [], [], [], []
    for number in range(count):
        place, at = number % PER_EXPERIMENT, 1e9 + number
        group, state = number // PER_EXPERIMENT, STATES[number % len(STATES)] if place else "finished"
        id, base, experiment = f"r-{number:08x}", f"r-{number - place:08x}", f"e-{group:08x}"
        source = TaskSpec.of(dataset=DATASETS[group % len(DATASETS)])
        task = source.but(rotation=45.0)
        if not place:
            spec = RunSpec.of(method="pretrain", task=source, seed=group)
            experiments.append((experiment, f"{source.dataset}, rotated {group}", at, id))
        else:
            lora = LoRASpec.of(rank=2 ** (place % 5)) if place % 2 else None
            optim = OptimSpec.of(learning_rate=0.001 * (1 + place % 4))
            spec = RunSpec.of(method=lora or "full", task=task, source=source, base=base, optim=optim, seed=place % 3)
        accuracy, seconds = float(draw.uniform(60, 99)), float(draw.uniform(1, 100))
        result = None
        if state in ("finished", "stopped"):
            files = {"adapter_bytes": 24_900} if spec.role == "adapter" else {"adapter_bytes": None}
            # As other orders than that of the accuracy; runs of earlier versions have no loss.
            more = {"macro_f1": 100 - accuracy / 2} | ({"loss": accuracy / 50} if number % 4 else {})
            result = json.dumps(measured(RESULT, accuracy=accuracy, seconds=seconds, **more, **files).to_dict())
        cause = f"Diverged at step {number}: the loss is no longer a finite number." if state == "failed" else None
        note = f"Note {number} with some words that say what was tried here." if number % 7 == 0 else ""
        about = (id, spec.to_json(), spec.kind, spec.base, bank_key(spec), state, experiment if place else None)
        runs.append((*about, at, at, at + 1, cause, result, 100, 100, seconds, int(number % 20 == 19), note))
        transitions += [(id, at + 0.1 * step, word) for step, word in enumerate(("queued", "running", state))]
        tags += [(id, f"tag {number % 10}")] if number % 3 == 0 else []
        curve = np.linspace(2, 0.1, 100)
        losses.append((id, 1, curve.astype("<f4").tobytes(), np.linspace(0.1, seconds, 100).astype("<f8").tobytes()))
        told = json.dumps({"validation_loss": 1.0, "validation_accuracy": accuracy})
        epochs += [(id, epoch, 50 * epoch, seconds * epoch / 2, 1.0, told) for epoch in (1, 2)]
    with store.transaction() as db:
        db.executemany(
            "INSERT INTO runs (id, spec, method, base, bank_key, state, experiment, owner, created, started, ended,"
            " cause, result, step, steps, seconds, archived, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'somebody', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            runs,
        )
        db.executemany("INSERT INTO transitions VALUES (?, ?, ?)", transitions)
        db.executemany("INSERT INTO tags VALUES (?, ?)", tags)
        db.executemany("INSERT INTO experiments (id, name, created, base) VALUES (?, ?, ?, ?)", experiments)
        db.execute("INSERT INTO members SELECT experiment, id FROM runs WHERE experiment IS NOT NULL")
        db.executemany("INSERT INTO losses VALUES (?, ?, ?, ?)", losses)
        db.executemany(
            "INSERT INTO epochs (run, epoch, step, seconds, train_loss, measures) VALUES (?, ?, ?, ?, ?, ?)", epochs
        )
    return [run[0] for run in runs]
