"""Choose what trains some runs: a bank if there is a fast step for them and it can be trusted, else autograd."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from core.data.task import Task
from core.errors import SpecError
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.run_spec import OptimSpec, RunSpec
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank
from core.training.bank.proof import fault_of
from core.training.one_by_one import OneByOne
from core.training.sharing import sharing, sharing_of
from core.training.stepper import Stepper

TRIED = ("cpu",)
"""Device types on which the tests have compared the fast step with autograd. On others it proves itself."""


def stepper_for(networks: Sequence[nn.Module], specs: Sequence[RunSpec], task: Task, source: Task | None) -> Stepper:
    """The stepper for these networks, by :data:`core.training.sharing.SHARING`.

    Args:
        networks: the networks, on the task's device.
        specs: the run of each.
        task: the task to train on.
        source: the task that the base was trained on, to measure forgetting.

    Raises:
        SpecError: the runs cannot be trained together.
    """
    if len({sharing_of(spec) for spec in specs}) > 1:
        raise SpecError("Runs of different kinds cannot be trained together: train these runs one by one.")
    optims, seeds = [spec.optim for spec in specs], [spec.seed for spec in specs]
    return stepper_of(networks, specs[0].kind, optims, seeds, task, source)


def stepper_of(
    networks: Sequence[nn.Module],
    kind: str,
    optims: Sequence[OptimSpec],
    seeds: Sequence[int],
    task: Task,
    source: Task | None = None,
) -> Stepper:
    """The stepper for networks of one method.

    Args:
        networks: the networks, on the task's device.
        kind: of their method.
        optims: training settings of each.
        seeds: seed of each.
        task: the task to train on.
        source: the task that the base was trained on, to measure forgetting.

    Raises:
        SpecError: they cannot be trained together, or are not what the method trains.
    """
    plain = not any(optim.beyond_plain_adam for optim in optims)
    step = sharing(kind, PerceptronSpec.name()).step if plain else "autograd"
    perceptrons = [network for network in networks if isinstance(network, MultilayerPerceptron)]
    if step != "autograd" and len(perceptrons) == len(networks):
        bank = Bank(perceptrons, [optim.learning_rate for optim in optims], seeds, task, source)
        if bank.step != step:
            raise SpecError(f"These networks are not what runs of the method {kind} train.")
        return bank
    if len(networks) > 1:
        raise SpecError("These runs have no step that trains several at once: train them one by one.")
    return AutogradStepper(networks[0], optims[0], task, seeds[0], source)


def proven(stepper: Stepper, specs: Sequence[RunSpec], prove: bool | None = None) -> tuple[Stepper, str | None]:
    """The stepper itself if its numbers are autograd's, else autograd for the same networks.

    Args:
        stepper: from :func:`stepper_for`, before its first step.
        specs: the run of each member.
        prove: whether a bank must prove itself; None for every device but those in :data:`TRIED`.

    Returns:
        The stepper to train with, and a sentence for the runs' logs if it is another one.

    Raises:
        MemoryError, RuntimeError: out of memory, see :func:`core.memory.is_out_of_memory`.
    """
    device = stepper.device
    if not isinstance(stepper, Bank) or not (device.type not in TRIED if prove is None else prove):
        return stepper, None
    fault = fault_of(stepper, [spec.optim.learning_rate for spec in specs], specs[0].optim.batch_size)
    if fault is None:
        return stepper, None
    alone = [
        AutogradStepper(network, spec.optim, stepper.task, spec.seed, stepper.source)
        for network, spec in zip(stepper.networks, specs, strict=True)
    ]
    return OneByOne(alone), f"The fast step {fault} on {device}, so this run was trained by autograd."
