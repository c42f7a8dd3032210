"""Scores of networks with changed ΔW on target and source, in the primary measure of their objective.

Many strengths of one ΔW are evaluated together, so that a page can show each of them without delay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.examples import Batch, Examples, Task
from core.errors import LoRAError
from core.lab import Lab
from core.methods.targets import head_paths, is_in_head
from core.networks.forward import evaluating, forward
from core.networks.perceptron import MultilayerPerceptron
from core.objectives.measure import Measure
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.store.record import Run
from core.study.weights.change import REST, WeightChange
from core.study.weights.decomposition import Array
from core.training.evaluation import Evaluation, batch_of, evaluate, judge
from core.training.threads import one_thread

PartName = Literal["validation", "test"]
On = Literal["target", "source"]
Strengths = Mapping[str, float]
"""Factor on the change of each of :attr:`core.study.weights.change.WeightChange.parts`, by its name: 0 is the base, 1
the trained network; the default is 1. A new head, which the base does not have, always has its trained weights."""

DRAW_SEED = 20210617
"""Seed of the choice of examples, where not all are evaluated."""


@dataclass(frozen=True, eq=False)
class Part:
    """Examples of a task that networks are evaluated on."""

    examples: Examples
    classes: tuple[int, ...]
    """Labels that occur in the task; empty without classes."""


@dataclass(frozen=True, eq=False)
class Line:
    """The scores of n networks on one task."""

    on: On
    masked: bool
    """Whether answers are chosen among the task's own classes only."""
    values: Array
    """(n,)."""

    @property
    def title(self) -> str:
        """What it is called, as in ``Source, own classes``."""
        return f"{self.on.capitalize()}{', own classes' if self.masked else ''}"


@dataclass(frozen=True)
class Scores:
    """The primary measure of n networks, in arrays of shape (n,)."""

    target: Array
    target_masked: Array | None
    """By the masked measure of the objective; None where it has none, or where it was not measured."""
    source: Array | None
    """None where the target is the source."""
    source_masked: Array | None
    objective: ObjectiveSpec = CLASSIFICATION

    @property
    def measure(self) -> Measure:
        """What the networks are judged by."""
        return self.objective.primary

    @property
    def oriented(self) -> Array:
        """(n,) the scores on the target with a sign such that higher is better; what is no number is the worst."""
        values = self.measure.sign * self.target
        return np.where(np.isnan(values), -np.inf, values)

    def line(self, on: On, masked: bool) -> Array:
        """Return one of the four arrays; NaN for what was not measured."""
        plain, own = (self.target, self.target_masked) if on == "target" else (self.source, self.source_masked)
        chosen = own if masked else plain
        return np.full(len(self.target), np.nan) if chosen is None else chosen

    def lines(self, masked: bool) -> list[Line]:
        """Return the arrays that were measured, those of the target first. Args: masked: whether masked ones too."""
        found = (
            Line("target", False, self.target),
            Line("target", True, self.target_masked) if self.target_masked is not None else None,
            Line("source", False, self.source) if self.source is not None else None,
            Line("source", True, self.source_masked) if self.source_masked is not None else None,
        )
        return [line for line in found if line is not None and (masked or not line.masked)]

    @classmethod
    def joined(cls, scores: Sequence[Scores]) -> Scores:
        """Return the scores of several sets of networks on the same examples, in this order; at least one set."""
        first, *rest = scores
        return first.changed(lambda name, values: np.concatenate([values, *(getattr(each, name) for each in rest)]))

    def at(self, *places: int) -> Scores:
        """Return the scores of some of the networks, in this order."""
        return self.changed(lambda name, values: values[list(places)])

    def changed(self, change: Callable[[str, Array], Array]) -> Scores:
        """Return scores with each array that was measured changed. Args: change: called with its name and values."""
        arrays = {name: getattr(self, name) for name in ("target", "target_masked", "source", "source_masked")}
        changed: Any = {name: change(name, found) for name, found in arrays.items() if found is not None}
        return replace(self, **changed)


@dataclass(frozen=True, eq=False)
class Evaluator:
    """The examples of target and source that networks are evaluated on."""

    target: Part
    source: Part | None
    """None where the target is the source."""
    objective: ObjectiveSpec = CLASSIFICATION
    """What the networks learn, and by which measure they are judged."""

    def of_networks(self, networks: Iterable[nn.Module]) -> Scores:
        """Evaluate networks."""
        target: list[Evaluation] = []
        source: list[Evaluation] = []
        with torch.no_grad(), one_thread():
            for network in networks:
                target.append(self._judged(network, self.target))
                if self.source:
                    source.append(self._judged(network, self.source))
        return self._scores(target, source)

    def of_strengths(self, change: WeightChange, strengths: Sequence[Strengths]) -> Scores:
        """Evaluate the base with the change of each part scaled, for each of ``strengths``."""
        target = judged(change, self.target, strengths, self.objective)
        return self._scores(target, judged(change, self.source, strengths, self.objective) if self.source else [])

    def _judged(self, network: nn.Module, part: Part) -> Evaluation:
        return evaluate(network, part.examples, part.classes, objective=self.objective)

    def _scores(self, target: Sequence[Evaluation], source: Sequence[Evaluation]) -> Scores:
        """The scores of some networks. Args: source: of the same networks; empty where the target is the source."""

        def values(found: Sequence[Evaluation], measure: Measure | None) -> Array | None:
            return np.array([each.measures[measure.name] for each in found]) if found and measure else None

        primary, masked = self.objective.primary, self.objective.masked
        return Scores(
            np.array([each.measures[primary.name] for each in target]),
            values(target, masked),
            values(source, primary),
            values(source, masked),
            self.objective,
        )


def evaluator_for(lab: Lab, run: Run, part: PartName, limit: int | None = None) -> Evaluator:
    """Read the examples of a run's target and source.

    Args:
        lab: has the datasets.
        run: a fine-tune run.
        part: ``validation`` to choose something, ``test`` to measure what was chosen.
        limit: maximum number of examples of each, drawn at random, always the same ones; None for all.

    Raises:
        DatasetError: a dataset is missing.
    """
    target, source = run.spec.task, run.spec.source
    own = lab.tasks.get(target, network=run.spec.network)
    other = lab.tasks.get(source, network=run.spec.network) if source is not None and source != target else None
    second = _part(other, part, limit) if other is not None else None
    return Evaluator(_part(own, part, limit), second, run.spec.objective)


def judged(
    change: WeightChange, part: Part, strengths: Sequence[Strengths], objective: ObjectiveSpec = CLASSIFICATION
) -> list[Evaluation]:
    """Evaluate the base with the change of each part scaled on these examples; see :func:`logits_at`.

    Raises:
        LoRAError: as of :func:`logits_at`.
    """
    _check_strengths(change, strengths)
    if not _is_chain(change.base):
        with torch.no_grad(), one_thread():
            return [
                evaluate(each, part.examples, part.classes, objective=objective)
                for each in scaled_networks(change, strengths)
            ]
    outputs: list[list[Tensor]] = [[] for _ in strengths]
    with one_thread():
        size = batch_of(change.base)
        for start in range(0, max(len(part.examples), 1), size):
            batch = part.examples.batch(slice(start, start + size))
            for place, logits in enumerate(logits_at(change, batch, strengths)):
                outputs[place].append(logits)
    return [judge(torch.cat(logits), part.examples.labels, part.classes, objective) for logits in outputs]


@torch.no_grad()
def logits_at(change: WeightChange, batch: Batch, strengths: Sequence[Strengths]) -> Iterator[Tensor]:
    """Logits of the base with W + t ΔW and b + t Δb in each layer, for many t on the same examples.

    Scaling α by t scales ΔW = s A B by t for each of LoRA's scalings, since s is proportional to α (Hu et al.,
    "LoRA", arXiv 2106.09685, §4.1). For full fine-tuning, it interpolates between the base and the tuned network, as
    in task arithmetic (Ilharco et al., arXiv 2212.04089). If all t are 0, the logits equal those of the base bit for
    bit, unless it has a new head.

    Args:
        change: base and tuned network.
        batch: inputs of m examples.
        strengths: t of each part.

    Yields:
        (m, outputs) for each of ``strengths``.

    Raises:
        LoRAError: there is a strength for an unknown part, or training changed statistics beside parameters.
    """
    _check_strengths(change, strengths)
    if _is_chain(change.base):
        yield from _logits_of_chain(change, next(iter(batch.values())), strengths)
        return
    for network in scaled_networks(change, strengths):
        with evaluating(network):
            yield forward(network, batch)


def scaled_networks(change: WeightChange, strengths: Sequence[Strengths]) -> Iterator[nn.Module]:
    """The base with the change of each part scaled, for each of ``strengths``.

    Yields:
        One and the same network, whose weights are others each time.

    Raises:
        LoRAError: as of :func:`logits_at`.
    """
    _check_strengths(change, strengths)
    if change.elsewhere_text:
        raise LoRAError(change.elsewhere_text)
    network, layers = copy.deepcopy(change.base), frozenset(change.weights)
    before, after = dict(change.base.named_parameters()), dict(change.plain.named_parameters())
    head = head_paths(change.base)
    for each in strengths:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                path = name.rpartition(".")[0]
                strength = 1.0 if is_in_head(name, head) else float(each.get(path if path in layers else REST, 1.0))
                # Exact at 0 and 1, where it is one of the two.
                torch.lerp(before[name], after[name], strength, out=parameter.data)
        yield network


def _check_strengths(change: WeightChange, strengths: Sequence[Strengths]) -> None:
    """Raises: LoRAError: there is a strength for an unknown part."""
    known = {*change.weights, REST}
    if unknown := sorted({path for each in strengths for path in each} - known):
        raise LoRAError(f"This network has no layer {unknown[0]}; it has: {', '.join(change.weights)}.")


def _is_chain(network: nn.Module) -> TypeGuard[MultilayerPerceptron]:
    """Whether a network is known to be nothing but its layers one after another."""
    return isinstance(network, MultilayerPerceptron)


def _logits_of_chain(change: WeightChange, x: Tensor, strengths: Sequence[Strengths]) -> Iterator[Tensor]:
    """:func:`logits_at` of a perceptron, whose large first product is computed only twice: x Wᵀ + t · x ΔWᵀ."""
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


def _float32(values: Array) -> Tensor:
    return torch.from_numpy(values).to(torch.float32)


def _part(task: Task, part: PartName, limit: int | None) -> Part:
    examples = task.part(part)
    if limit is not None and len(examples) > limit:
        drawn = torch.randperm(len(examples), generator=torch.Generator().manual_seed(DRAW_SEED))[:limit]
        examples = examples.at(drawn.sort().values)
    return Part(examples, task.classes)
