"""Memory that one run takes in training, told by what trains it before it does.

The fast step of perceptrons counts its buffers (:mod:`core.training.bank.shard`). Autograd takes one step on the
``meta`` device, whose tensors have shapes but no memory, on the largest batch that can come.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from core.data.examples import Task, TextExamples
from core.engine.jobs.job import untrained
from core.memory import training_bytes
from core.methods.method import MethodSpec
from core.networks.network import NetworkSpec
from core.networks.perceptron import MultilayerPerceptron
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec
from core.training.autograd import AutogradStepper
from core.training.bank.footprint import bank_bytes
from core.training.frozen import KnownTexts, Resumed, frozen_blocks
from core.training.sharing import has_fast_loss, sharing


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every storage that an operation inside the ``with`` block creates, until it is freed.

    Storages on the ``meta`` device have sizes but no memory, so running code there counts what it would take. Memory
    that a kernel allocates and frees within one operation is not counted.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        """Args: known: existing tensors, which are not counted."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        """Bytes in use now."""
        self.peak = 0
        """Maximum number of bytes in use at once."""
        self._alive: dict[int, object] = {}
        self._outside = {tensor.untyped_storage()._cdata: tensor for tensor in known}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return made

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive or key in self._outside:
            return

        def freed(_: object) -> None:
            del self._alive[key]
            self.live -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.live += size
        self.peak = max(self.peak, self.live)


def run_memory(
    network: NetworkSpec,
    method: MethodSpec,
    optim: OptimSpec,
    examples: int,
    longest: int | None = None,
    objective: ObjectiveSpec = CLASSIFICATION,
) -> int:
    """Bytes that one run takes in training, alone on this engine.

    These are the network's weights, gradients, Adam's two moments, the activations of one step, and what the fast step
    keeps: for LoRA the frozen outputs of the layers up to the first adapted one for every training example, and
    transposed copies of frozen weights. Datasets, libraries and what frozen blocks give for every text are not counted.
    Runs of one bank share what is kept for every example, so a bank takes less than the sum of its runs.

    Args:
        network: what is trained.
        method: how.
        optim: batch size, parts of a batch, precision, clipping, and whether activations are recomputed.
        examples: number of training examples.
        longest: tokens of the longest text; None for images.
        objective: what is learned; the fast step has classification alone.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    if has_fast_loss(objective) and sharing(method.kind, network.kind).step != "autograd":
        found = _fast(network, method.shape(), min(optim.part_size, examples), examples)
        if found is not None:
            return found
    batch = optim.part_size if longest else min(optim.part_size, examples)
    return sum(step_bytes(network, method, optim, batch, longest))


@lru_cache(maxsize=256)
def _fast(network: NetworkSpec, method: MethodSpec, batch: int, examples: int) -> int | None:
    """Bytes of a bank of one and of its network; None if a bank does not train it."""
    built = untrained(network, method)
    if not isinstance(built, MultilayerPerceptron):
        return None
    kept = bank_bytes([built], [0], [batch], examples)
    return kept + sum(parameter.nbytes for parameter in built.parameters())


def step_bytes(
    network: NetworkSpec, method: MethodSpec, optim: OptimSpec, batch: int, longest: int | None = None
) -> tuple[int, int]:
    """Bytes of the activations of a step by autograd, and of weights, gradients and moments.

    Args:
        network: what is trained.
        method: how.
        optim: precision, clipping, and whether activations are recomputed.
        batch: examples that are computed at once.
        longest: tokens of each text; None for images.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    own = {name: getattr(optim, name) for name in ("precision", "clip", "recompute")}
    plain = OptimSpec.of(batch_size=batch, **own)
    return _step(network, method.shape(), plain, longest)


@lru_cache(maxsize=256)
def _step(spec: NetworkSpec, method: MethodSpec, optim: OptimSpec, longest: int | None) -> tuple[int, int]:
    network, frozen = untrained(spec, method), frozen_blocks(spec, method)
    examples = spec.examples(optim.batch_size, None, longest)
    rows = torch.empty(1, 1, optim.batch_size, dtype=torch.int64, device="meta")
    module: torch.nn.Module = network
    if frozen.count and isinstance(examples, TextExamples):
        states = torch.empty(len(examples.tokens), frozen.width, device="meta")
        examples, module = KnownTexts.with_states(examples, states), Resumed(network, frozen)
    stepper = AutogradStepper(module, optim, Task.of_one_part(examples, spec.num_classes))
    known = [*examples.tensors(), rows, *network.parameters(), *network.buffers()]
    known += [examples.states] if isinstance(examples, KnownTexts) else []
    with Ledger(known) as ledger:
        stepper.rehearse(rows)
        peak, gradients = int(ledger.peak), int(ledger.live)
    # Gradients are part of the peak, and of the bytes of training.
    return max(peak - gradients, 0), training_bytes(network)
