"""A lab whose disk becomes full at bad moments; prints results as JSON. Run by ``test_full_disk.py``.

It trains perceptrons on digits, language models, or transformers on texts, one of which is imported on a full disk
first. The disk is a small file system that a file fills up, or a limit on file sizes, which any user may set.
"""

from __future__ import annotations

import json
import logging
import resource
import shutil
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from core.engine.jobs.run_files import NETWORK
from core.errors import LabError
from core.files import sha256_of
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.networks.decoder import DecoderSpec
from core.networks.transformer import TransformerSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Run
from core.store.run_file import NAME as COPY
from tests.conftest import DIGITS, finish, short, wait_until
from tests.networks.tiny import save_tiny
from tests.text_home import PETS, decoder_base, import_tiny, pets

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 256, "max_position_embeddings": 512}
"""Of a transformer that is about as large as the perceptron: 0.6 MB."""


DECODER = DecoderSpec.of(width=64, blocks=2, heads=2, feed_forward=256)
"""A language model of the same size."""


class Pretrained:
    """A network that is pretrained here: a base, and others that are stopped."""

    def __init__(self, quick: RunSpec) -> None:
        self.quick, self.long = quick, quick.but(optim=quick.optim.but(epochs=200))
        self.last = self.long
        """The one whose store cannot be written."""


class Texts:
    """A transformer that is imported: fine-tuned directly, in full, and at last with LoRA; with dropout."""

    def __init__(self, network: TransformerSpec) -> None:
        optim = short(rate=0.001, batch_size=16)
        self.quick = RunSpec.of(method="full", network=network, task=PETS, optim=optim)
        self.long = self.quick.but(optim=optim.but(epochs=200))
        self.last = self.long.but(method=LoRASpec.of(rank=8))


class Disk:
    """A small separate file system."""

    def __init__(self, home: Path) -> None:
        self._filler = home / "filler"

    def fill(self, left: int) -> None:
        """Leave this many bytes free."""
        with self._filler.open("wb") as file, suppress(OSError):  # the lab writes at the same time
            while (more := shutil.disk_usage(self._filler.parent).free - left) > 0:
                file.write(bytes(more))
                file.flush()

    def free(self) -> None:
        self._filler.unlink()


class Limit:
    """A limit on the size of every file, instead of a separate file system."""

    def fill(self, left: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (left, resource.RLIM_INFINITY))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def stopped(lab: Lab, id: str) -> Run:
    """Let a run train a little longer, stop it, and return it with its result."""
    wait_until(lambda: lab.store.run(id).state == "running" and lab.store.run(id).step > lab.store.run(id).resumed_step)
    lab.stop(id)
    return finish(lab, id)[0]


def about(lab: Lab, run: Run) -> dict[str, Any]:
    steps = lab.store.curve(run.id).step.tolist()
    return {
        "state": run.state,
        "cause": run.cause,
        "log": [text for _, text in lab.store.log(run.id) if not text.startswith("Forecast: ")],
        "step": run.step,
        "whole": steps == list(range(1, run.step + 1)),
        "resumed_step": run.resumed_step,
    }


def readable(lab: Lab, base: Run) -> bool:
    """Whether files that were complete before are unchanged."""
    return (
        lab.store.run(base.id) == base
        and lab.store.files(base.id)[NETWORK] == sha256_of(lab.artifacts.path(base.id, NETWORK))
        and len(lab.store.curve(base.id).step) == base.steps
    )


def brought(lab: Lab, disk: Disk | Limit, scratch: Path, found: dict[str, Any]) -> TransformerSpec:
    """Import a network while the disk becomes full, and again once it is not."""
    folder = save_tiny(scratch, **SIZES)
    begun: list[float] = []

    def fill(share: float) -> None:
        if not begun:
            empty_log(lab)
            disk.fill(50_000)  # enough for the texts among its files
            begun.append(share)

    try:
        lab.networks.import_folder(folder, progress=fill)
    except LabError as error:
        found["bring during"] = str(error)
    found["bring left"] = [str(path) for path in lab.settings.networks.rglob("*") if path.is_file()]
    found["bring known"] = len(lab.networks.list())
    disk.free()
    return import_tiny(lab, scratch.with_name("again"), **SIZES)


def main(home: Path, kind: str, data: str) -> dict[str, Any]:
    """Args:
    home: an empty folder, on the small disk if there is one.
    kind: ``disk`` or ``limit``.
    data: ``digits``, ``language`` or ``texts``.
    """
    disk = Disk(home) if kind == "disk" else Limit()
    lab = Lab(Settings(home=home / "lab", threads=1, checkpoint_seconds=0.1))
    lab.start()
    found: dict[str, Any] = {}
    specs: Pretrained | Texts
    if data == "digits":
        specs = Pretrained(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001)))
    elif data == "language":
        lab.catalog.keep(pets(), "pets")
        specs = Pretrained(decoder_base(short(rate=0.001, batch_size=16)).but(network=DECODER))
    else:
        specs = Texts(brought(lab, disk, home / "tiny", found))
    base = finish(lab, lab.launcher.launch(specs.quick).id)[0]

    # A checkpoint has 1.6 MB; the store's writes have a few kilobytes.
    id = lab.launcher.launch(specs.long).id
    wait_until(lambda: lab.store.checkpoint(id) is not None)
    empty_log(lab)
    disk.fill(1_200_000)
    wait_until(lambda: any("checkpoint" in text for _, text in lab.store.log(id)))
    kept = lab.store.checkpoint(id)
    assert kept is not None
    found["checkpoint readable"] = readable(lab, base) and sha256_of(lab.settings.runs / id / kept[0]) == kept[1]
    step = lab.store.run(id).step
    wait_until(lambda: lab.store.run(id).step > step)
    found["checkpoint during"] = about(lab, lab.store.run(id))
    disk.free()
    wait_until(lambda: lab.store.checkpoint(id) != kept)
    found["checkpoint after"] = about(lab, stopped(lab, id))

    # The network file of a run has 0.5 MB.
    empty_log(lab)
    disk.fill(300_000)
    id = lab.launcher.launch(specs.quick.but(seed=1)).id
    found["result during"] = about(lab, finish(lab, id)[0])
    # The copy of what the store knows fits, and may have been written by now.
    found["result files"] = sorted({path.name for path in (lab.settings.runs / id).iterdir()} - {COPY})
    found["result readable"] = readable(lab, base)
    disk.free()
    lab.launcher.finish([id])
    found["result after"] = about(lab, finish(lab, id)[0])

    # No space at all.
    id = lab.launcher.launch(specs.last.but(seed=2)).id
    wait_until(lambda: lab.store.checkpoint(id) is not None)
    empty_log(lab)
    disk.fill(0)
    time.sleep(2.0)
    found["store readable"] = readable(lab, base)
    disk.free()
    wait_until(lambda: lab.store.run(id).state == "interrupted")
    found["store during"] = about(lab, lab.store.run(id))
    lab.launcher.finish([id])
    found["store after"] = about(lab, stopped(lab, id))
    found["next"] = about(lab, finish(lab, lab.launcher.launch(specs.quick.but(seed=3)).id)[0])
    lab.close()
    with closing(sqlite3.connect(lab.settings.store)) as db:
        found["integrity"] = db.execute("PRAGMA integrity_check").fetchone()[0]
    found["left over"] = [path.name for path in lab.settings.home.rglob("*.part")]
    return found


def empty_log(lab: Lab) -> None:
    """Move the store's write-ahead log into its file, since it would take up the remaining space."""
    lab.store.rows("PRAGMA wal_checkpoint(TRUNCATE)")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    print(json.dumps(main(Path(sys.argv[1]), *sys.argv[2:])))
