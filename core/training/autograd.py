"""Train any single module with autograd."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from core.data.task import EvaluationPart, Task
from core.memory import give_back
from core.methods.heads import head_parameters
from core.networks.forward import forward
from core.networks.modes import moving_statistics, start_training
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec
from core.training.checkpoint import TrainState, copy_into
from core.training.cores import Cores
from core.training.evaluation import Evaluation, evaluate_both
from core.training.fast_network import fast
from core.training.frozen import FrozenStates, Resumed
from core.training.optimizer import Optimizer
from core.training.random_numbers import RandomNumbers
from core.training.recompute import Recomputed
from core.training.schedule import total_steps


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
