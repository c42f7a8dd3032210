"""Run specs: the complete definition of a run, made of a method, a network, a task and how it is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from core.data.dataset import LANGUAGE
from core.data.task_spec import TaskSpec
from core.methods.method import MethodSpec, Role
from core.methods.registry import AnyMethod
from core.networks.network import NetworkSpec
from core.networks.perceptron import PerceptronSpec
from core.networks.registry import AnyNetwork
from core.objectives.registry import CLASSIFICATION, AnyObjective
from core.spec import Device, Spec

Decay = Literal["constant", "linear", "cosine"]
Precision = Literal["float32", "bfloat16"]
Head = Literal["whole"]


class OptimSpec(Spec):
    """Settings of training with Adam on mini-batches.

    The default of a field is what runs had before there was the field; what suits a family is in :func:`default_optim`.
    """

    learning_rate: float = Field(0.001, gt=0, le=1.0, title="Learning rate", description="Learning rate of Adam.")
    batch_size: int = Field(
        64,
        ge=1,
        le=8192,
        title="Batch size",
        description="Examples per step. On rotated digits, for equal epochs, LoRA of rank 1 fell 2.1 points further "
        "behind full fine-tuning from batches of 16 to 256, and rank 16 did not (docs/studies).",
    )
    epochs: int = Field(
        10,
        ge=1,
        le=1000,
        title="Epochs",
        description="Passes over the training part. On rotated digits LoRA of rank 16 was 8.2 points behind full "
        "fine-tuning after 1 epoch, 2.4 after 10 and 1.06 after 100 (docs/studies).",
    )
    patience: int = Field(
        0,
        ge=0,
        le=200,
        title="Patience",
        description="Stop after this many epochs without a lower validation loss; 0 disables early stopping.",
    )
    keep: Literal["last", "best"] = Field(
        "last", title="Keep", description="Weights to keep: those of the last epoch, or of the best by validation loss."
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        le=1.0,
        title="Weight decay",
        description="Decoupled decay of AdamW: each step shrinks every trained matrix, but no bias and no norm, by "
        "this times the rate.",
    )
    warmup: float = Field(
        0.0,
        ge=0,
        le=0.5,
        title="Warm-up",
        description="Share of all steps over which the learning rate rises from 0.",
    )
    decay: Decay = Field(
        "constant",
        title="Decay",
        description="How the learning rate falls after the warm-up: not at all, or linearly or as a cosine to 0 at the "
        "end of the last epoch.",
    )
    clip: float = Field(
        0.0,
        ge=0,
        le=1000,
        title="Gradient clipping",
        description="Maximum norm of the gradient of all weights together; 0 does not clip.",
    )
    accumulation: int = Field(
        1,
        ge=1,
        le=1024,
        title="Accumulation",
        description="Parts that a batch is computed in, one after the other, for one update. More parts need less "
        "memory and give the same step.",
    )
    head_rate: float | None = Field(
        None,
        gt=0,
        le=1.0,
        exclude_if=lambda rate: rate is None,  # so that specs and copies are those of versions without it
        title="Learning rate of the head",
        description="Of a head that is trained whole, since the network has not learned these classes: the same for "
        "all methods. Of one that the weights came without it may be empty (0 in forms), for that of the method.",
    )
    precision: Precision = Field(
        "float32",
        title="Precision",
        description="Number format of the matrix products in training. bfloat16 is faster where the processor has "
        "instructions for it, and several times slower elsewhere; which is faster here stands beside the cost. "
        "Weights, and all of the evaluation, stay in float32.",
    )
    recompute: bool = Field(
        False,
        exclude_if=lambda recompute: not recompute,  # as in versions without it
        title="Recomputed activations",
        description="Keep only what enters each block of a transformer, and compute the rest again for gradients: "
        "MiniLM with LoRA on four texts of 128 tokens took 52 MiB instead of 145, and 1.45 times as long.",
    )

    @model_validator(mode="after")
    def _parts_are_not_empty(self) -> Self:
        if self.accumulation > self.batch_size:
            raise ValueError(
                f"A batch of {self.batch_size} cannot be computed in {self.accumulation} parts: choose fewer."
            )
        return self

    @property
    def part_size(self) -> int:
        """Examples that are computed at once; see ``accumulation``."""
        return -(-self.batch_size // self.accumulation)

    @property
    def beyond_plain_adam(self) -> dict[str, Any]:
        """The settings by which training is more than Adam at constant rates on whole batches, where they are used."""
        return {name: getattr(self, name) for name in BEYOND_PLAIN_ADAM if getattr(self, name) != _default(name)}


BEYOND_PLAIN_ADAM = ("weight_decay", "warmup", "decay", "clip", "accumulation", "precision", "recompute")
"""Fields of :class:`OptimSpec` that only autograd trains with: the fast step of perceptrons has none of them."""


def _default(name: str) -> Any:
    return OptimSpec.model_fields[name].default


class RunSpec(Spec):
    """Everything that defines a run: the same spec with the same code gives the same result.

    Runs of older versions have specs without the fields that are newer. The default of a field is the value that such
    a run had, and never changes, so that an old run and its repeat are one arm; what forms suggest is set there.
    """

    method: AnyMethod = Field(title="Method", description="What is trained, and how.")
    network: AnyNetwork = Field(default=PerceptronSpec(), title="Network")
    task: TaskSpec = Field(default=TaskSpec(), title="Task")
    source: TaskSpec | None = Field(
        None,
        title="Source task",
        description="The task that the base was trained on; without a base, texts on which forgetting is measured.",
    )
    base: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        title="Base",
        description="The pretrain run whose network is fine-tuned; empty for a network that was imported.",
    )
    optim: OptimSpec = Field(default=OptimSpec(), title="Training")
    objective: AnyObjective = Field(
        default=CLASSIFICATION,
        exclude_if=lambda objective: objective == CLASSIFICATION,  # as in versions without objectives
        title="Objective",
        description="What is learned, and by which measure it is judged.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed", description="Seed of initial weights and data order.")
    device: Device = Field("auto", title="Device", description="Device to train on; auto picks the fastest one.")
    head: Head | None = Field(
        None,
        exclude_if=lambda head: head is None,  # as in versions without it
        title="Head",
        description="Whole: the last layer of the base is trained by every method, at the learning rate of the head, "
        "since the task has classes that the base was not trained on. Empty: as the rest of the base.",
    )
    own_base: bool = Field(
        False,
        title="A base for each seed",
        description="Start each seed from a base that was pretrained with that seed, so that both vary together.",
    )

    @model_validator(mode="after")
    def _parts_fit_the_method(self) -> Self:
        if self.role is Role.BASE and (self.base or self.source):
            raise ValueError("A pretrain run starts from random weights: it has no base and no source.")
        if self.role is not Role.BASE and not (self.base and self.source) and not self.is_direct:
            raise ValueError("Fine-tuning needs a base: choose a finished pretrain run, or a network with weights.")
        if self.is_direct and self.source is not None:
            self._check_forgetting(self.source)
        if (self.network.learns == LANGUAGE) != (self.objective.targets == "texts"):
            raise ValueError(f"A {self.network.title} does not learn {self.objective.kind}: choose another network.")
        self.objective.check_outputs(self.network.num_classes)
        longest = self.network.longest_input
        if longest is not None and max(task.length for task in (self.task, self.source) if task) > longest:
            raise ValueError(f"This network reads at most {longest} tokens: choose a longest input of at most that.")
        if self.optim.recompute and not self.network.reads_tokens:
            raise ValueError(f"A {self.network.title} has no blocks to compute again: leave recompute out.")
        can_have = self.objective.has_classes and not self.network.has_head and self.role is not Role.BASE
        if self.network.whole_head or (self.head and not can_have):
            raise ValueError("Only where a base without a new head is fine-tuned does head say how its own is trained.")
        if self.optim.head_rate is not None and not (self.network.has_head or self.head):
            raise ValueError("This network has no head that is trained whole: leave the learning rate of the head out.")
        if self.head and self.optim.head_rate is None and not self.method.only_head:
            raise ValueError("A head that is trained whole has a learning rate of its own: choose one.")
        if optim_for(self.method, self.optim) != self.optim:
            raise ValueError(f"{self.method.title} trains the head alone: leave the learning rate of the head out.")
        if self.own_base and self.role is Role.BASE:
            raise ValueError("A pretrain run does not start from a base, so it cannot have one for each seed.")
        if self.own_base and not self.base:
            raise ValueError("A network that was imported is one base for all seeds: leave a base for each seed out.")
        return self

    def _check_forgetting(self, source: TaskSpec) -> None:
        """Raises: ValueError: what an imported network forgets cannot be measured on this task."""
        if self.has_new_head:
            raise ValueError("The head of this network is new, so that it can forget nothing: leave the source out.")
        if source.dataset == self.task.dataset:
            raise ValueError(f"{source.dataset} is what is learned: measure forgetting on another dataset.")

    @property
    def is_direct(self) -> bool:
        """Whether a network that somebody imported is fine-tuned as it is, without a pretrain run in between."""
        return self.network.brought is not None and self.role is not Role.BASE and self.base is None

    @property
    def has_new_head(self) -> bool:
        """Whether it starts from an imported network whose head is new: drawn from the seed, it knows nothing yet."""
        return self.is_direct and self.network.has_head

    @property
    def trained_network(self) -> NetworkSpec:
        """The network as it is trained: one that knows whether its head is trained whole."""
        return self.network.but(whole_head=True) if self.head else self.network

    @property
    def learned(self) -> dict[str, Any]:
        """What keys say of the objective: nothing for classification, and never the primary measure and its margin,
        which do not change what is trained.
        """
        found = self.objective.without_choices()
        return {} if found == CLASSIFICATION else {"objective": found.model_dump(mode="json")}

    @property
    def arm(self) -> str:
        """Key of the arm: equal for runs that differ only in the seed (and in the base, if each seed has its own)."""
        return _arm(self)

    @property
    def start(self) -> str | None:
        """Key of the base: equal for arms that start from the same base for every seed; see ``own_base``."""
        return "a base for each seed" if self.own_base else self.base or self.network.brought

    @property
    def kind(self) -> str:
        """Name of the method, as in ``lora``."""
        return self.method.kind

    @property
    def role(self) -> Role:
        """What the method is for in a comparison."""
        return self.method.role

    @property
    def label(self) -> str:
        """Short name of the arm, as in ``LoRA r=4``."""
        return self.method.label

    @property
    def is_split(self) -> bool:
        """Whether the source leaves classes out, and forgetting is judged by a measure with masked logits."""
        return bool(self.source and self.source.classes and self.objective.masked)


def inner_ranks(specs: Iterable[RunSpec]) -> list[int]:
    """The ranks of the matrices that runs train, ascending; those of methods without such matrices are left out."""
    return sorted({rank for spec in specs if (rank := spec.method.inner_rank) is not None})


def default_rate(
    method: type[MethodSpec] | MethodSpec, network: type[NetworkSpec] | NetworkSpec = PerceptronSpec
) -> float:
    """The learning rate that suits a method on a network, before anything was tried."""
    if method.only_head and (rate := head_rate_of(network)) is not None:
        return rate
    return float(f"{network.learning_rate * network.rate_factors.get(method.role, method.rate_factor):.12g}")


def rate_reason(method: type[MethodSpec] | MethodSpec, network: type[NetworkSpec] | NetworkSpec) -> str:
    """Why :func:`default_rate` is what it is, in a clause; empty where the family gives no reason."""
    if method.only_head and head_rate_of(network) is not None:
        return network.reasons.get("head_rate", "")
    return network.reasons.get(method.role if method.role in network.rate_factors else "learning_rate", "")


def default_optim(
    method: type[MethodSpec] | MethodSpec, network: type[NetworkSpec] | NetworkSpec = PerceptronSpec
) -> OptimSpec:
    """The settings that suit a method on a network, before anything was tried."""
    return optim_for(method, default_training(network).but(learning_rate=default_rate(method, network)))


def default_training(network: type[NetworkSpec] | NetworkSpec) -> OptimSpec:
    """The settings that suit all methods on a network, at a learning rate that is not theirs."""
    return OptimSpec.of(**network.training, head_rate=head_rate_of(network))


def head_rate_of(network: type[NetworkSpec] | NetworkSpec) -> float | None:
    """The learning rate that suits the head of a network; None where no head is trained whole."""
    has_head = network.has_head or (isinstance(network, NetworkSpec) and network.whole_head)
    return network.head_rate if has_head else None


def optim_for(method: type[MethodSpec] | MethodSpec, optim: OptimSpec) -> OptimSpec:
    """The settings that a method takes: where it trains the head alone, its learning rate is that of the head."""
    return optim.but(head_rate=None) if method.only_head and optim.head_rate is not None else optim


def with_head_rate(method: MethodSpec, optim: OptimSpec, network: NetworkSpec) -> OptimSpec:
    """The settings of a method on a network; a head that is trained whole gets the usual rate where it has none."""
    if not network.whole_head or optim.head_rate is not None or method.only_head:
        return optim
    return optim.but(head_rate=network.head_rate)


def default_length(network: NetworkSpec | None) -> int:
    """The longest input, in tokens, of tasks for a network: the default, or what the network can read if it is less."""
    longest, usual = network.longest_input if network else None, TaskSpec.of().length
    return usual if longest is None else min(usual, longest)


@lru_cache(maxsize=4096)
def _arm(spec: RunSpec) -> str:
    """The key of an arm; cached, because pages group hundreds of runs by it on every rerun."""
    own = {"seed", "base", "objective"} if spec.own_base else {"seed", "objective"}
    values = spec.model_dump(mode="json", exclude=own, exclude_defaults=True) | spec.learned
    for name, part in (("method", spec.method), ("network", spec.network)):
        values[name] = {**values.get(name, {}), "kind": part.kind}  # the default of its class, and so left out
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
