"""One home folder with trained experiments on images and texts, made once for all tests that begin with one."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from core.engine.jobs.run_files import NETWORK
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.objectives.registry import CLASSIFICATION
from core.plan.search import tuned_arms
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Experiment, Run
from core.store.recovery import adopt
from core.store.run_file import write_run_file
from core.store.store import Store
from tests.conftest import BOTH, DIGITS, TURNED, compared, finish, short, wait_until
from tests.launching import fine_tune
from tests.text_home import PETS, import_tiny

FULL = (short(epochs=3, rate=0.001), FullSpec())
LORA_2, LORA_4 = ((short(epochs=3), LoRASpec.of(rank=rank)) for rank in (2, 4))
SWEPT = [(short(rate=rate), FullSpec()) for rate in (0.0005, 0.001)] + [
    (short(rate=rate), LoRASpec.of(rank=rank, alpha=alpha))
    for rank in (1, 4)
    for alpha in (8.0, 16.0)
    for rate in (0.005, 0.01)
]
"""The settings of the sweep."""

OTHERS = DIGITS.but(classes=(5, 6, 7, 8, 9))
"""The target of experiments on the base that knows the first five digits."""


@dataclass(frozen=True)
class TrainedHome:
    """The home folder and what is in it. Tests that write take a copy, in which everything has the same ids."""

    home: Path
    digest: str
    """Of the transformer."""

    plain: Experiment
    """Full and LoRA on digits that are turned by 45°, two seeds: the newest experiment."""
    sweep: Experiment
    """Settings of :data:`SWEPT` on the same base and task, two seeds."""
    tuned: Experiment
    """Full, LoRA of ranks 4 and 1, and head only at two learning rates each; two seeds with a base of their own."""
    split: Experiment
    """Full, LoRA of ranks 2 and 4 and DoRA of rank 4 on the last five digits after the first five, two seeds."""
    by_loss: Experiment
    """Full and LoRA of ranks 2 and 4 on the same task, with their base judged by loss; one seed."""
    by_macro_f1: Experiment
    """The same, judged by macro-F1."""
    one_seed: Experiment
    """Full and LoRA on the task of their base, the first five digits; one seed."""
    scratch: Experiment
    """Full fine-tuning, and training from scratch as its control; one seed."""
    alone: Experiment
    """LoRA of rank 2 in the second layer and nothing to compare it with, one seed."""
    one_layer: Experiment
    """LoRA of rank 2 in the second layer, and full fine-tuning; one seed."""
    stopped: Experiment
    """Full and LoRA, one seed, stopped while they trained and waited."""
    failed: Experiment
    """Full, one seed, whose base could not be read."""
    direct: Experiment
    """Texts: Full, LoRA and head only on the transformer as it was imported; three classes, one of them large."""
    after_source: Experiment
    """Texts: Full and LoRA on a base that was pretrained on the first two classes."""

    def copy(self, to: Path) -> Path:
        """Copy the home folder to a path at which there is none; return the path."""
        return Path(shutil.copytree(self.home, to))

    def bring(self, lab: Lab, *runs: str) -> list[Run]:
        """Bring runs on images, with the experiments that they are of, into the home folder of a lab; return them."""
        with closing(Store(self.home / "lab.sqlite3")) as store, store.transaction() as db:
            for id in runs:
                if (self.home / "runs" / id).exists():
                    shutil.copytree(self.home / "runs" / id, lab.settings.runs / id)
                else:  # it was stopped while it waited
                    (lab.settings.runs / id).mkdir(parents=True)
                    write_run_file(db, lab.settings.runs / id)
        adopt(lab.store, lab.settings.home)
        return [lab.store.run(id) for id in runs]


def make_trained_home(folder: Path) -> TrainedHome:
    """Train everything in ``folder/home``; the lab is closed again. Args: folder: an empty one."""
    lab = Lab(Settings(home=folder / "home"))
    lab.start()
    network = import_tiny(lab, folder / "tiny")
    own = short(epochs=4, rate=0.01, batch_size=16)
    arms = [(own, FullSpec()), (own.but(learning_rate=0.02), LoRASpec.of(rank=2)), (own, "head")]
    direct = fine_tune(lab, network, PETS, arms, range(2))
    after_source = compared(lab, "split", "pets", None, own, arms[:2], range(2), network=network)

    five = RunSpec.of(method="pretrain", task=DIGITS.but(classes=(0, 1, 2, 3, 4)), optim=FULL[0])
    (known,) = finish(lab, lab.launcher.launch(five).id)
    long = [(optim.but(epochs=200, batch_size=8), method) for optim, method in BOTH]
    stopped = fine_tune(lab, known, OTHERS, long, [0], "Stopped")
    wait_until(lambda: any(run.step for run in lab.store.members(stopped)))
    lab.stop(*stopped.runs)
    measured = [(CLASSIFICATION.but(measure=measure), measure) for measure in ("loss", "macro_f1")]
    bases = finish(lab, *(lab.launcher.launch(five.but(objective=objective)).id for objective, _ in measured))
    judged = [
        fine_tune(lab, base, OTHERS, [FULL, LORA_2, LORA_4], [0], f"By {measure}", objective=objective)
        for base, (objective, measure) in zip(bases, measured, strict=True)
    ]
    second = (short(), LoRASpec.of(rank=2, target_modules=("layers.2",)))
    alone = fine_tune(lab, known, OTHERS, [second], [0], "Alone")
    one_layer = fine_tune(lab, known, OTHERS, [second, FULL], [0], "One layer")
    scratch = fine_tune(lab, known, OTHERS, [FULL, (FULL[0], "scratch")], [0], "From scratch")
    one_seed = fine_tune(lab, known, known.spec.task, BOTH, [0], "One seed")
    split = fine_tune(lab, known, OTHERS, [FULL, LORA_2, LORA_4, (short(), DoRASpec.of(rank=4))], range(2), "Split")
    tried = tuned_arms([*BOTH, (short(), LoRASpec.of(rank=1)), (short(), "head")], 2)
    tuned = compared(lab, "rotation-45", "digits", None, short(rate=0.001), tried, range(2), own_bases=True)
    finish(lab, *(run.id for run in lab.store.runs()))
    failed = _failed(lab, known.id)

    base = lab.store.run(str(tuned.base))
    sweep = fine_tune(lab, base, TURNED, SWEPT, range(2), "Sweep, a to b")
    plain = compared(lab, "rotation-45", "digits", None, short(rate=0.001), BOTH, seeds=range(2))
    finish(lab, *sweep.runs, *plain.runs)
    early = {**dict.fromkeys(stopped.runs, "stopped"), **dict.fromkeys(failed.runs, "failed")}
    wrong = {
        run.id: (run.spec.label, run.state, run.cause)
        for run in lab.store.runs()
        if run.state != early.get(run.id, "finished")
    }
    assert not wrong, wrong
    assert plain.base == base.id
    lab.close()
    return TrainedHome(
        lab.settings.home,
        network.weights,
        plain,
        sweep,
        tuned,
        split,
        *judged,
        one_seed,
        scratch,
        alone,
        one_layer,
        stopped,
        failed,
        direct,
        after_source,
    )


def _failed(lab: Lab, base: str) -> Experiment:
    """An experiment of one run that failed, since its base was damaged meanwhile."""
    file = lab.settings.runs / base / NETWORK
    content = file.read_bytes()
    file.write_bytes(b"no tensors")
    failed = fine_tune(lab, lab.store.run(base), OTHERS, BOTH[:1], [9], "Failed")
    finish(lab, *failed.runs)
    file.write_bytes(content)
    return failed
