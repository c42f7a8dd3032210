"""Sends an experiment to a tracker in processes that are killed again and again: ``python -m tests.tracking.killed``.

Each process ends by SIGKILL at one of its next writes: before it, after it when nobody has seen the answer yet, or, in
a file of TensorBoard, in the middle of a record. The last one is left alone, and prints what it sent.
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
from core.tracking import tensorboard_tracker
from core.tracking.mlflow_tracker import MlflowTracker, imported
from core.tracking.registry import Target, target_of
from core.tracking.tensorboard_tracker import TensorBoardTracker

FEWEST, MOST = 3, 9
"""Writes of a process until it is killed; with the fewest it comes far enough that the next one gets further."""


CALLS = ("create_experiment", "create_run", "log_batch", "log_artifact", "set_tag", "set_terminated")
"""What writes to MLflow."""


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
        elif write is tensorboard_append:
            path, content, is_new = args[0], args[1], kwargs["is_new"]
            write(path, content[: rng.randrange(1, len(content))], is_new=is_new)
        return kill()

    return counted


tensorboard_append = tensorboard_tracker._append


def send(home: Path, experiment: str, target: Target) -> None:
    lab = Lab(Settings(home=home))
    print(lab.tracking.send(lab.experiment(experiment), target, lambda _: b"<html>report</html>"), flush=True)
    lab.store.close()


def main(home: Path, experiment: str, to: str, kills: int) -> None:
    target, rng = target_of(to), random.Random(0)
    TensorBoardTracker.batch = MlflowTracker.batch = 25
    if target.kind == "mlflow":
        imported()
    else:
        importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
    for _ in range(kills):
        if not (pid := os.fork()):
            left = [rng.randint(FEWEST, MOST)]
            if target.kind == "mlflow":
                client = imported().MlflowClient
                for name in CALLS:
                    setattr(client, name, killing(getattr(client, name), left, rng))
            else:
                tensorboard_tracker._append = killing(tensorboard_append, left, rng)
            send(home, experiment, target)
            os._exit(0)
        rng.random()
        _, status = os.waitpid(pid, 0)
        print("killed" if os.WIFSIGNALED(status) else "ended", flush=True)
    send(home, experiment, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
