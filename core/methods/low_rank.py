"""What LoRA and its variants share: low-rank matrices beside the frozen weights of some linear layers, and ranks and
alphas in PEFT's ``LoraConfig``, interpreted as by PEFT.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from core.errors import AdapterError, LoRAError
from core.methods.adapted import AdaptedLinear
from core.methods.adapter import (
    CONFIG_FILE,
    MAX_LENGTH,
    MAX_NAMES,
    PLAIN,
    TENSORS_FILE,
    AdapterSpec,
    LayerSettings,
    PeftConfig,
    Targets,
    check_values,
    free_layers,
    put_adapters,
    targets_field,
)
from core.methods.layers import MATRICES, LoRALayer, LowRankLinear, Scaling, Start, alpha_for, scaling_factor
from core.methods.linear import features
from core.methods.targets import find_targets

STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that do not change the base; PiSSA, OLoRA, CorDA and LoftQ do."""

MAX_RANK = 4096
MAX_ALPHA = 1e9
MAX_PATTERNS = 100
"""Maximum number of patterns that are no plain names, each a regular expression that is matched against every layer."""


@dataclass(frozen=True)
class LoraSettings(LayerSettings):
    """Rank and alpha of one layer."""

    alpha: float = 1.0
    """As PEFT defines it."""


@dataclass(frozen=True)
class LoraConfig(PeftConfig):
    """The fields of PEFT's ``LoraConfig`` that affect what an adapter computes."""

    peft_type = "LORA"
    supported = frozenset({"alpha_pattern", "lora_alpha", "r", "rank_pattern", "use_rslora"})
    harmless = frozenset(
        {"eva_config", "init_lora_weights", "lora_dropout", "megatron_core", "qalora_group_size", "runtime_config"}
    )

    rank: int
    alpha: float
    """``lora_alpha``: the factor on the adapter's output is alpha/r, or alpha/√r with ``use_rslora``."""
    use_rslora: bool
    rank_pattern: Mapping[str, int]
    """Ranks that differ from ``rank``, by pattern; the first match counts."""
    alpha_pattern: Mapping[str, float]

    @classmethod
    def of(cls, rank: int, alpha: float, scaling: Scaling, layers: Mapping[str, LoRALayer]) -> Self:
        """The fields with which PEFT computes the same as adapters.

        Args:
            rank: that most layers have.
            alpha: the strength.
            scaling: how the factor is computed from both.
            layers: the adapters, by path of the layer.
        """
        usual = _peft_alpha(scaling, alpha, rank)
        alphas = {path: _layer_alpha(scaling, layer) for path, layer in layers.items()}
        return cls(
            rank=rank,
            alpha=usual,
            use_rslora=scaling == "alpha/sqrt(r)",
            rank_pattern={path: layer.rank for path, layer in layers.items() if layer.rank != rank},
            alpha_pattern={path: own for path, own in alphas.items() if own != usual},
        )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        if values.get("init_lora_weights", True) not in STARTS:
            raise AdapterError(
                f"The adapter was initialized with {values['init_lora_weights']!r:.80}, which changes the base: "
                "convert it to a plain LoRA adapter in PEFT first."
            )
        rslora = values.get("use_rslora", False)
        if not isinstance(rslora, bool):
            raise AdapterError(f"use_rslora in {CONFIG_FILE} must be true or false, not {rslora!r:.80}.")
        return cls(
            rank=_rank(values.get("r", 8)),
            alpha=_alpha(values.get("lora_alpha", 8)),
            use_rslora=rslora,
            rank_pattern={key: _rank(value) for key, value in _patterns(values, "rank_pattern")},
            alpha_pattern={key: _alpha(value) for key, value in _patterns(values, "alpha_pattern")},
        )

    def written(self) -> dict[str, Any]:
        return {
            "alpha_pattern": {path: _number(alpha) for path, alpha in self.alpha_pattern.items()},
            "bias": "none",
            "init_lora_weights": True,
            "lora_alpha": _number(self.alpha),
            "lora_dropout": 0.0,
            "r": self.rank,
            "rank_pattern": dict(self.rank_pattern),
            "use_rslora": self.use_rslora,
        }

    @property
    def usual_rank(self) -> int:
        return self.rank

    @property
    def patterns(self) -> Sequence[Sequence[str]]:
        return tuple(self.rank_pattern), tuple(self.alpha_pattern)

    def at(self, matches: Sequence[int]) -> LoraSettings:
        ranks, alphas = self.patterns
        rank, alpha = matches
        return LoraSettings(
            rank=self.rank if rank < 0 else self.rank_pattern[ranks[rank]],
            alpha=self.alpha if alpha < 0 else self.alpha_pattern[alphas[alpha]],
        )

    @property
    def scaling(self) -> Scaling:
        """How the factor on an adapter's output is computed."""
        return "alpha/sqrt(r)" if self.use_rslora else "alpha/r"

    def check(self, kind: type[LowRankLinear], path: str, tensors: Mapping[str, Tensor], own: LoraSettings) -> None:
        for side, (letter, name) in enumerate(zip("AB", MATRICES, strict=True)):
            tensor = tensors.get(name)
            if tensor is None:
                raise AdapterError(f"{TENSORS_FILE} lacks matrix {letter} of layer {path:.80}.")
            if tensor.ndim != 2 or tensor.shape[side] != own.rank or tensor.shape[1 - side] < 1:
                raise AdapterError(
                    f"Matrix {letter} of layer {path:.80} has shape {tuple(tensor.shape)}, which is not of rank "
                    f"{own.rank}."
                )
            check_values(tensor, f"Matrix {letter} of layer {path:.80}")
        for name, shape in kind.other_shapes(tensors[MATRICES[1]].shape[0]).items():
            tensor = tensors.get(name)
            if tensor is None:
                raise AdapterError(f"{TENSORS_FILE} lacks {name} of layer {path:.80}.")
            if tensor.shape != shape:
                raise AdapterError(
                    f"The vector {name} of layer {path:.80} has shape {tuple(tensor.shape)}, not {shape}."
                )
            check_values(tensor, f"The vector {name} of layer {path:.80}")

    def features(self, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
        A, B = (tensors[name] for name in MATRICES)
        return A.shape[1], B.shape[0]

    def layer(
        self, kind: type[LowRankLinear], linear: nn.Linear, tensors: Mapping[str, Tensor], own: LoraSettings
    ) -> LowRankLinear:
        A, B = (tensors[name].T.float().contiguous() for name in MATRICES)
        others = {name: tensors[peft].float() for name, peft in kind.names.items() if peft not in MATRICES}
        return kind.holding(linear, A, B, own.alpha, self.scaling, others)


def _layer_alpha(scaling: Scaling, layer: LoRALayer) -> float:
    """The ``lora_alpha`` with which PEFT computes the factor of one layer."""
    alpha = layer.alpha
    if scaling_factor(scaling, alpha, layer.rank) != layer.scaling:
        alpha = alpha_for(scaling, layer.scaling, layer.rank)
    return _peft_alpha(scaling, alpha, layer.rank)


def _peft_alpha(scaling: Scaling, alpha: float, rank: int) -> float:
    """The ``lora_alpha`` with which PEFT computes the factor that ``scaling`` gives ``alpha`` at ``rank``."""
    if scaling != "alpha":
        return alpha
    # Dividing the product by the rank may differ from alpha in the last bit; an adjacent float usually gives alpha.
    near = alpha * rank
    candidates = (near, math.nextafter(near, 0), math.nextafter(near, math.inf))
    return next((value for value in candidates if scaling_factor("alpha/r", value, rank) == alpha), near)


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _rank(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_RANK:
        raise AdapterError(f"A rank in {CONFIG_FILE} must be a whole number from 1 to {MAX_RANK}, not {value!r:.80}.")
    return value


def _alpha(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_ALPHA:
        raise AdapterError(
            f"A lora_alpha in {CONFIG_FILE} must be a number above 0 and at most {MAX_ALPHA:g}, not {value!r:.80}."
        )
    return float(value)


def _patterns(values: Mapping[str, Any], field: str) -> Iterable[tuple[str, Any]]:
    patterns = values.get(field) or {}
    if not isinstance(patterns, dict):
        raise AdapterError(f"{field} in {CONFIG_FILE} must map names of layers to numbers.")
    if len(patterns) > MAX_NAMES:
        raise AdapterError(f"{field} in {CONFIG_FILE} has {len(patterns):,} names: the limit is {MAX_NAMES:,}.")
    if (count := sum(not PLAIN.fullmatch(key) for key in patterns)) > MAX_PATTERNS:
        raise AdapterError(f"{field} in {CONFIG_FILE} has {count:,} patterns: the limit is {MAX_PATTERNS}.")
    if any(len(key) > MAX_LENGTH and not PLAIN.fullmatch(key) for key in patterns):
        raise AdapterError(f"{field} in {CONFIG_FILE} has a pattern of more than {MAX_LENGTH} characters.")
    return patterns.items()


class LowRankSpec(AdapterSpec):
    """Settings of adapters of low rank. A subclass says of which class the adapted layers are."""

    size_field = "rank"
    strength_field = "alpha"
    drawn = "the draw of LoRA's A"
    card_fields = ("rank", "alpha", "scaling")
    layer: ClassVar[type[LowRankLinear]]
    peft = LoraConfig

    rank: int = Field(
        4,
        ge=1,
        le=512,
        title="Rank",
        description="Inner dimension r of the two matrices A and B. On rotated digits ranks 1, 4 and 16 reached "
        "accuracies of 79.8, 87.1 and 88.5, full fine-tuning 90.82 (docs/studies, 10 epochs).",
    )
    alpha: float = Field(
        8.0, gt=0, le=4096, title="Alpha", description="Strength of the adapter's output; see scaling."
    )
    scaling: Scaling = Field(
        "alpha/r",
        title="Scaling",
        description="Factor on the adapter's output: alpha/r (paper, PEFT), alpha (plain) or alpha/sqrt(r) (rsLoRA).",
    )
    start: Start = Field(
        "kaiming",
        title="Initialization of A",
        description="Random distribution of A. B always starts at zero, so that training starts exactly from the base.",
    )
    target_modules: Targets = targets_field()

    @property
    def label(self) -> str:
        return f"{self.short} r={self.rank}"

    @property
    def inner_rank(self) -> int:
        return self.rank

    @property
    def facts(self) -> str:
        return f"alpha {self.alpha:g}, scaling {self.scaling}, A drawn {self.start}, on {' '.join(self.target_modules)}"

    def check_fit(self, linears: Mapping[str, nn.Linear]) -> None:
        limit = max(min(features(linear)) for linear in linears.values())
        if self.rank > limit:
            raise LoRAError(
                f"Rank {self.rank} is above {limit}, the maximum for the targeted layers; choose a smaller rank."
            )

    def adapted(
        self, linear: nn.Linear, generator: torch.Generator | None, layer: type[LowRankLinear] | None = None
    ) -> LowRankLinear:
        rank = min(self.rank, *features(linear))
        # An uncapped layer gets alpha unchanged: computing it from the factor could change its last bit.
        factor = scaling_factor(self.scaling, self.alpha, self.rank)
        alpha = self.alpha if rank == self.rank else alpha_for(self.scaling, factor, rank)
        return (layer or self.layer)(linear, rank, alpha, self.scaling, self.start, generator)

    def peft_config(self, layers: Mapping[str, AdaptedLinear]) -> LoraConfig:
        own = {path: layer.lora for path, layer in layers.items() if isinstance(layer, LowRankLinear)}
        return LoraConfig.of(self.rank, self.alpha, self.scaling, own)

    def describes(self, base: nn.Module, layers: Mapping[str, AdaptedLinear]) -> bool:
        factor = scaling_factor(self.scaling, self.alpha, self.rank)
        targets = find_targets(base, self.target_modules)
        expected = {path: min(self.rank, *features(linear)) for path, linear in targets.items()}
        return expected == {path: layer.rank for path, layer in layers.items()} and all(
            isinstance(layer, LowRankLinear)
            and layer.names == self.layer.names
            and math.isclose(layer.lora.scaling, factor, rel_tol=1e-12)
            for layer in layers.values()
        )


def add_lora(
    model: nn.Module,
    config: LowRankSpec,
    generator: torch.Generator | None = None,
    layer: type[LowRankLinear] | None = None,
) -> nn.Module:
    """Add adapters to the targeted layers of ``model`` and freeze everything else, in place.

    A layer whose min(in, out) is below the rank gets that smaller rank, since a higher one would add parameters but no
    expressiveness; its scaling is that of the requested rank.

    Args:
        model: any network; only plain linear layers can be targeted, see :func:`core.methods.targets.find_targets`.
        config: rank, alpha, scaling, start and targets.
        generator: random number generator for A.
        layer: class of the adapted layers, such as :class:`core.methods.layers.LinearWithLoRAMerged`; None for the
            method's own.

    Returns:
        ``model`` itself.

    Raises:
        LoRAError: a target matches nothing or something that is not a plain linear layer, the rank is above every
            targeted layer's min(in, out), or the model already has adapters. The model is then unchanged.
    """
    linears = free_layers(model, config.target_modules)
    config.check_fit(linears)
    return put_adapters(model, linears, lambda linear: config.adapted(linear, generator, layer))
