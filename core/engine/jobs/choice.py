"""Choose what trains some runs: a bank if there is a fast step for them and it can be trusted, else autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from core.data.examples import Task, TextExamples
from core.errors import SpecError
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec, RunSpec
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank
from core.training.bank.proof import fault_of
from core.training.frozen import FrozenBlocks, FrozenStates, texts_of
from core.training.parallel import ParallelSteppers
from core.training.sharing import has_fast_loss, sharing, sharing_of
from core.training.stepper import Stepper

TESTED_DEVICES = ("cpu",)
"""Device types on which the tests have compared the fast step with autograd. On others it proves itself."""


def stepper_for(
    networks: Sequence[nn.Module],
    specs: Sequence[RunSpec],
    task: Task,
    source: Task | None,
    look: Callable[[], None] = lambda: None,
) -> Stepper:
    """The stepper for these networks, by :data:`core.training.sharing.SHARING`.

    Args:
        networks: the networks, on the task's device.
        specs: the run of each.
        task: the task to train on.
        source: the task that the base was trained on, to measure forgetting.
        look: called every now and then while something is computed; an exception from it ends the work.

    Raises:
        SpecError: the runs cannot be trained together.
    """
    if len({sharing_of(spec) for spec in specs}) > 1:
        raise SpecError("Runs of different kinds cannot be trained together: train these runs one by one.")
    optims, seeds = [spec.optim for spec in specs], [spec.seed for spec in specs]
    objectives = [spec.objective for spec in specs]
    rates = [spec.method.tensor_rates for spec in specs]
    return stepper_of(networks, specs[0].kind, optims, seeds, task, source, look, objectives, rates)


def stepper_of(
    networks: Sequence[nn.Module],
    kind: str,
    optims: Sequence[OptimSpec],
    seeds: Sequence[int],
    task: Task,
    source: Task | None = None,
    look: Callable[[], None] = lambda: None,
    objectives: Sequence[ObjectiveSpec] = (),
    rates: Sequence[Mapping[str, float]] = (),
) -> Stepper:
    """The stepper for networks of one method.

    Args:
        networks: the networks, on the task's device.
        kind: of their method.
        optims: training settings of each.
        seeds: seed of each.
        task: the task to train on.
        source: the task that the base was trained on, to measure forgetting.
        look: called every now and then while something is computed; an exception from it ends the work.
        objectives: what each learns; empty for classification.
        rates: factors on the learning rate of some parameters of each, beside those of its head; empty for none.

    Raises:
        SpecError: they cannot be trained together, or are not what the method trains.
    """
    objectives = objectives or [CLASSIFICATION] * len(networks)
    rates = rates or [{}] * len(networks)
    is_plain = not any(rates) and not any(optim.beyond_plain_adam for optim in optims)
    plain = is_plain and has_fast_loss(objectives[0])
    step = sharing(kind, PerceptronSpec.name()).step if plain else "autograd"
    perceptrons = [network for network in networks if isinstance(network, MultilayerPerceptron)]
    if step != "autograd" and len(perceptrons) == len(networks):
        own, heads = [optim.learning_rate for optim in optims], [optim.head_rate for optim in optims]
        bank = Bank(perceptrons, own, seeds, task, source, objectives, heads)
        if bank.step != step:
            raise SpecError(f"These networks are not what runs of the method {kind} train.")
        return bank
    texts = texts_of(task, source)
    if len(networks) > 1 and not texts:
        raise SpecError("These runs have no step that trains several at once: train them one by one.")
    states = _states(networks, task, texts, look) if texts else [None] * len(networks)
    alone = [
        AutogradStepper(network, optim, task, seed, source, known, objective, own)
        for network, optim, seed, known, objective, own in zip(
            networks, optims, seeds, states, objectives, rates, strict=True
        )
    ]
    return ParallelSteppers(alone) if len(alone) > 1 else alone[0]


def _states(
    networks: Sequence[nn.Module], task: Task, texts: Sequence[TextExamples], look: Callable[[], None]
) -> list[FrozenStates | None]:
    """The states of each network's frozen blocks, computed once for networks that have the same."""
    made: list[FrozenStates] = []
    found: list[FrozenStates | None] = []
    for network in networks:
        frozen = FrozenBlocks.of(network, task.train.batch(slice(0, 2)))
        known = next((states for states in made if states.fits(network, frozen)), None)
        if known is None and frozen.count:
            known = FrozenStates(network, frozen, texts)
            made.append(known)
            known.compute(look)
        found.append(known)
    return found


def notes(stepper: Stepper, member: int, spec: RunSpec) -> list[str]:
    """Sentences for the log of a run: what is special in how it is trained.

    Args:
        stepper: trains it.
        member: its number in the stepper.
        spec: the run.
    """
    found = []
    used = [OptimSpec.model_fields[name].title or name for name in spec.optim.beyond_plain_adam]
    if used and sharing(spec.kind, spec.network.kind).step != "autograd":
        found.append(f"The fast step has no {_listed(used)}, so this run is trained by autograd, alone.")
    frozen = stepper.note(member) if isinstance(stepper, AutogradStepper | ParallelSteppers) else None
    if frozen:
        found.append(frozen)
    return found


def _listed(titles: Sequence[str]) -> str:
    *rest, last = [title.lower() for title in titles]
    return f"{', '.join(rest)} or {last}" if rest else last


def proven(stepper: Stepper, specs: Sequence[RunSpec], prove: bool | None = None) -> tuple[Stepper, str | None]:
    """The stepper itself if its numbers are autograd's, else autograd for the same networks.

    Args:
        stepper: from :func:`stepper_for`, before its first step.
        specs: the run of each member.
        prove: whether a bank must prove itself; None for every device but those in :data:`TESTED_DEVICES`.

    Returns:
        The stepper to train with, and a sentence for the runs' logs if it is another one.

    Raises:
        MemoryError, RuntimeError: out of memory, see :func:`core.memory.is_out_of_memory`.
    """
    device = stepper.device
    if not isinstance(stepper, Bank) or not (device.type not in TESTED_DEVICES if prove is None else prove):
        return stepper, None
    fault = fault_of(stepper, specs[0].optim.batch_size)
    if fault is None:
        return stepper, None
    alone = [
        AutogradStepper(network, spec.optim, stepper.task, spec.seed, stepper.source, objective=spec.objective)
        for network, spec in zip(stepper.networks, specs, strict=True)
    ]
    return ParallelSteppers(alone), f"The fast step {fault} on {device}, so this run was trained by autograd."
