"""PEFT's ``LoraConfig``: ranks and alphas of LoRA and its variants, interpreted as by PEFT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from core.errors import AdapterError
from core.methods.layers import MATRICES, LoRALayer, LowRankLinear, Scaling, alpha_for, scaling_factor
from core.methods.peft_config import (
    CONFIG_FILE,
    MAX_LENGTH,
    MAX_NAMES,
    PLAIN,
    TENSORS_FILE,
    LayerSettings,
    PeftConfig,
    check_values,
)

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
