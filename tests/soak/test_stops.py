"""Experiments stopped at random moments and finished: nothing is lost, and no step is trained twice."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.checkpoints import PREFIX
from core.store.record import Experiment
from tests.conftest import TURNED, finish, short
from tests.launching import fine_tune
from tests.soak.sizes import keep
from tests.soak.test_kills import (
    PRETRAIN,
    TEXTS,
    alone,
    attempts,
    check_ended,
    check_files,
    check_store,
    check_untouched,
    kind_of,
)
from tests.text_home import FIRST, LAST, PETS, decoder_base, import_tiny

pytestmark = pytest.mark.minutes

STOPS = 30

KINDS = ("images", "texts", "texts after a source", "language")
"""Of experiments."""

MOST = 3
"""Maximum number of stops of one experiment."""

LATEST = 4.0
"""Maximum seconds from the start of an experiment, or of what is left of it, to the stop."""

IMAGES = short(epochs=100, rate=0.001)


def launched(lab: Lab, kind: str, network: RunSpec, seed: int) -> Experiment:
    """An experiment whose base waits to be trained, too; or one on an imported network as it is."""
    adapters = [(IMAGES, FullSpec()), (IMAGES, LoRASpec.of(rank=2)), (IMAGES, LoRASpec.of(rank=8))]
    texts = [(TEXTS, FullSpec()), (TEXTS, LoRASpec.of(rank=2))]
    match kind:
        case "images":
            base = lab.launcher.launch(PRETRAIN.but(seed=seed, optim=IMAGES))
            return fine_tune(lab, base, TURNED, adapters, [seed, seed + 1])
        case "texts":
            return fine_tune(lab, network.network, PETS, texts, [seed, seed + 1])
        case "language":
            return fine_tune(lab, lab.launcher.launch(decoder_base(TEXTS, seed)), LAST, texts, [seed])
        case _:
            return fine_tune(lab, lab.launcher.launch(network.but(seed=seed)), LAST, texts, [seed])


@pytest.mark.timeout(1800)
def test_experiments_that_are_stopped_at_random_moments_are_finished(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"stops at moments of seed {seed}")
    chance, begun = random.Random(seed), time.monotonic()
    settings = Settings(home=tmp_path / "home", threads=1, checkpoint_seconds=0.5)
    lab = Lab(settings)
    lab.start()
    network = RunSpec.of(method="pretrain", network=import_tiny(lab, tmp_path / "tiny"), task=FIRST, optim=TEXTS)
    stopped: Counter[str] = Counter()
    ids: list[str] = []
    number = 0
    while number < STOPS:
        kind = min(KINDS, key=lambda kind: stopped[kind])
        experiment = launched(lab, kind, network, 10 * number)
        everything = [*([experiment.base] if experiment.base else []), *experiment.runs]
        ids += everything
        for _ in range(chance.randint(1, MOST)):
            time.sleep(chance.uniform(0, LATEST))
            lab.stop(*(run.id for run in lab.store.runs_of(everything) if run.is_live))
            left = [run for run in finish(lab, *everything) if run.state == "stopped"]
            check_store(settings)
            check_files(lab, settings)
            if not left:
                break
            number += 1
            stopped[kind] += 1
            rest = {run.id: run.step for run in lab.launcher.rest(everything).everything}
            assert rest == {run.id: run.step for run in left}  # each goes on from where it was
            assert lab.launcher.finish(everything) == len(left)
            assert {run.id: run.resumed_step for run in lab.store.runs_of(list(rest))} == rest
        finish(lab, *everything)

    assert sorted(run.id for run in lab.store.runs()) == sorted(ids)
    resumed = 0
    for run in lab.store.runs_of(ids):
        check_ended(lab, run, "stopped")
        assert not [name for name in lab.store.files(run.id) if name.startswith(PREFIX)]
        resumed += run.resumed_step > 0
    assert not list(settings.runs.rglob(f"{PREFIX}*"))
    # What is bit for bit the same in a bank and alone is the same as if it had never been stopped.
    for own in alone(lab, ids):
        check_untouched(lab, max(own, key=lambda run: len(lab.store.transitions(run.id))))
    assert resumed
    keep(
        "stops",
        stops=dict(stopped),
        runs=len(ids),
        went_on_from_a_checkpoint=resumed,
        most_attempts=max(attempts(lab, id) for id in ids),
        kinds=len({kind_of(run) for run in lab.store.runs_of(ids)}),
        seconds=round(time.monotonic() - begun),
    )
    lab.close()
