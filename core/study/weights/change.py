"""Weight change of one run: the base, the tuned network, ΔW of each layer, and networks with ΔW cut or rescaled.

Weights are float64 arrays of shape (out, in) by the path of their layer. Biases are left out, and so is a head that was
drawn from a seed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import nn

from core.errors import BaseMismatchError, LoRAError
from core.lab import Lab
from core.methods.adapted import AdaptedLinear, frozen_weight, merged_copy, plain_linear
from core.methods.linear import features, is_linear, is_transposed
from core.methods.method import Role
from core.methods.targets import head_paths, is_in_head, mark_head, without_head
from core.networks.network import NetworkSpec
from core.numbers import listed
from core.results.arm import Arm, averaged_arms
from core.results.choice import best_arm, chosen_arms, is_adapter
from core.results.row import row_of, rows_of
from core.store.record import Run
from core.study.weights.spectrum import Array, Spectrum, spectrum, truncations


def linear_layers(network: nn.Module) -> dict[str, nn.Linear | AdaptedLinear]:
    """The linear layers of a network but those of its head, by path; an adapted one has the path of the plain one."""
    found: dict[str, nn.Linear | AdaptedLinear] = {}
    head = head_paths(network)
    for path, module in network.named_modules():
        inside = path.rpartition(".")[0] in found or is_in_head(path, head)
        if (isinstance(module, AdaptedLinear) or is_linear(module)) and not inside:
            found[path] = module
    return found


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().to(torch.float64).numpy().copy()


@dataclass(frozen=True, eq=False)
class WeightChange:
    """A base and the network that was tuned from it; neither is modified.

    W and ΔW are computed when they are asked for and not kept: in float64, those of all layers of a transformer would
    take several times the network's memory.

    Raises:
        BaseMismatchError: the networks have different layers, or the adapters were put on other weights.
    """

    base: nn.Module
    """The network that training started from."""
    tuned: nn.Module
    """The network after training: plain after full fine-tuning, with its adapters after LoRA."""
    whole: tuple[str, ...] = ()
    """Paths of layers of the base that every method trains whole, so that no rank limits their change."""

    def __post_init__(self) -> None:
        """Check that both have the same layers, and adapters the weights of the base."""
        before, after = linear_layers(self.base), linear_layers(self.tuned)
        sizes = [{path: features(plain_linear(layer)) for path, layer in each.items()} for each in (before, after)]
        if sizes[0] != sizes[1]:
            raise BaseMismatchError(
                "These two networks have different layers: choose a base and what was tuned from it."
            )
        for path, layer in after.items():
            if isinstance(layer, AdaptedLinear) and not torch.equal(frozen_weight(layer), frozen_weight(before[path])):
                raise BaseMismatchError(f"The adapter of layer {path} was trained on another base: choose that one.")

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Paths of the linear layers, from the input to the output; those of a new head are left out."""
        return tuple(linear_layers(self.base))

    def weight(self, path: str) -> Array:
        """(out, in) W of a layer before training."""
        return _array(frozen_weight(linear_layers(self.base)[path]))

    def delta(self, path: str) -> Array:
        """(out, in) ΔW of a layer: the tuned weight minus the base's.

        An adapted layer, merged or not, gives ΔW from its own matrices in float64, as s · (A B)ᵀ. The difference of the
        sums would be the same but for rounding, which makes a low rank look full.
        """
        layer = linear_layers(self.tuned)[path]
        if isinstance(layer, AdaptedLinear):
            return _array(layer.delta(torch.float64))
        return _array(frozen_weight(layer)) - self.weight(path)

    @cached_property
    def plain(self) -> nn.Module:
        """The tuned network with plain linear layers; adapters are merged."""
        has_adapters = any(isinstance(module, AdaptedLinear) for module in self.tuned.modules())
        return merged_copy(self.tuned) if has_adapters else self.tuned

    @cached_property
    def changed_elsewhere(self) -> tuple[str, ...]:
        """Names of what training changed beside linear layers and a new head, such as ``norm.running_mean``."""
        linear = {f"{path}.{part}" for path in self.layers for part in ("weight", "bias")}
        before, after = without_head(self.base), self.plain.state_dict()
        return tuple(name for name in before if name not in linear and not torch.equal(before[name], after[name]))

    @property
    def elsewhere_text(self) -> str:
        """A sentence on statistics that training changed, which have no strength; empty if there are none."""
        parameters = {name for name, _ in self.base.named_parameters(remove_duplicate=False)}
        if parameters.issuperset(self.changed_elsewhere):
            return ""
        layers = listed(sorted({name.rpartition(".")[0] or name for name in self.changed_elsewhere}))
        return (
            f"Training also changed what is not linear in this network ({layers}), so the strength of its change "
            "cannot be set."
        )

    def spectrum(self, path: str) -> Spectrum:
        """Singular values of a layer's ΔW."""
        return spectrum(self.delta(path), self.weight(path))


def read_change(lab: Lab, run: Run) -> WeightChange:
    """Read the weight change of a finished fine-tune run from its files.

    Args:
        lab: has the run.
        run: which one.

    Raises:
        UnknownRunError: the run is a base, or a file is missing.
        RunStateError: the run has no result yet.
        NetworkFileError: a network's file is damaged.
        AdapterError: the adapter's file is damaged, or was trained on another base.
    """
    base = lab.artifacts.base_network(run)
    tuned = lab.artifacts.trained(run)
    mark_head(tuned, head_paths(base))  # a head that the base has, too, is a layer as any other
    return WeightChange(base, tuned, run.spec.trained_network.head_paths if run.spec.head else ())


def cut_networks(change: WeightChange, ranks: Sequence[int]) -> Iterator[nn.Module]:
    """The control "full fine-tuning cut to rank r": the tuned network with every layer's ΔW cut by :func:`truncations`.

    Biases keep their tuned values, and so does a head, which every method trains whole. Adapters train no biases, so
    this has a little more than one of that rank.

    Args:
        change: of full fine-tuning.
        ranks: one for each network.
    """
    cuts = {path: truncations(change.delta(path), ranks) for path in change.layers if path not in change.whole}
    for _ in ranks:
        network = copy.deepcopy(change.plain)
        layers = linear_layers(network)
        with torch.no_grad():
            for path, deltas in cuts.items():
                weight, layer = torch.from_numpy(change.weight(path) + next(deltas)), plain_linear(layers[path])
                layer.weight.copy_(weight.T if is_transposed(layer) else weight)
        yield network


def scaled_networks(change: WeightChange, strengths: Iterable[float]) -> Iterator[nn.Module]:
    """The base with t times the trained change of everything but a new head, which always has its trained weights.

    Scaling α by t scales ΔW = s A B by t for each of LoRA's scalings, since s is proportional to α (Hu et al.,
    "LoRA", arXiv 2106.09685, §4.1). For full fine-tuning it interpolates between the base and the tuned network, as in
    task arithmetic (Ilharco et al., arXiv 2212.04089).

    Args:
        change: base and tuned network.
        strengths: each t; 0 is the base bit for bit, 1 the trained network.

    Yields:
        One and the same network, whose weights are others each time.

    Raises:
        LoRAError: training changed statistics beside parameters, which have no strength.
    """
    if change.elsewhere_text:
        raise LoRAError(change.elsewhere_text)
    network, head = copy.deepcopy(change.base), head_paths(change.base)
    before, after = dict(change.base.named_parameters()), dict(change.plain.named_parameters())
    for strength in strengths:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                own = 1.0 if is_in_head(name, head) else strength
                torch.lerp(before[name], after[name], own, out=parameter.data)  # exact at 0 and 1
        yield network


@lru_cache(maxsize=32)
def layer_shapes(network: NetworkSpec) -> Mapping[str, tuple[int, int]]:
    """Return (out, in) of each linear layer of a network but those of a new head, by its path; no file is read."""
    sizes = {path: features(layer) for path, layer in linear_layers(network.build()).items()}
    return {path: (outputs, inputs) for path, (inputs, outputs) in sizes.items()}


def main_arms(runs: Iterable[Run], always: Run | None = None) -> list[Arm]:
    """Return the chosen arm of full fine-tuning and of each rank of LoRA; see :mod:`core.results.choice`.

    Args:
        runs: all of one experiment.
        always: one whose arm is included in any case: without its stopped runs, or of them with this one alone.

    Returns:
        Arms in :func:`core.results.setting.order`; all of them if none has finished without a failed seed.
    """
    rows = rows_of(runs)
    chosen = {arm.key: arm for arm in chosen_arms(rows) if arm.role is not Role.CONTROL}
    arms = [arm for arm in averaged_arms(rows) if arm.role is not Role.CONTROL]
    own = always.spec.arm if always is not None else None
    shown = [chosen.get(arm.key, arm) for arm in arms if not chosen or arm.key in chosen or arm.key == own]
    if always is None or always.state == "finished":
        return shown
    return [replace(arm, rows=(row_of(always),)) if arm.key == own else arm for arm in shown]


def main_run(runs: Iterable[Run]) -> Run | None:
    """Return the run to show first: of the best LoRA arm, else of full fine-tuning; None if no run has a result."""
    everything = list(runs)
    arms = main_arms(everything)
    # LoRA first: its adapters are what the sliders are about.
    arm = best_arm(rows_of(everything), is_adapter) or next(
        (arm for arm in arms if arm.role is Role.ADAPTER), arms[0] if arms else None
    )
    return arm.runs[0] if arm is not None else None


def run_of_seed(arm: Arm, seed: int) -> Run:
    """Return the run of an arm with this seed, or else its first run."""
    return next((run for run in arm.runs if run.spec.seed == seed), arm.runs[0])
