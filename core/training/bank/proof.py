"""Compare the first steps of a bank with autograd, on a device where nobody has tried the fast step.

Every member does the same few steps in the bank and by autograd, each step from the bank's weights and optimiser state
before it, so that rounding does not accumulate. Compared are what a wrong gradient, a wrong update and a wrong
evaluation change: the losses, both moments of Adam, the updates, and the logits of validation images. Adam's update
hardly depends on the scale of a gradient, so weights alone would not show a wrong factor; the first moment does. On
CUDA the bank's steps are replays of the graph that training replays.

Rounding also decides on which side of zero a unit lies whose input is almost zero, and that changes a gradient by much
more than rounding. The images are therefore those whose units are farthest from zero.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from core.data.examples import ImageExamples
from core.errors import LabError
from core.memory import is_out_of_memory
from core.run_spec import OptimSpec
from core.training.autograd import AutogradStepper
from core.training.bank.adam import BETAS, EPSILON
from core.training.bank.bank import Bank
from core.training.checkpoint import TrainState

log = logging.getLogger(__name__)

STEPS = 3
"""Steps that are compared per batch size: the first of a CUDA graph's buffers, and two that reuse them."""

IMAGES = 1024
"""Training images of which the steps use the half that is farthest from zero."""

TOLERANCE = 1e-4
"""Maximum difference from autograd, relative to the sum of absolute values. Measured on a CPU, in float32,
with 1 and 5 members, 8 to 1024 units and batches of 1 to 512, the largest was 3e-5, and 3e-6 in batches of 64. A
gradient that is wrong by a factor of 1.001 differs by 1e-3."""

NOISE = 16
"""Where float32 itself costs more than that, as in the gradients of a network that already fits its data: maximum
difference as a multiple of the difference between autograd in float32 and in float64."""

_known: dict[Hashable, str | None] = {}
"""Results of this process."""

_one_at_a_time = threading.Lock()


def fault_of(bank: Bank, batch_size: int) -> str | None:
    """What is wrong with the fast step of a bank that has not trained yet; tried once per process and kind of bank.

    The bank's state and torch's random generators are the same afterwards, unless a fault was found: then the bank
    cannot be used any more, and its networks are as they were.

    Args:
        bank: the bank, before its first step.
        batch_size: images per step.

    Returns:
        None if its numbers are autograd's; else a predicate of the fast step, such as ``gave other numbers than
        autograd``.

    Raises:
        MemoryError, RuntimeError: out of memory, see :func:`core.memory.is_out_of_memory`.
    """
    n = bank.task.num_train
    batches = tuple(sorted({min(batch_size, n), n % batch_size} - {0}, reverse=True))
    key = _key(bank, batches)
    with _one_at_a_time:
        if key not in _known:
            _known[key] = _tried(bank, batches)
        return _known[key]


def _key(bank: Bank, batches: tuple[int, ...]) -> Hashable:
    """All that the kernels of a bank and their shapes depend on."""
    seeds, rates = list(bank.seeds), list(bank.rates)
    return (
        str(bank.device),
        batches,
        tuple((seeds.index(seed), rates.index(rate)) for seed, rate in zip(seeds, rates, strict=True)),
        any(rate != head for rate, head in rates),
        tuple(
            tuple((name, tuple(p.shape), p.dtype, p.requires_grad) for name, p in network.named_parameters())
            for network in bank.networks
        ),
    )


def _tried(bank: Bank, batches: Sequence[int]) -> str | None:
    """See :func:`fault_of`."""
    try:
        before = [bank.train_state(member) for member in range(bank.members)]
        for batch in batches:
            differing = next(_differences(bank, batch), None)
            if differing is not None:
                log.warning("The fast step differs from autograd on %s: %s", bank.device, differing)
                return "gave other numbers than autograd"
            bank.resume(before)
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, LabError):
            raise
        log.warning("The fast step failed on %s", bank.device, exc_info=error)
        return f"failed with {type(error).__name__}"
    return None


def _differences(bank: Bank, batch: int) -> Iterator[str]:
    """Do the steps of one batch size, and say of each value that differs from autograd's what it is."""
    pool = torch.randperm(bank.task.num_train, generator=torch.Generator().manual_seed(0))[:IMAGES].to(bank.device)
    task = replace(bank.task, train=ImageExamples(bank.task.train.all_pixels()[pool], bank.task.train.labels[pool]))
    rates = [rate for rate, _ in bank.rates]
    optims = [OptimSpec.of(learning_rate=rate, head_rate=head) for rate, head in bank.rates]
    alone = [AutogradStepper(copy.deepcopy(own), optim, task) for own, optim in zip(bank.networks, optims, strict=True)]
    seeds = list(dict.fromkeys(bank.seeds))
    orders = [seeds.index(seed) for seed in bank.seeds]
    for step in range(STEPS):
        before = _restart(alone, bank)
        clear = _clearest(alone, orders)
        picked = torch.arange(step * batch, (step + 1) * batch, device=bank.device) % clear.shape[1]
        rows = clear[:, None, picked]
        losses = bank.advance(pool[rows])[0]
        for member, (stepper, order, old) in enumerate(zip(alone, orders, before, strict=True)):
            own_rows = rows[order : order + 1]
            plain = stepper.advance(own_rows)[0, 0], stepper.train_state(0)
            if not torch.isfinite(plain[0]):
                continue  # nothing to compare with; training will report it
            own_rates = [rates[member] * factor for factor in stepper.optimizer.factors]
            gaps = _gaps(old, own_rates, (losses[member], bank.train_state(member)), plain)
            if all(gap <= TOLERANCE for gap in gaps.values()):
                continue
            exact = _in_float64(stepper, old)
            noise = _gaps(old, own_rates, plain, (exact.advance(own_rows.to(exact.device))[0, 0], exact.train_state(0)))
            for name, gap in gaps.items():
                if not gap <= TOLERANCE + NOISE * noise[name]:
                    yield f"step {step + 1}, member {member}, {name}: {gap:.1e}"
    _restart(alone, bank)
    for member, stepper in enumerate(alone):
        logits = bank.logits(member, bank.task, "validation")[0][:IMAGES]
        with torch.no_grad():
            plain_logits = stepper.network(bank.task.validation.all_pixels()[:IMAGES])
        if torch.isfinite(plain_logits).all() and not (gap := _gap(logits, plain_logits)) <= TOLERANCE:
            yield f"member {member}, logits: {gap:.1e}"


def _restart(alone: Sequence[AutogradStepper], bank: Bank) -> list[TrainState]:
    """Give each stepper the weights and the optimiser state that its member has in the bank; returns them."""
    before = [bank.train_state(member) for member in range(bank.members)]
    for stepper, own in zip(alone, before, strict=True):
        stepper.resume([own])
    return before


def _clearest(alone: Sequence[AutogradStepper], orders: Sequence[int]) -> Tensor:
    """For each data order the half of the images whose units are farthest from zero: (orders, images)."""
    margins = torch.stack([_margins(stepper.network, stepper.task.train.all_pixels()) for stepper in alone])
    nearest = [margins[[k for k, own in enumerate(orders) if own == order]].amin(0) for order in sorted(set(orders))]
    return torch.stack(nearest).argsort(1, descending=True)[:, : -(-margins.shape[1] // 2)]


def _in_float64(stepper: AutogradStepper, start: TrainState) -> AutogradStepper:
    """The same in float64, from these weights and this optimiser state; on the CPU for a device without float64."""
    device = torch.device("cpu") if stepper.device.type == "mps" else stepper.device
    x, y = stepper.task.train.all_pixels().to(device).double(), stepper.task.train.labels.to(device)
    network = copy.deepcopy(stepper.network).to(device).double()
    exact = AutogradStepper(network, stepper.optim, replace(stepper.task, train=ImageExamples(x, y)))
    exact.resume([start])
    return exact


@torch.no_grad()
def _margins(network: nn.Module, x: Tensor) -> Tensor:
    """Smallest input of a ReLU for each image, (n,), as a multiple of the mean absolute one of the same layer."""
    found = []

    def see(_: nn.Module, inputs: tuple[Tensor]) -> None:
        size = inputs[0].abs()
        found.append(size.amin(1) / size.mean())

    hooks = [module.register_forward_pre_hook(see) for module in network.modules() if isinstance(module, nn.ReLU)]
    network(x)
    for hook in hooks:
        hook.remove()
    return torch.stack(found).amin(0)


def _gaps(
    old: TrainState, rates: Sequence[float], own: tuple[Tensor, TrainState], other: tuple[Tensor, TrainState]
) -> dict[str, float]:
    """Differences of two results of one step, each relative to the sum of absolute values of the second.

    Updates are compared with what Adam (Kingma & Ba 2015, algorithm 1) makes of the same moments: where a gradient is
    all rounding, its sign and so the update is chance.

    Args:
        old: weights and moments before the step.
        rates: learning rate of each of these.
        own: loss, and weights and moments after it.
        other: the same, to compare with.
    """
    (loss, state), (other_loss, plain) = own, other
    gaps = {"loss": _gap(loss, other_loss, 1.0)}
    first_share, second_share = (1 - beta**plain.updates for beta in BETAS)
    for i, value in enumerate(old.values):
        gaps[f"first moment {i}"] = _gap(state.first[i], plain.first[i])
        gaps[f"second moment {i}"] = _gap(state.second[i], plain.second[i])
        scale = (state.second[i] / second_share).sqrt() + EPSILON
        update = state.first[i] / first_share / scale * -rates[i]
        # Weights are rounded, so their changes are not exact.
        rounding = torch.finfo(value.dtype).eps / TOLERANCE * (value.abs() + update.abs()).sum()
        gaps[f"update {i}"] = _gap(state.values[i] - value.to(update), update, float(rounding))
    return gaps


def _gap(own: Tensor, other: Tensor, more: float = 0.0) -> float:
    """Sum of absolute differences over the sum of absolute values, with ``more`` added; 0 for two zeros."""
    other = other.to(own.dtype).to(own.device)  # in this order, for devices without float64
    gap, scale = float((own - other).abs().sum()), float(other.abs().sum()) + more
    return gap and (gap / scale if scale else math.inf)
