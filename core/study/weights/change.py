"""Weight change of one run: the base, the tuned network, and ΔW of each layer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from cachetools import LRUCache
from torch import nn

from core.errors import LoRAError
from core.lab import Lab
from core.methods.adapted import AdaptedLinear, merged_copy
from core.methods.linear import features
from core.methods.method import Role
from core.methods.targets import head_paths, mark_head, without_head
from core.networks.network import NetworkSpec
from core.numbers import listed
from core.results.arm import Arm, averaged_arms
from core.results.choice import best_arm, chosen_arms, is_adapter
from core.results.row import row_of, rows_of
from core.store.record import Run
from core.study.weights.decomposition import Array
from core.study.weights.spectrum import (
    LayerArrays,
    Spectrum,
    delta_weights,
    linear_layers,
    linear_weights,
    spectrum,
)

MAX_BYTES = 2**30
"""Maximum size of the changes that are kept in memory, unless the latest one alone is larger."""


@dataclass(frozen=True, eq=False)
class WeightChange:
    """A base and the network that was tuned from it; neither is modified."""

    base: nn.Module
    """The network that training started from."""
    tuned: nn.Module
    """The network after training: plain after full fine-tuning, with its adapters after LoRA."""
    whole: tuple[str, ...] = ()
    """Paths of layers of the base that every method trains whole, so that no rank limits their change."""

    @cached_property
    def weights(self) -> LayerArrays:
        """W of each layer before training, (out, in), by its path; layers of a new head are left out."""
        return linear_weights(self.base)

    @cached_property
    def deltas(self) -> LayerArrays:
        """ΔW of each layer, (out, in), by its path; see :func:`core.study.weights.spectrum.delta_weights`."""
        return delta_weights(self.base, self.tuned)

    @cached_property
    def plain(self) -> nn.Module:
        """The tuned network with plain linear layers; adapters are merged."""
        has_adapters = any(isinstance(module, AdaptedLinear) for module in self.tuned.modules())
        return merged_copy(self.tuned) if has_adapters else self.tuned

    @cached_property
    def changed_elsewhere(self) -> tuple[str, ...]:
        """Names of what training changed beside linear layers and a new head, such as ``norm.running_mean``."""
        linear = {f"{path}.{part}" for path in self.weights for part in ("weight", "bias")}
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
        """Singular values of a layer's ΔW. Raises: LoRAError: there is no such layer."""
        self._check(path)
        return spectrum(self.deltas[path], self.weights[path])

    def layer(self, path: str) -> tuple[Array, Array]:
        """Return W and ΔW of one layer. Raises: LoRAError: there is no such layer."""
        self._check(path)
        return self.weights[path], self.deltas[path]

    def _check(self, path: str) -> None:
        if path not in self.weights:
            raise LoRAError(f"This network has no layer {path}; it has: {', '.join(self.weights)}.")


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


class Changes:
    """Recently read weight changes, so that a page that looks at one layer after another reads files once. Thread-safe.

    What is read never changes: runs that have ended stay as they are.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, read: Callable[[Lab, Run], WeightChange] = read_change) -> None:
        """Args:
        max_bytes: maximum size of all that are kept; the latest one is kept in any case.
        read: reads one from the files of a run.
        """
        self._read = read
        self._latest: tuple[tuple[str, float | None], WeightChange] | None = None
        self._kept: LRUCache[tuple[str, float | None], WeightChange] = LRUCache(max_bytes, _bytes)
        self._lock = threading.Lock()

    def get(self, lab: Lab, run: Run) -> WeightChange:
        """The weight change of a finished run. Raises: LabError: see :func:`read_change`."""
        key = (run.id, run.ended)
        with self._lock:  # held while files are read, so that threads that want the same change wait for it
            if self._latest is None or self._latest[0] != key:
                found = self._kept.get(key) or self._read(lab, run)
                self._latest = key, found
                with suppress(ValueError):  # larger than all that may be kept
                    self._kept[key] = found
            return self._latest[1]


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


def _bytes(change: WeightChange) -> int:
    """Memory of both networks, tensors that they share counted once."""
    networks: tuple[nn.Module, ...] = (change.base, change.tuned)
    tensors = {t.data_ptr(): t.nbytes for network in networks for t in (*network.parameters(), *network.buffers())}
    return sum(tensors.values())
