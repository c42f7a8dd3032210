"""Processes killed at random moments while they train a queue of runs: nothing is lost, duplicated or half written."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from core.files import sha256_of
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.checkpoints import PREFIX
from core.store.record import Run
from core.store.run_file import NAME
from tests.conftest import DIGITS, TURNED, finish, short, wait_until, weights_of
from tests.launching import fine_tune
from tests.soak.sizes import keep
from tests.text_home import DECODER, FIRST, LAST, PETS, decoder_base, import_tiny

pytestmark = pytest.mark.minutes

KILLS = 60

EPOCHS, TEXT_EPOCHS = (100, 60)
"""Of runs on images, and of those on texts."""

LATEST = 0.5
"""Maximum seconds from a start or a checkpoint to the kill."""

KINDS = ("pretrain", "full", "lora", "full on texts", "lora on texts", "full of language", "lora of language")
"""What :func:`kind_of` says of a run."""

MOMENTS = (*KINDS, None)
"""Kind of the run during whose training the kill comes; None for a kill during the start."""

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=EPOCHS, rate=0.001))


TEXTS = short(epochs=TEXT_EPOCHS, rate=0.01, batch_size=16)


def kind_of(run: Run) -> str:
    """The method, and whether it is a brought transformer that learns texts, or a language model."""
    if run.spec.network == DECODER:
        return f"{run.spec.kind} of language"
    return run.spec.kind if run.spec.network.brought is None else f"{run.spec.kind} on texts"


def work(settings: Settings, ready: Connection) -> None:
    """The process that is killed: start a lab, resume all runs, train."""
    lab = Lab(settings)
    ready.send("starts")
    lab.start()
    lab.launcher.finish([run.id for run in lab.store.runs(states=["interrupted"])])
    time.sleep(600)


class Processes:
    """Forks processes that have imported everything, so that they spend most of their time training."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("forkserver")
        later = ["sklearn.datasets", "torch._dynamo", "transformers"]  # what a lab imports when it trains
        self._context.set_forkserver_preload(["core.lab", *later, "tests.soak.test_kills"])

    def start(self) -> BaseProcess:
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(self._settings, there), daemon=True)
        process.start()
        there.close()
        with here:
            assert here.poll(60)
            here.recv()
        return process


def queue(reader: Lab, base: Run, text_base: Run, decoder: Run, seed: int) -> list[str]:
    """Runs of every method: two on their own, and banks of three and four; a transformer fine-tuned directly with two
    seeds, side by side where there are cores for it, and after a source task with one; and a language model.
    """
    pretrain = [
        reader.launcher.launch(PRETRAIN.but(seed=seed + k, optim=PRETRAIN.optim.but(keep="best"))).id for k in range(2)
    ]
    full_arm = [(short(epochs=EPOCHS, rate=0.001), FullSpec())]
    full = fine_tune(reader, base, TURNED, full_arm, range(seed, seed + 3), "full").runs
    arms = [(short(epochs=EPOCHS), LoRASpec.of(rank=rank)) for rank in (2, 8)]
    images = [*pretrain, *full, *fine_tune(reader, base, TURNED, arms, range(seed, seed + 2), "LoRA").runs]
    arms = [(TEXTS, FullSpec()), (TEXTS, LoRASpec.of(rank=2))]
    direct = fine_tune(reader, text_base.spec.network, PETS, arms, range(seed, seed + 2), "texts").runs
    later = [fine_tune(reader, own, LAST, arms, [seed], "texts after a source") for own in (text_base, decoder)]
    return [*images, *direct, *(id for experiment in later for id in experiment.runs)]


def check_store(settings: Settings) -> None:
    """Assert that any program can open the store, and that it is intact."""
    with closing(sqlite3.connect(settings.store)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_files(reader: Lab, settings: Settings) -> None:
    """Assert that every file in the store exists and is intact."""
    for run in reader.store.runs():
        for name, sha256 in reader.store.files(run.id).items():
            assert sha256_of(settings.runs / run.id / name) == sha256


@pytest.mark.timeout(1800)
def test_a_queue_of_runs_outlives_processes_that_are_killed_at_random_moments(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"kills at moments of seed {seed}")
    chance = random.Random(seed)
    settings = Settings(home=tmp_path / "home", threads=1, checkpoint_seconds=0.1, settle_seconds=0.2)
    processes, reader = Processes(settings), Lab(settings)
    begun = time.monotonic()
    network = import_tiny(reader, tmp_path / "tiny")
    text_base = RunSpec.of(method="pretrain", network=network, task=FIRST, optim=TEXTS.but(epochs=2))
    specs = (PRETRAIN.but(seed=1000), text_base, decoder_base(text_base.optim))
    bases = [reader.launcher.launch(spec).id for spec in specs]
    first = processes.start()
    wait_until(lambda: all(reader.store.run(id).state == "finished" for id in bases), 300)
    ids = queue(reader, *map(reader.store.run, bases), 0)

    killed: Counter[str] = Counter()
    process, rounds = first, 1
    for number in range(KILLS):
        # Sometimes during the start; else during training, each method in turn, after a checkpoint.
        if (wanted := MOMENTS[number % len(MOMENTS)]) is not None:
            if not unfinished(reader, ids, wanted):
                ids += queue(reader, *map(reader.store.run, bases), 100 * rounds)
                rounds += 1
            wait_for_checkpoint(reader, unfinished(reader, ids, wanted))
        time.sleep(chance.uniform(0, LATEST))
        running = [run for run in map(reader.store.run, ids) if run.state == "running"]
        process.kill()
        process.join()
        killed.update({kind_of(run) for run in running} or {"nothing in training"})
        check_store(settings)
        check_files(reader, settings)
        process = processes.start()
    wait_until(lambda: not any(run.is_live or run.state == "interrupted" for run in map(reader.store.run, ids)), 900)
    process.kill()
    process.join()

    assert sorted(run.id for run in reader.store.runs()) == sorted([*bases, *ids])
    resumed = 0
    for run in map(reader.store.run, ids):
        check_ended(reader, run, "interrupted")
        file = "network.safetensors" if run.spec.role != "adapter" else "adapter.zip"
        assert sorted(reader.store.files(run.id)) == sorted([file, "predictions.safetensors"])
        resumed += run.resumed_step > 0
    check_store(settings)
    check_files(reader, settings)
    with closing(Lab(replace(settings, settle_seconds=60.0))) as last:
        last.start()  # also recovers from the last process
        left = [path.name for path in settings.runs.rglob("*") if path.is_file()]
        assert not [name for name in left if name.startswith(PREFIX) or name.endswith(".part")]
        # Beside each result its predictions and a copy of what the store knows.
        assert Counter(left)[NAME] == len(ids) + len(bases) == len(left) / 3
        assert not list((settings.home / "staging").rglob("*.part"))
        assert sorted(last.networks.runs_from(network.weights)) == sorted(
            run.id for run in last.store.runs() if run.spec.network.brought
        )
        assert {path.name for path in settings.networks.iterdir()} == {network.weights, "partial"}
        assert not list((settings.networks / "partial").iterdir())
        # A member of full fine-tuning is a shard of its own, so even those of a bank end to the last bit; and so is
        # every transformer, with dropout, whatever is trained of it.
        disturbed = [max(own, key=lambda run: len(reader.store.transitions(run.id))) for own in alone(reader, ids)]
        for run in disturbed:
            check_untouched(last, run)
    assert resumed
    assert sum(killed.values()) >= KILLS
    assert set(killed) >= set(MOMENTS) - {None}
    keep(
        "kills",
        kills=KILLS,
        killed_while_training=dict(killed),
        runs=len(ids) + len(bases),
        ended_after_resume=resumed,
        most_attempts=max(attempts(reader, id) for id in ids),
        seconds=round(time.monotonic() - begun),
    )
    reader.close()


def attempts(lab: Lab, id: str) -> int:
    """How often a run has begun to train."""
    return [state for _, state in lab.store.transitions(id)].count("running")


def check_ended(lab: Lab, run: Run, disturbed: str) -> None:
    """Assert that a run has finished once, with its whole curve. Args: disturbed: the state that it may have had."""
    states = [state for _, state in lab.store.transitions(run.id)]
    assert states[-1] == "finished", (run.id, states, run.cause)
    assert Counter(states)["finished"] == 1
    assert set(states) <= {"queued", "running", disturbed, "finished"}
    check_curve(lab, run)


def check_curve(lab: Lab, run: Run) -> None:
    """Assert that the curve of a finished run has every step and epoch once."""
    curve = lab.store.curve(run.id)
    assert curve.step.tolist() == list(range(1, run.steps + 1))
    assert curve.epochs["epoch"].tolist() == list(range(1, run.spec.optim.epochs + 1))
    assert (np.diff(curve.seconds) > 0).all()


def check_untouched(lab: Lab, run: Run) -> None:
    """Assert that a run is the same as one that nothing has disturbed."""
    untouched = finish(lab, lab.launcher.launch(run.spec).id)[0]
    np.testing.assert_array_equal(lab.store.curve(run.id).loss, lab.store.curve(untouched.id).loss)
    assert weights_of(lab, run) == weights_of(lab, untouched) is not None


def unfinished(reader: Lab, ids: list[str], kind: str) -> list[str]:
    return [run.id for run in map(reader.store.run, ids) if kind_of(run) == kind and run.state != "finished"]


def wait_for_checkpoint(reader: Lab, ids: list[str]) -> None:
    """Wait until one of these runs writes a checkpoint, or all have ended."""

    def kept() -> set[str]:
        return {name for id in ids for name in reader.store.files(id) if name.startswith(PREFIX)}

    before = kept()
    wait_until(lambda: bool(kept() - before) or all(reader.store.run(id).state == "finished" for id in ids), 300)


def alone(reader: Lab, ids: list[str]) -> list[list[Run]]:
    """The runs of each kind that ends with the bits that it has alone; transformers by whether they have a source."""
    found: dict[tuple[str, bool], list[Run]] = {}
    for run in map(reader.store.run, ids):
        found.setdefault((kind_of(run), run.spec.source is None), []).append(run)
    return [runs for (kind, _), runs in found.items() if kind != "lora"]
