"""Train any single module with autograd: its optimizer, and activations that are computed again instead of kept.

Of blocks that compute again only what enters them is kept (Chen et al., "Training Deep Nets with Sublinear Memory
Cost", arXiv 1604.06174). Gradients are the same, to rounding, and every block is computed twice: a step takes about a
third longer, with adapters half as long again, since they need no gradients of weights. ``benchmarks.recompute``
measures it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from core.data.examples import EvaluationPart, Task
from core.memory import give_back
from core.methods.targets import head_parameters
from core.networks.forward import forward, moving_statistics, start_training
from core.networks.network import SPEC, spec_on
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec
from core.training.checkpoint import TrainState, copy_into
from core.training.evaluation import Evaluation, evaluate_both
from core.training.fast_network import FastNetwork, fast
from core.training.frozen import FrozenStates, Resumed, block_list
from core.training.products import Forward, Swapped, own_forward
from core.training.random_numbers import RandomNumbers
from core.training.schedule import rate_at, total_steps
from core.training.threads import Cores

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Names of the moments in the state of torch.optim.AdamW."""


class Optimizer:
    """Updates trained parameters from their gradients."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        optim: OptimSpec,
        total: int,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        """Args:
        parameters: what is trained, by name, all on one device.
        optim: the settings.
        total: number of updates of the whole run.
        rates: see :attr:`core.methods.method.MethodSpec.tensor_rates`; None for none.
        """
        self.updates = 0
        """Updates done."""
        self.parameters = list(parameters.values())
        self._optim, self._total = optim, total
        factors = {name: _factor(name, rates or {}) for name in parameters}
        self.factors = list(factors.values())
        """On the learning rate of each parameter."""
        # Biases and the gains of normalizations are vectors. Decaying them regularizes nothing, as the Trainer has it.
        groups = [
            {
                "params": [p for name, p in parameters.items() if (p.ndim >= 2, factors[name]) == (decays, factor)],
                "weight_decay": optim.weight_decay if decays else 0.0,
                "factor": factor,
            }
            for decays in (True, False)
            for factor in dict.fromkeys(factors.values())
        ]
        # One fused kernel for all tensors: the default loop over many small ones takes longer than the matrix products.
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        # Without decay AdamW is Adam, bit for bit.
        self._adam = torch.optim.AdamW([group for group in groups if group["params"]], fused=fused)

    def clear(self) -> None:
        """Forget all gradients."""
        self._adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update the parameters by their gradients."""
        if self._optim.clip:
            nn.utils.clip_grad_norm_(self.parameters, self._optim.clip)
        for group in self._adam.param_groups:
            group["lr"] = rate_at(self._optim, self.updates, self._total) * group["factor"]
        self._adam.step()
        self.updates += 1

    def moments(self) -> list[list[Tensor]]:
        """Copies of the first and of the second moments of each parameter; zeros before the first step."""
        known: list[tuple[nn.Parameter, dict[str, Any]]] = [(p, self._adam.state.get(p, {})) for p in self.parameters]
        return [[state[key].clone() if state else torch.zeros_like(p) for p, state in known] for key in MOMENTS]

    def resume(self, first: Sequence[Tensor], second: Sequence[Tensor], updates: int) -> None:
        """Continue with these moments, which it keeps, after this many updates."""
        self.updates = updates
        for p, *moments in zip(self.parameters, first, second, strict=True):
            step = torch.tensor(float(updates), dtype=torch.float32, device=p.device)
            self._adam.state[p] = {"step": step, **dict(zip(MOMENTS, moments, strict=True))}


def _factor(name: str, rates: Mapping[str, float]) -> float:
    """The factor on the rate of a parameter, by the end of its name."""
    return next((factor for end, factor in rates.items() if f".{name}".endswith(f".{end}")), 1.0)


class Recomputed(nn.Module):
    """What computes with a network, and keeps of each block only what enters it."""

    def __init__(self, network: nn.Module, model: nn.Module, numbers: RandomNumbers) -> None:
        """Args:
        network: whose blocks are computed again; it is not changed.
        model: what computes with it, as :func:`core.training.fast_network.fast` gives it.
        numbers: what a step draws, and draws again.
        """
        super().__init__()
        self.model = model
        setattr(self, SPEC, spec_on(network))
        self._numbers = numbers
        _, blocks = block_list(network)
        trained = [any(parameter.requires_grad for parameter in block.parameters()) for block in blocks]
        # Those below the first trained one keep nothing.
        again = blocks[trained.index(True) :] if any(trained) else []
        self._swapped = Swapped({block: self._of(block) for block in again})

    def forward(self, *only: Tensor, **batch: Tensor) -> Any:
        with self._swapped:
            return self.model(*only) if only else forward(self.model, batch)

    def _of(self, block: nn.Module) -> Forward:
        own = own_forward(block)

        def run(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return own(*args, **kwargs)
            args = tuple(map(_without_cache, args))
            whole = partial(own, **{name: _without_cache(value) for name, value in kwargs.items()})
            # What is drawn comes from ``numbers``, and not from torch's global generator.
            return checkpoint(whole, *args, use_reentrant=False, preserve_rng_state=False, context_fn=self._contexts)

        return run

    def _contexts(self) -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        """What a block is computed in: at first in nothing more, and again with the same layers and numbers."""
        return nullcontext(), self._same(self._numbers.repeated())

    @contextmanager
    def _same(self, numbers: AbstractContextManager[None]) -> Iterator[None]:
        with ExitStack() as inside:
            if isinstance(self.model, FastNetwork):
                inside.enter_context(self.model.swapped)
            inside.enter_context(numbers)
            yield


def _without_cache(value: Any) -> Any:
    """An argument of a block, None for a cache of keys and values, to which the second time would add them again."""
    return None if hasattr(value, "get_seq_length") else value


class AutogradStepper:
    """Trains a single module with autograd, and Adam on its trainable parameters."""

    members = 1
    shards = 1

    def __init__(
        self,
        network: nn.Module,
        optim: OptimSpec,
        task: Task,
        seed: int = 0,
        source: Task | None = None,
        states: FrozenStates | None = None,
        objective: ObjectiveSpec = CLASSIFICATION,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        """Args:
        network: the module, on the task's device.
        optim: the settings of the optimiser. The rate of a step depends on how many there are in all its epochs.
        task: the task to train on.
        seed: seed of the data order, and of what layers such as dropout draw.
        source: the task that the base was trained on, to measure forgetting.
        states: of the network's frozen blocks, which then run without dropout; None if there are none.
        objective: the loss, and the measures of an evaluation.
        rates: factors on the learning rate of some parameters beside the head, whose rate is among the settings; see
            :attr:`core.methods.method.MethodSpec.tensor_rates`.
        """
        self.network = network
        self._numbers = RandomNumbers(seed, task.device)
        model = fast(network, Resumed(network, states.frozen) if states else network, optim.precision)
        self._model = Recomputed(network, model, self._numbers) if optim.recompute else model
        self._note = states.sentence if states else None
        self._still = [network.get_submodule(path) for path in states.frozen.still] if states else []
        self._known = (states.on(task), states.on(source) if source else None) if states else (task, source)
        self.optim = optim
        self.objective = objective
        self.task = task
        self.source = source
        self.seeds = (seed,)
        self.device = task.device
        self._cores = Cores()
        self._evaluation_threads = 1
        named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.parameters = list(named.values())
        self.statistics = moving_statistics(network)
        head = optim.head_rate
        own = {} if head is None else dict.fromkeys(head_parameters(network), head / optim.learning_rate)
        self.optimizer = Optimizer(named, optim, total_steps(optim, task.num_train), own | dict(rates or {}))

    def advance(self, rows: Tensor) -> Tensor:
        losses = []
        self._start()
        for chunk in self._cores.chunks(rows):
            for batch in chunk[0]:
                losses.append(self._gradients(batch))
                self.optimizer.step()
        return torch.stack(losses).unsqueeze(1)

    @property
    def threads(self) -> int:
        return self._cores.count

    def use_threads(self, count: int, slowest: float = math.inf, evaluation: int | None = None) -> None:
        self._cores.use(count, slowest)
        self._evaluation_threads = evaluation or count

    def rehearse(self, rows: Tensor) -> None:
        before = [buffer.clone() for buffer in self.statistics]
        self._start()
        for batch in rows[0]:
            self._gradients(batch)
        copy_into(before, self.statistics)

    def _start(self) -> None:
        start_training(self.network)
        for module in self._still:
            module.training = False

    def _gradients(self, batch: Tensor) -> Tensor:
        """Compute the gradients of a batch, in parts if so wanted. Returns: its mean loss."""
        self.optimizer.clear()
        self._numbers.begin(self.optimizer.updates)
        losses = []
        for part in batch.chunk(self.optim.accumulation):
            with self._numbers, self._precision():
                logits = forward(self._model, self._known[0].train.batch(part))
            loss = self.objective.loss(logits.to(self._loss_dtype(logits)), self.task.train.labels[part])
            if len(part) != len(batch):
                own, whole = (self.objective.weight(self.task.train.labels[rows]) for rows in (part, batch))
                loss = loss * (own / whole)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _precision(self) -> AbstractContextManager[object]:
        if self.optim.precision == "float32" or self.device.type == "meta":  # where autocast has no types
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @staticmethod
    def _loss_dtype(logits: Tensor) -> torch.dtype:
        return torch.promote_types(logits.dtype, torch.float32)

    def evaluate(
        self,
        member: int,
        part: EvaluationPart = "validation",
        source: bool = True,
        look: Callable[[], None] = lambda: None,
    ) -> tuple[Evaluation, Evaluation | None]:
        task, other = self._known
        give_back()  # what steps have freed lies in pieces that batches of an evaluation do not fit into
        kept, threads = other if source else None, self._evaluation_threads
        found = evaluate_both(self._model, task, kept, part, look, self.objective, threads)
        give_back()
        return found

    def note(self, member: int) -> str | None:
        """A sentence on the frozen blocks; None if there are none."""
        return self._note

    @property
    def _tensors(self) -> list[Tensor]:
        """All that training changes: parameters, then statistics."""
        return [*(p.detach() for p in self.parameters), *self.statistics]

    def trained(self, member: int) -> list[Tensor]:
        return [tensor.clone() for tensor in self._tensors]

    def restore(self, member: int, trained: list[Tensor]) -> None:
        copy_into(trained, self._tensors)

    def train_state(self, member: int) -> TrainState:
        first, second = (
            moments + [torch.zeros_like(buffer) for buffer in self.statistics]  # which have none
            for moments in self.optimizer.moments()
        )
        return TrainState(self.trained(member), first, second, self.optimizer.updates)

    def resume(self, states: Sequence[TrainState]) -> None:
        (own,) = states
        first, second = ([torch.zeros_like(tensor) for tensor in self._tensors] for _ in range(2))
        copy_into(own.first, first)
        copy_into(own.second, second)
        copy_into(own.values, self._tensors)
        count = len(self.parameters)
        self.optimizer.resume(first[:count], second[:count], own.updates)

    def write_back(self, member: int) -> None:
        """Do nothing: the network itself is trained."""

    def retire(self, member: int) -> None:
        """Do nothing: without its only member, training has ended."""
