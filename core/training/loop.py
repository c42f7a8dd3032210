"""The training loop for runs in lockstep, as a generator of events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import CheckpointError
from core.objectives.measure import SOURCE, VALIDATION
from core.run_spec import OptimSpec
from core.training.checkpoint import Checkpoint, Position
from core.training.evaluation import Evaluation
from core.training.schedule import is_evaluated
from core.training.stepper import Diverged, Done, EpochEnd, Event, StepLoss, Stepper, Stopped

FLUSH_SECONDS = 0.1
"""Interval between reports, at which losses are copied from the device and stops are noticed."""

SLOW_SECONDS = 1.0
"""The same for networks whose steps take longer than that: members that train on threads of their own wait for each
other at a report, and one after every step costs a tenth of the pace or more."""

FLUSH_STEPS = 1024
"""Maximum steps per report; high, so that fast steps do not report more often: pages need the GIL as well."""

FIRST_STEPS = 1
"""Steps before the first report, while their duration is unknown: a single one may take seconds."""


def data_order(examples: int, seed: int, epoch: int) -> Tensor:
    """The data order of one epoch: indices of shape (examples,).

    It depends on nothing else, so runs with the same seed share it, whatever their method, and a resumed run gets the
    same order again. No two epochs of any two seeds share one, since there are fewer than 1,024 epochs.
    """
    return torch.randperm(examples, generator=torch.Generator().manual_seed(seed * 1024 + epoch))


@dataclass
class _Progress:
    """Progress of one member."""

    optim: OptimSpec
    seconds: float = 0.0
    epoch_start: float = 0.0
    epoch_loss: float = 0.0
    best_loss: float = math.inf
    kept_epoch: int = 0
    stale: int = 0
    bank: int = 1
    best: list[Tensor] = field(default_factory=list)

    def resume(self, start: Checkpoint) -> None:
        """Continue from a checkpoint; its training time is added to the time spent preparing."""
        at = start.position
        self.epoch_start, self.seconds = at.epoch_start + self.seconds, at.seconds + self.seconds
        self.epoch_loss, self.best_loss = at.epoch_loss, at.best_loss
        self.kept_epoch, self.stale, self.best = at.kept_epoch, at.stale, list(start.best)
        self.bank = max(self.bank, at.bank)

    def checkpoint(self, stepper: Stepper, k: int, step: int, epoch: int, done: int) -> Checkpoint:
        """The checkpoint of this member at this step."""
        position = Position(
            step,
            epoch,
            done,
            self.seconds,
            self.epoch_start,
            self.epoch_loss,
            self.best_loss,
            self.kept_epoch,
            self.stale,
            stepper.threads if stepper.shards == 1 else 1,
            self.bank,
        )
        return Checkpoint(position, stepper.train_state(k), self.best)


def train(
    stepper: Stepper,
    optims: Sequence[OptimSpec],
    stop: Callable[[int], bool] = lambda member: False,
    spent: float = 0.0,
    due: Callable[[], bool] = lambda: False,
    starts: Sequence[Checkpoint] = (),
) -> Iterator[tuple[int, Event | Stopped | Diverged | Checkpoint]]:
    """Train, and yield events.

    The end of one member does not affect the others. Wall time is divided equally among the members still in training,
    so that the seconds of all members add up to the time that passed.

    Args:
        stepper: the members, their optimisers and their data.
        optims: the training settings of each member; they share batch size and epochs.
        stop: called for every member after each report, before each evaluation, and before each batch of one; True
            ends the member.
        spent: seconds that preparing the stepper took.
        due: called as often as ``stop``, and before it; True requests a checkpoint of every member in training.
        starts: the checkpoint of each member to resume from, all at the same step; empty to start from the first step.

    Yields:
        Pairs of member and event: StepLoss every tenth of a second, or every second where a step takes longer;
        EpochEnd after each epoch, without measures where none were taken; Checkpoint on request; and finally one of
        Done, Stopped or Diverged.

    Raises:
        CheckpointError: the checkpoints do not match the members.
    """
    epochs, batch_size = optims[0].epochs, optims[0].batch_size
    n = stepper.task.num_train
    full_steps, rest = divmod(n, batch_size)
    seeds = list(dict.fromkeys(stepper.seeds))
    live = {k: _Progress(optim, spent / len(optims), bank=len(optims)) for k, optim in enumerate(optims)}
    step, first_epoch, done, pace = 0, 1, 0, SLOW_SECONDS / FIRST_STEPS
    if starts:
        step, first_epoch, done = _resume(stepper, live, starts)
        yield from _stops(stepper, live, stop, step)  # some may have been resumed only to get their weights
    for epoch in range(first_epoch, epochs + 1):
        if not live:
            return
        examples = stepper.task.train
        orders = [examples.batched(data_order(n, seed, epoch), batch_size, epoch) for seed in seeds]
        order = torch.stack(orders).to(stepper.device)
        batches = order[:, : full_steps * batch_size].view(len(seeds), full_steps, batch_size)
        last = order[:, full_steps * batch_size :].unsqueeze(1)
        if not done:
            for progress in live.values():
                progress.epoch_loss, progress.epoch_start = 0.0, progress.seconds
        while live and done < full_steps + bool(rest):
            count = min(steps_at_once(pace), full_steps - done)
            rows = batches[:, done : done + count] if count else last
            clock = time.perf_counter()
            losses = stepper.advance(rows).cpu().numpy()  # the only synchronization with the device
            elapsed = time.perf_counter() - clock
            pace = elapsed / len(losses)
            for k, event in _reports(live, losses, step + 1, elapsed / len(live), rows.shape[2] / n):
                if isinstance(event, Diverged):
                    del live[k]
                    _end(stepper, k)
                yield k, event
            done += len(losses)
            step += len(losses)
            if due():
                for k, progress in live.items():
                    yield k, progress.checkpoint(stepper, k, step, epoch, done)
            yield from _stops(stepper, live, stop, step)
        # Evaluation changes no weights, so a checkpoint requested during it holds the state before it, for all members.
        before = {k: replace(progress) for k, progress in live.items()}
        for k in list(live):
            if k in live and not is_evaluated(live[k].optim, epoch):
                yield k, _epoch_end(live[k], {}, epoch, step, n)
                continue
            found = None
            while found is None and k in live:
                if due():
                    for other in live:
                        yield other, before[other].checkpoint(stepper, other, step, epoch, done)
                yield from _stops(stepper, live, stop, step)
                if k in live:
                    found = _evaluated(stepper, k, due, stop)
            if found is None:
                continue
            progress = live[k]
            yield k, _epoch_end(progress, _measured(stepper, k, progress, *found, epoch), epoch, step, n)
            if epoch == epochs or (progress.optim.patience and progress.stale >= progress.optim.patience):
                del live[k]
                if progress.best:
                    stepper.restore(k, progress.best)
                _end(stepper, k)
                if progress.best or math.isfinite(found[0].loss):
                    yield k, Done(epoch, progress.kept_epoch if progress.optim.keep == "best" else epoch)
                else:  # the last update has made the weights unusable, and no step after it has seen that
                    yield k, Diverged(step)
        done = 0


def steps_at_once(pace: float) -> int:
    """Steps until the next report. Args: pace: seconds per step, of all members together."""
    interval = FLUSH_SECONDS if pace < FLUSH_SECONDS else SLOW_SECONDS
    return min(FLUSH_STEPS, max(1, int(interval / pace)))


def _resume(stepper: Stepper, live: dict[int, _Progress], starts: Sequence[Checkpoint]) -> tuple[int, int, int]:
    """Restore every member from its checkpoint; returns the step, the epoch and the steps done in it."""
    positions = {(start.position.step, start.position.epoch, start.position.done) for start in starts}
    if len(positions) > 1 or len(starts) != len(live):
        raise CheckpointError("Runs in one bank must resume from the same step: train these separately.")
    stepper.resume([start.train_state for start in starts])
    for progress, start in zip(live.values(), starts, strict=True):
        progress.resume(start)
    return positions.pop()


def _stops(
    stepper: Stepper, live: dict[int, _Progress], stop: Callable[[int], bool], step: int
) -> Iterator[tuple[int, Stopped]]:
    """End the members that are to stop."""
    for k in [k for k in live if stop(k)]:
        del live[k]
        _end(stepper, k)
        yield k, Stopped(step)


def _end(stepper: Stepper, k: int) -> None:
    """Copy a member's weights into its network, and stop training it."""
    stepper.write_back(k)
    stepper.retire(k)


def _reports(
    live: dict[int, _Progress], losses: NDArray[np.float32], first_step: int, elapsed: float, weight: float
) -> Iterator[tuple[int, StepLoss | Diverged]]:
    """Report the losses of some steps, and update the members' progress.

    Args:
        live: the members in training.
        losses: (steps, members).
        first_step: number of the first of these steps.
        elapsed: each member's share of the time that the steps took.
        weight: batch size as a fraction of the epoch's examples.
    """
    for k, progress in list(live.items()):
        own = losses[:, k]
        seconds = progress.seconds + elapsed * np.arange(1, len(own) + 1) / len(own)
        progress.seconds += elapsed
        finite = np.isfinite(own)
        if not finite.all():
            bad = int(np.argmin(finite))  # later losses are meaningless
            yield k, StepLoss(first_step, own[: bad + 1], seconds[: bad + 1])
            yield k, Diverged(first_step + bad)
            continue
        # Summed sequentially, so that the result is bit-identical however the steps are grouped into reports.
        shares = np.concatenate([[progress.epoch_loss], own.astype(np.float64) * weight])
        progress.epoch_loss = float(np.add.accumulate(shares)[-1])
        yield k, StepLoss(first_step, own, seconds)


class _StoppedError(Exception):
    """A member is to stop while it is evaluated."""


def _evaluated(
    stepper: Stepper, k: int, due: Callable[[], bool], stop: Callable[[int], bool]
) -> tuple[Evaluation, Evaluation | None] | None:
    """Evaluate a member; None if it is to stop, which is looked for before each batch."""

    def look() -> None:
        due()  # whoever waits for checkpoints learns that training goes on; they are made after the evaluation
        if stop(k):
            raise _StoppedError

    try:
        return stepper.evaluate(k, look=look)
    except _StoppedError:
        return None


def _measured(
    stepper: Stepper, k: int, progress: _Progress, validation: Evaluation, source: Evaluation | None, epoch: int
) -> dict[str, float]:
    """The measures of an evaluation after an epoch by name, and the update of the member's best epoch."""
    if validation.loss < progress.best_loss:
        progress.best_loss, progress.kept_epoch, progress.stale = validation.loss, epoch, 0
        progress.best = stepper.trained(k) if progress.optim.keep == "best" else []
    else:
        progress.stale += 1
    found = {VALIDATION + name: value for name, value in validation.measures.items()}
    return found | {SOURCE + name: value for name, value in (source.measures if source else {}).items()}


def _epoch_end(progress: _Progress, measures: dict[str, float], epoch: int, step: int, n: int) -> EpochEnd:
    return EpochEnd(
        epoch=epoch,
        step=step,
        seconds=progress.seconds,
        train_loss=progress.epoch_loss,
        examples_per_second=n / max(progress.seconds - progress.epoch_start, 1e-9),
        measures=measures,
    )
