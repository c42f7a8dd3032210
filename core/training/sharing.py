"""What trains a run, and which runs can be trained together: the one place that says so.

To add a method, add a line to :data:`SHARING`. What has no line is trained by autograd, alone; so are all networks but
perceptrons and transformers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from core.data.task_spec import TaskSpec
from core.errors import DeviceError
from core.networks.causal import CausalSpec
from core.networks.decoder import DecoderSpec
from core.networks.perceptron import PerceptronSpec
from core.networks.transformer import TransformerSpec
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import RunSpec
from core.settings import choose_device
from core.training.threads import available_cores

Step = Literal["full", "low-rank", "autograd"]
"""What computes a step: a shard of :class:`core.training.bank.bank.Bank` with every weight trained, one with adapters
on frozen weights, perhaps but for the last layer, or autograd."""


@dataclass(frozen=True)
class Sharing:
    """How runs of one kind are trained."""

    step: Step
    together: int
    """Maximum number of runs per bank."""


FULL_BANK = 8
"""Maximum number of full fine-tuning runs per bank; larger banks do not train faster per run."""

LORA_BANK = 32
"""Maximum number of LoRA runs per bank."""

AUTOGRAD_BANK = 8
"""Maximum number of runs that autograd trains side by side; the memory of each is its own."""

ALONE = Sharing("autograd", 1)

TOKENS = tuple(family.name() for family in (TransformerSpec, CausalSpec, DecoderSpec))
"""Kinds of the networks that read tokens, which train side by side."""

SHARING = {
    "pretrain": Sharing("full", FULL_BANK),
    "full": Sharing("full", FULL_BANK),
    "scratch": Sharing("full", FULL_BANK),
    "lora": Sharing("low-rank", LORA_BANK),
    "head": ALONE,
    "biases": ALONE,
}
"""How runs on a perceptron are trained, by the kind of their method."""


def sharing(kind: str, network: str) -> Sharing:
    """How runs are trained: as :data:`SHARING` says on a perceptron, else by autograd.

    Transformers train side by side: two that share the cores do a sixth more than one on both of them. Of those that
    people import, which are large, there is one per core; of small ones there may be more, so that none is left over.

    Args:
        kind: of the method.
        network: kind of the network.
    """
    if network in TOKENS:
        cores = available_cores()
        small = network == DecoderSpec.name() and cores > 1
        return Sharing("autograd", AUTOGRAD_BANK if small else min(cores, AUTOGRAD_BANK))
    return SHARING.get(kind, ALONE) if network == PerceptronSpec.name() else ALONE


def has_fast_loss(objective: ObjectiveSpec) -> bool:
    """Whether the fast step of perceptrons computes the loss of an objective: it has that of classification alone."""
    return objective.kind == CLASSIFICATION.kind


def sharing_of(spec: RunSpec) -> Sharing:
    """How a run is trained; on a perceptron by autograd if it needs more than the fast step has."""
    own = sharing(spec.kind, spec.network.kind)
    if own.step == "autograd":
        return own if _is_on_cpu(spec) else ALONE  # a GPU is busy with one
    is_plain = not spec.optim.beyond_plain_adam and not spec.method.tensor_rates
    return own if is_plain and has_fast_loss(spec.objective) else ALONE


def _is_on_cpu(spec: RunSpec) -> bool:
    try:
        return choose_device(spec.device).type == "cpu"
    except DeviceError:  # every machine has a CPU: this is a device of a cluster's nodes, or of another machine
        return False


UNDIVIDED = 3
"""Runs that take one turn: one that is left over would train alone, and take nearly as long as two side by side."""


def turn_of(count: int) -> int:
    """How many runs of a method are trained at once at most, where the methods of an experiment take turns.

    Half of them where they are many, so that each method has two turns, and their curves can be compared meanwhile.

    Args:
        count: number of the method's runs in the experiment.
    """
    return count if count <= UNDIVIDED else -(-count // 2)


def bank_key(spec: RunSpec) -> str:
    """Key of the bank: equal for runs that can be trained together.

    They may differ in seed, learning rate, patience, what to keep, and the method's settings, and in the base where
    each seed has one of its own; not in the learning rate of a head. The store has the keys of queued runs, so the key
    of a spec must not change: newer settings are part of it only where they are used.
    """
    values = spec.model_dump(mode="json", include={"network", "task", "source", "base", "device"})
    if spec.own_base:
        values["base"] = spec.start
    for task in filter(None, (values["task"], values["source"])):
        if task["length"] == TaskSpec.model_fields["length"].default:
            del task["length"]  # which tasks did not have when the first keys were stored
    values |= {"method": spec.kind, "batch_size": spec.optim.batch_size, "epochs": spec.optim.epochs}
    values |= spec.optim.beyond_plain_adam
    values |= spec.optim.model_dump(include={"head_rate"}) | ({"head": spec.head} if spec.head else {})
    values |= spec.learned
    values |= {"tensor_rates": rates} if (rates := dict(spec.method.tensor_rates)) else {}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
