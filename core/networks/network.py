"""What a network family is: sizes, how a network is built and what it reads, and how its file says what it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from core.data.examples import Batch, Examples, shapes_of
from core.data.task_spec import MAX_CLASSES
from core.errors import SpecError
from core.methods.linear import features, is_linear
from core.methods.method import Role
from core.methods.targets import mark_head
from core.networks.tokenizer import ByteTokenizer
from core.spec import MAX_CHARACTERS, KindSpec

DRAWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose weights and biases torch draws uniformly with bound 1/√n, n being the number of inputs of a unit."""

FIXED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)
"""Layers that start with fixed values."""


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of every layer, in place and in the network's order.

    Args:
        network: on a device that has memory.
        generator: random number generator, on the same device.

    Raises:
        TypeError: a layer with tensors of its own is neither of :data:`DRAWN` nor of :data:`FIXED`.
    """
    for layer in network.modules():
        if isinstance(layer, DRAWN):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in (layer.weight, layer.bias):
                if parameter is not None:
                    parameter.uniform_(-bound, bound, generator=generator)
        elif isinstance(layer, FIXED):
            layer.reset_parameters()
        elif [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]:
            raise TypeError(f"There are no initial weights for {type(layer).__name__}: the family must draw them.")


SPEC = "spec"
"""Attribute of a network that has the spec it was built by."""

METADATA = "network"
"""Key of a spec's JSON in the metadata of a network file."""


@dataclass(frozen=True)
class Quick:
    """A comparison at given learning rates, of full fine-tuning and one rank on one base."""

    rank: int = 4
    seeds: int = 8
    times: float = 3
    """Factor on the number of epochs of :attr:`NetworkSpec.training`."""


class NetworkSpec(KindSpec):
    """A network without its weights. A subclass is one family, and is listed in :mod:`core.networks.registry`.

    A family must have :meth:`module`, :meth:`examples` and :attr:`sizes`; the rest suits most networks as it is. Its
    modules take a batch as :func:`core.networks.forward.forward` gives it, and return logits.
    """

    title: ClassVar[str]
    """The family as people read it, as in ``multilayer perceptron``."""
    learns: ClassVar[str] = "image"
    """Kind of the datasets that the family learns; see :class:`core.tasks.views.view.View`."""
    is_imported: ClassVar[bool] = False
    """Whether people import its networks, with weights; otherwise they choose sizes, and weights start random."""
    reads_tokens: ClassVar[bool] = False
    """Whether its networks read texts as tokens, so that what a step takes depends on the lengths of texts."""
    has_head: ClassVar[bool] = False
    """Whether its networks have a head that their weights came without; see :mod:`core.methods.targets`."""
    head_rate: ClassVar[float | None] = None
    """Default learning rate of a head, for all methods alike; None for a family whose networks have none."""
    task_type: ClassVar[str | None] = None
    """What PEFT calls the task; see :class:`core.adapter.config.AdapterConfig`."""
    learning_rate: ClassVar[float] = 0.001
    """Default learning rate of full fine-tuning."""
    rate_factors: ClassVar[Mapping[Role, float]] = {}
    """Default learning rates of methods, as multiples of it, by their role; where a role is missing, the method's own
    factor holds."""
    training: ClassVar[Mapping[str, Any]] = {}
    """Default settings of training that differ from those of :class:`core.run_spec.OptimSpec`; without the rate."""
    longer: ClassVar[int] = 2
    """How many times a search for learning rates may triple the number of epochs, where nobody says otherwise."""
    quick: ClassVar[Quick] = Quick()
    """What a quick comparison on a network of the family trains."""
    reasons: ClassVar[Mapping[str, str]] = {}
    """Why defaults suit the family, a clause each for the help of forms: by the name of a field of
    :class:`core.run_spec.OptimSpec` or of adapters, or by the role for a rate of :attr:`rate_factors`."""
    given_by_data: ClassVar[frozenset[str]] = frozenset({"num_classes", "whole_head"})
    """Fields that follow from the dataset, so that no form asks for them."""
    evaluation_batch: ClassVar[int | None] = None
    """Examples per forward pass in evaluation, where the usual number would take too much memory."""
    max_bytes: ClassVar[int] = 256 * 2**20
    """Maximum size of a network file."""

    num_classes: int = Field(10, ge=1, le=MAX_CLASSES, title="Classes", description="Number of outputs.")
    whole_head: bool = Field(
        False,
        exclude_if=lambda whole: not whole,  # as in versions without it; a run says it by its own field
        repr=False,
        title="Head trained whole",
        description="Whether every method trains the last layer whole, beside adapters on the others.",
    )

    def module(self) -> nn.Module:
        """The module with these sizes; its weights are drawn later.

        Everything that it computes with is in its state dict. It may be called on the ``meta`` device.
        """
        raise NotImplementedError

    def examples(self, count: int, generator: torch.Generator | None = None, length: int | None = None) -> Examples:
        """Examples that the network can read, with random inputs and labels.

        Args:
            count: how many.
            generator: random number generator; None makes them on the ``meta`` device, with shapes only.
            length: tokens per text, for a network that reads texts; None for a few.
        """
        raise NotImplementedError

    @property
    def sizes(self) -> str:
        """The sizes in one word, as in ``784-128-256-10``."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, str]:
        """What a report says of the network beside family and sizes: values by their titles."""
        return {}

    def initialize(self, network: nn.Module, generator: torch.Generator) -> None:
        """Draw the initial weights of :meth:`module`, in place; see :func:`initialize`."""
        initialize(network, generator)

    def build(self, seed: int | None = None) -> nn.Module:
        """Build a network, which has this spec as its attribute :data:`SPEC`.

        Args:
            seed: seed of the initial weights, independent of torch's global generator. None builds the network on the
                ``meta`` device, with shapes only.
        """
        with torch.device("meta"):
            network = self.module()
        if seed is not None:
            network.to_empty(device="cpu")
            self.initialize(network, torch.Generator().manual_seed(seed))
        setattr(network, SPEC, self)
        return self.marked(network)

    def marked(self, network: nn.Module) -> nn.Module:
        """Note on a network of these sizes, in place, which modules are its head; returns the network."""
        mark_head(network, self.head_paths)
        return network

    def holding(self, state: Mapping[str, Tensor]) -> nn.Module:
        """A network with the tensors of a state dict, whose names, shapes and dtypes are those of :meth:`build`."""
        network = self.build()
        network.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
        return network

    @property
    def brought(self) -> str | None:
        """Digest of the files whose weights training starts from; None for a family whose weights start random."""
        return None

    @property
    def tokenizer(self) -> ByteTokenizer | None:
        """The tokenizer that the family has itself; None if it reads no texts, or those of an imported tokenizer."""
        return None

    @property
    def longest_input(self) -> int | None:
        """Tokens that the network can read at once; None if there is no limit, or if it reads no texts."""
        return None

    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """(out, in) of each linear layer, by its path, from the input to the output."""
        shapes = {path: features(layer) for path, layer in self.build().named_modules() if is_linear(layer)}
        return {path: (outputs, inputs) for path, (inputs, outputs) in shapes.items()}

    @property
    def head_paths(self) -> tuple[str, ...]:
        """Paths of the modules that every method trains whole; see :mod:`core.methods.targets`."""
        return self.output_modules if self.whole_head else ()

    @property
    def output_modules(self) -> tuple[str, ...]:
        """Paths of the modules with a row for each output: the last layer."""
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name in self.output_tensors()))

    def output_tensors(self) -> tuple[str, ...]:
        """Names in the state dict of the tensors with a row for each output: weight and bias of the last layer."""
        two, three = (self.but(num_classes=count, whole_head=False).build().state_dict() for count in (2, 3))
        return tuple(name for name in two if two[name].shape[:1] != three[name].shape[:1])

    @property
    def input_text(self) -> str:
        """One input in words, for model cards; as in ``a row of 784 pixels from 0 to 1``."""
        shapes = shapes_of(self.examples(1).batch(slice(None)))
        return " and ".join(f"`{name}` of shape {shape}" for name, shape in shapes.items())

    @property
    def torch_code(self) -> str | None:
        """Code for model cards that builds the network as ``base``, with nothing but ``nn`` and ``OrderedDict``.

        None where that is not enough; cards then show only how LoRA Lab reads it.
        """
        return None

    @property
    def text(self) -> str:
        """The network in a few words, for model cards."""
        return f"{self.title} with layers of sizes {self.sizes}"

    @property
    def pretrained(self) -> Mapping[str, Any] | None:
        """Arguments with which ``from_pretrained`` of transformers' class for the task reads the network's folder.

        None for a family that transformers does not have.
        """
        return None

    def can_read(self, batch: Batch) -> bool:
        """Whether these inputs are like those of :meth:`examples`, at least one, and finite."""
        own = self.examples(1).batch(slice(None))
        return shapes_of(batch) == shapes_of(own) and all(
            len(tensor) and tensor.dtype.is_floating_point == own[name].dtype.is_floating_point and _is_finite(tensor)
            for name, tensor in batch.items()
        )

    def check_fit(self, dataset: str, inputs: Mapping[str, tuple[int, ...]], classes: Sequence[int]) -> None:
        """Check that the network can learn a task.

        Args:
            dataset: name of the task's dataset.
            inputs: shape of each input of one example, by its name.
            classes: labels of the task; empty without classes.

        Raises:
            SpecError: it has too few outputs, or reads other inputs.
        """
        own = shapes_of(self.examples(1).batch(slice(None)))
        if dict(inputs) != own:
            raise SpecError(
                f"A {self.title} reads {_inputs_text(own)}, but an example of {dataset} has {_inputs_text(inputs)}: "
                "choose another dataset or network."
            )
        self._check_classes(dataset, classes)

    def _check_classes(self, dataset: str, classes: Sequence[int]) -> None:
        if classes and max(classes) >= self.num_classes:
            raise SpecError(
                f"The network has {self.num_classes} outputs, but {dataset} has labels up to {max(classes)}: "
                f"choose a base with at least {max(classes) + 1} classes."
            )

    def metadata(self) -> dict[str, str]:
        """What a network file says beside its tensors, so that :meth:`of_state` finds this spec again."""
        return {METADATA: self.to_json()}

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Self | None:
        """The spec of a network that was read; None if it is of another family.

        Args:
            state: its state dict.
            metadata: what its file says beside the tensors.

        Raises:
            SpecError: it is of this family, but with sizes that the family does not have.
        """
        text = metadata.get(METADATA, "")
        return cls.from_json(text) if kind_in(text) == cls.name() else None


def spec_on(network: nn.Module) -> NetworkSpec | None:
    """The spec that a network was built by; None if no spec built it."""
    spec = getattr(network, SPEC, None)
    return spec if isinstance(spec, NetworkSpec) else None


def kind_in(text: str) -> str | None:
    """The kind that a spec's JSON names; None if it is no such JSON."""
    try:
        kind = json.loads(text[:MAX_CHARACTERS])["kind"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return kind if isinstance(kind, str) else None


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _inputs_text(inputs: Mapping[str, tuple[int, ...]]) -> str:
    """Inputs in words, as in ``pixels (784)``."""
    return " and ".join(f"{name} ({'×'.join(map(str, shape))})" for name, shape in sorted(inputs.items()))
