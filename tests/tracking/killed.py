"""Sends an experiment to a tracker in processes that are killed again and again: ``python -m tests.tracking.killed``.

Each process ends by SIGKILL at one of its next writes: before it, or after it when nobody has seen the answer yet. The
last one is left alone, and prints what it sent.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.lab import Lab
from core.settings import Settings
from core.tracking.tracker import Tracker
from core.tracking.tracking import tracker_of
from tests.tracking.readers import mlflow

FEWEST, MOST = 8, 14
"""Writes of a process until it is killed; with the fewest it comes far enough that the next one gets further."""

CALLS = ("create_experiment", "create_run", "update_run", "delete_run", "log_artifact", "set_tag", "set_terminated")
"""What writes to MLflow, beside the batches of metrics."""

BATCH = 50
"""Metrics in a batch."""


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killing(write: Callable[..., Any], left: list[int], rng: random.Random) -> Callable[..., Any]:
    """A function that writes, until no write is left."""

    def counted(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] > 0:
            return write(*args, **kwargs)
        if rng.random() < 0.5:
            write(*args, **kwargs)
        return kill()

    return counted


def send(home: Path, experiment: str, tracker: Tracker) -> None:
    lab = Lab(Settings(home=home))
    print(
        "sent",
        lab.tracking.experiment(lab.store.experiment(experiment), tracker, lambda _: b"<html>report</html>"),
        flush=True,
    )
    lab.store.close()


def main(home: Path, experiment: str, to: str, kills: int) -> None:
    tracker, rng = tracker_of(to), random.Random(0)
    if tracker.kind == "mlflow":
        client = mlflow().MlflowClient
        importlib.import_module("mlflow.tracking._tracking_service.client").MAX_METRICS_PER_BATCH = BATCH
        store = importlib.import_module("mlflow.store.tracking.sqlalchemy_store").SqlAlchemyStore
    else:
        importlib.import_module("torch.utils.tensorboard")
    for _ in range(kills):
        if not (pid := os.fork()):
            if tracker.kind == "mlflow":
                left = [rng.randint(FEWEST, MOST)]
                for owner, name in [*((client, name) for name in CALLS), (store, "log_batch")]:
                    setattr(owner, name, killing(getattr(owner, name), left, rng))
            else:
                left = [rng.randint(1, 4)]
                for owner, name in ((os, "fsync"), (Path, "unlink"), (Path, "replace")):
                    setattr(owner, name, killing(getattr(owner, name), left, rng))
            send(home, experiment, tracker)
            os._exit(0)
        rng.random()
        _, status = os.waitpid(pid, 0)
        print("killed" if os.WIFSIGNALED(status) else "ended", flush=True)
    send(home, experiment, tracker)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
