"""Accuracies of networks with changed ΔW on target and source.

Many strengths of one ΔW are evaluated together, so that a page can show each of them without delay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.examples import ImageExamples
from core.data.task import Task
from core.errors import LoRAError
from core.lab import Lab
from core.networks.forward import forward
from core.networks.modes import evaluating
from core.networks.perceptron import MultilayerPerceptron
from core.store.record import Run
from core.study.weights.change import WeightChange
from core.study.weights.spectrum import Array, with_weights
from core.training.evaluation import Evaluation, batch_of, evaluate, judge

PartName = Literal["validation", "test"]
On = Literal["target", "source"]
Strengths = Mapping[str, float]
"""Factor on ΔW of each layer, by its path: 0 is the base, 1 the trained network; the default is 1."""


@dataclass(frozen=True, eq=False)
class Part:
    """Images of a task that networks are evaluated on."""

    x: Tensor
    """(n, features) float32."""
    y: Tensor
    """(n,) int64."""
    classes: tuple[int, ...]
    """Labels that occur in the task."""


@dataclass(frozen=True)
class Scores:
    """Accuracies of n networks in percent, in arrays of shape (n,); masked as in :class:`Evaluation`."""

    target: Array
    target_masked: Array
    source: Array | None
    """None where the target is the source."""
    source_masked: Array | None

    def line(self, on: On, masked: bool) -> Array:
        """Return one of the four arrays; NaN for the source if the target is the source."""
        plain, own = (self.target, self.target_masked) if on == "target" else (self.source, self.source_masked)
        chosen = own if masked else plain
        return np.full(len(self.target), np.nan) if chosen is None else chosen

    def at(self, *places: int) -> Scores:
        """Return the scores of some of the networks, in this order."""
        chosen = list(places)
        return Scores(
            self.target[chosen],
            self.target_masked[chosen],
            None if self.source is None else self.source[chosen],
            None if self.source_masked is None else self.source_masked[chosen],
        )


@dataclass(frozen=True, eq=False)
class Exam:
    """The images of target and source that networks are evaluated on."""

    target: Part
    source: Part | None
    """None where the target is the source."""

    def of_networks(self, networks: Iterable[nn.Module]) -> Scores:
        """Evaluate networks."""
        with torch.no_grad(), one_thread():
            found = [(_judged(network, self.target), _judged(network, self.source)) for network in networks]
        return _scores([row[0] for row in found], [row[1] for row in found])

    def of_strengths(self, change: WeightChange, strengths: Sequence[Strengths]) -> Scores:
        """Evaluate the base with each layer's ΔW scaled, for each of ``strengths``."""
        target = judged(change, self.target, strengths)
        return _scores(target, judged(change, self.source, strengths) if self.source else [None])


def read_exam(lab: Lab, run: Run, part: PartName) -> Exam:
    """Read the images of a run's target and source.

    Args:
        lab: has the datasets.
        run: a fine-tune run.
        part: ``validation`` to choose something, ``test`` to measure what was chosen.

    Raises:
        DatasetError: a dataset is missing.
    """
    target, source = run.spec.task, run.spec.source
    own = lab.tasks.get(target, network=run.spec.network)
    other = lab.tasks.get(source, network=run.spec.network) if source is not None and source != target else None
    return Exam(_part(own, part), _part(other, part) if other is not None else None)


def judged(change: WeightChange, part: Part, strengths: Sequence[Strengths]) -> list[Evaluation]:
    """Evaluate the base with each layer's ΔW scaled on these images; see :func:`logits_at`."""
    outputs: list[list[Tensor]] = [[] for _ in strengths]
    with one_thread():
        size = batch_of(change.base)
        for start in range(0, max(len(part.x), 1), size):
            for place, logits in enumerate(logits_at(change, part.x[start : start + size], strengths)):
                outputs[place].append(logits)
    return [judge(torch.cat(logits), part.y, part.classes) for logits in outputs]


@torch.no_grad()
def logits_at(change: WeightChange, x: Tensor, strengths: Sequence[Strengths]) -> Iterator[Tensor]:
    """Logits of the base with W + t ΔW and b + t Δb in each layer, for many t on the same images.

    Scaling α by t scales ΔW = s A B by t for each of LoRA's scalings, since s is proportional to α (Hu et al.,
    "LoRA", arXiv 2106.09685, §4.1). For full fine-tuning, it interpolates between the base and the tuned network, as
    in task arithmetic (Ilharco et al., arXiv 2212.04089). The large first product is computed only twice:
    x (W + t ΔW)ᵀ = x Wᵀ + t · x ΔWᵀ. If all t are 0, the logits equal those of the base bit for bit.

    Args:
        change: base and tuned network.
        x: (m, features) float32.
        strengths: t of each layer.

    Yields:
        (m, classes) for each of ``strengths``.

    Raises:
        LoRAError: there is a strength for an unknown layer, or training changed more than linear layers of a network
            that is no perceptron.
    """
    known = set(change.weights)
    if unknown := sorted({path for each in strengths for path in each} - known):
        raise LoRAError(f"This network has no layer {unknown[0]}; it has: {', '.join(change.weights)}.")
    yield from _logits_of_chain(change, x, strengths) if _is_chain(change.base) else _logits(change, x, strengths)


def _is_chain(network: nn.Module) -> TypeGuard[MultilayerPerceptron]:
    """Whether a network is known to be nothing but its layers one after another."""
    return isinstance(network, MultilayerPerceptron)


def _logits_of_chain(change: WeightChange, x: Tensor, strengths: Sequence[Strengths]) -> Iterator[Tensor]:
    """:func:`logits_at` of a perceptron, without repeating the first product."""
    first: Tensor | None = None
    first_delta: Tensor | None = None
    steps = [(path, module) for path, module in change.base.named_modules() if path.startswith("layers.")]
    for each in strengths:
        h = x
        for path, module in steps:
            if not isinstance(module, nn.Linear):
                h = module(h)
                continue
            strength = float(each.get(path, 1.0))
            if h is x:
                if first is None or first_delta is None:
                    first = module(x)
                    first_delta = F.linear(x, _float32(change.deltas[path]), _float32(change.bias_deltas[path]))
                h = first + strength * first_delta if strength else first
            elif strength:
                weight = _float32(change.weights[path] + strength * change.deltas[path])
                bias = module.bias.to(torch.float64) + strength * torch.from_numpy(change.bias_deltas[path])
                h = F.linear(h, weight, bias.to(torch.float32))
            else:
                h = module(h)
        yield h


def _logits(change: WeightChange, x: Tensor, strengths: Sequence[Strengths]) -> Iterator[Tensor]:
    """:func:`logits_at` of any network. Raises: LoRAError: training changed more than its linear layers."""
    if change.changed_elsewhere:
        raise LoRAError(change.elsewhere_text)
    for each in strengths:
        wanted = {path: float(each.get(path, 1.0)) for path in change.weights}
        changed = [path for path, strength in wanted.items() if strength]
        network = with_weights(
            change.base, {path: change.weights[path] + wanted[path] * change.deltas[path] for path in changed}
        )
        for path in changed:
            bias = network.get_submodule(path).bias
            if isinstance(bias, Tensor):
                bias += wanted[path] * _float32(change.bias_deltas[path])
        with evaluating(network):
            yield forward(network, {"pixels": x})


@contextmanager
def one_thread() -> Iterator[None]:
    """Use only the calling thread: while runs are trained, a second one makes products ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _judged(network: nn.Module, part: Part | None) -> Evaluation | None:
    return evaluate(network, ImageExamples(part.x, part.y), part.classes) if part is not None else None


def _float32(values: Array) -> Tensor:
    return torch.from_numpy(values).to(torch.float32)


def _part(task: Task, part: PartName) -> Part:
    examples = task.part(part)
    return Part(examples.all_pixels(), examples.labels, task.classes)


def _scores(target: Sequence[Evaluation | None], source: Sequence[Evaluation | None]) -> Scores:
    on_target = [found for found in target if found is not None]
    on_source = [found for found in source if found is not None]
    return Scores(
        np.array([found.accuracy for found in on_target]),
        np.array([found.masked_accuracy for found in on_target]),
        np.array([found.accuracy for found in on_source]) if on_source else None,
        np.array([found.masked_accuracy for found in on_source]) if on_source else None,
    )
