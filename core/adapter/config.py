"""``adapter_config.json``: layers, ranks and alphas of an adapter, interpreted as by PEFT."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.adapter.archive import CONFIG, json_bytes, json_object
from core.errors import AdapterError, printable
from core.methods.layers import AdaptedLinear, LoRALayer, Scaling, alpha_for, scaling_factor
from core.methods.linear import is_transposed
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.registry import adapter_methods
from core.methods.targets import endings
from core.reader.patterns import first_matches

PEFT_VERSION = "0.21.0"
"""The version of PEFT whose format is written. PEFT does not require the field in LoRA files."""

HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
}
"""Fields that do not affect what a trained adapter computes on a plain network. PEFT corrects ``fan_in_fan_out`` by the
type of each layer."""

SUPPORTED = {
    "alpha_pattern",
    "lora_alpha",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "use_rslora",
}

CLASSIFICATION = "SEQ_CLS"
"""PEFT's task type of networks that classify texts."""
CLASSIFIERS = ("classifier", "score")
"""What PEFT adds to ``modules_to_save`` for that task type."""

STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that do not change the base; PiSSA, OLoRA, CorDA and LoftQ do."""

MAX_RANK = 4096
MAX_SAVED = 64
"""Maximum number of modules that are trained whole."""
MAX_ALPHA = 1e9
MAX_NAMES = 4096
"""Maximum number of names of layers; those that are no full paths are compared with every layer."""
MAX_PATTERNS = 100
"""Maximum number of patterns that are no plain names, each a regular expression that is matched against every layer."""
MAX_LENGTH = 256
"""Maximum length of a name or pattern."""

SELECTION = f"The selection of layers in {CONFIG}"

PLAIN = re.compile(r"[\w.-]+")
"""A name, without what has a meaning in regular expressions but the dot."""


@dataclass(frozen=True)
class LayerConfig:
    """What a config says of one layer."""

    is_target: bool
    """Whether the layer has an adapter."""
    rank: int
    alpha: float
    """As PEFT defines it."""


@dataclass(frozen=True)
class AdapterConfig:
    """The fields of PEFT's ``LoraConfig`` that affect what an adapter computes."""

    rank: int
    alpha: float
    """``lora_alpha``: the factor on the adapter's output is alpha/r, or alpha/√r with ``use_rslora``."""
    use_rslora: bool
    target_modules: tuple[str, ...] | str
    """Names, each a path or its last components; or one regular expression; or ``all-linear``."""
    rank_pattern: Mapping[str, int]
    """Ranks that differ from ``rank``, by pattern; the first match counts."""
    alpha_pattern: Mapping[str, float]
    method: type[LowRankSpec] = LoRASpec
    """The method whose layers compute the adapter."""
    modules_to_save: tuple[str, ...] = ()
    """Ends of the paths of modules that are trained whole and saved with the adapter: the head."""
    fan_in_fan_out: bool = False
    """Whether all adapted layers are transposed. PEFT finds out by itself, but warns where this says otherwise."""

    @classmethod
    def of(cls, lora: LowRankSpec, layers: Mapping[str, AdaptedLinear], head: Iterable[str] = ()) -> AdapterConfig:
        """The config with which PEFT computes the same as ``layers``.

        Layers are named by their full paths, because ``0`` would also match any other path that ends in ``.0``.

        Args:
            lora: the settings of the adapters.
            layers: the adapted layers, by path.
            head: paths of the modules that are trained whole.
        """
        alpha = _peft_alpha(lora.scaling, lora.alpha, lora.rank)
        ranks = {path: layer.lora.rank for path, layer in layers.items()}
        alphas = {path: _layer_alpha(lora.scaling, layer.lora) for path, layer in layers.items()}
        return cls(
            rank=lora.rank,
            alpha=alpha,
            use_rslora=lora.scaling == "alpha/sqrt(r)",
            target_modules=tuple(sorted(layers)),
            rank_pattern={path: rank for path, rank in ranks.items() if rank != lora.rank},
            alpha_pattern={path: own for path, own in alphas.items() if own != alpha},
            method=type(lora),
            modules_to_save=tuple(head),
            fan_in_fan_out=bool(layers) and all(is_transposed(layer.linear) for layer in layers.values()),
        )

    @classmethod
    def from_json(cls, content: bytes) -> AdapterConfig:
        """Parse a config file.

        Raises:
            AdapterError: not a LoRA config, out of bounds, or with an unsupported setting.
        """
        values = json_object(content, CONFIG)
        if values.get("peft_type") != "LORA":
            raise AdapterError(f"The adapter has the type {values.get('peft_type')!r:.80}; only LORA is supported.")
        method = _method(values)
        for name, value in values.items():
            off = value is None or value is False or value in ("none", "", {}, [])  # 0 is the number of a layer
            if name not in HARMLESS | SUPPORTED | method.peft_fields.keys() and not off:
                raise AdapterError(f"The adapter uses {printable(name)}={value!r:.80}, which is not supported.")
        if values.get("init_lora_weights", True) not in STARTS:
            raise AdapterError(
                f"The adapter was initialized with {values['init_lora_weights']!r:.80}, which changes the base: "
                "convert it to a plain LoRA adapter in PEFT first."
            )
        rslora = values.get("use_rslora", False)
        if not isinstance(rslora, bool):
            raise AdapterError(f"use_rslora in {CONFIG} must be true or false, not {rslora!r:.80}.")
        return cls(
            rank=_rank(values.get("r", 8)),
            alpha=_alpha(values.get("lora_alpha", 8)),
            use_rslora=rslora,
            target_modules=_targets(values.get("target_modules")),
            rank_pattern={key: _rank(value) for key, value in _patterns(values, "rank_pattern")},
            alpha_pattern={key: _alpha(value) for key, value in _patterns(values, "alpha_pattern")},
            method=method,
            modules_to_save=_saved(values),
            fan_in_fan_out=bool(values.get("fan_in_fan_out")),
        )

    def to_json(self) -> bytes:
        """Serialize in PEFT's format; the same bytes for the same config."""
        return json_bytes(
            {
                "alpha_pattern": {path: _number(alpha) for path, alpha in self.alpha_pattern.items()},
                # PEFT would look for a name on the Hub, where it may be a different model.
                "base_model_name_or_path": None,
                "bias": "none",
                "fan_in_fan_out": self.fan_in_fan_out,
                "inference_mode": True,
                "init_lora_weights": True,
                "lora_alpha": _number(self.alpha),
                "lora_dropout": 0.0,
                "peft_type": "LORA",
                "peft_version": PEFT_VERSION,
                "r": self.rank,
                "rank_pattern": dict(self.rank_pattern),
                "target_modules": (
                    self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
                ),
                "task_type": CLASSIFICATION if self.modules_to_save else None,
                "use_rslora": self.use_rslora,
                **({"modules_to_save": list(self.modules_to_save)} if self.modules_to_save else {}),
                **self.method.peft_fields,
            }
        )

    def layers(self, paths: Collection[str]) -> dict[str, LayerConfig]:
        """What this says of each linear layer of a network, as PEFT reads it.

        Args:
            paths: of the layers.

        Raises:
            AdapterError: it selects layers by a regular expression that is not valid, or takes long to match.
        """
        ordered, names = tuple(paths), frozenset(self.target_modules)
        keys = tuple(self.rank_pattern), tuple(self.alpha_pattern)
        is_all = self.target_modules == "all-linear"
        expression = () if is_all or isinstance(self.target_modules, tuple) else (self.target_modules,)
        ranks = alphas = chosen = (-1,) * len(ordered)
        if expression or any(keys):
            # PEFT matches the keys with the end of a path.
            ends = (tuple(rf"(.*\.)?({key})" for key in group) for group in keys)
            ranks, alphas, chosen = first_matches((*ends, expression), ordered, SELECTION, AdapterError)
        found = {}
        for path, rank, alpha, target in zip(ordered, ranks, alphas, chosen, strict=True):
            # PEFT's check_target_module_exists
            is_named = target == 0 if expression else is_all or not names.isdisjoint(endings(path))
            found[path] = LayerConfig(
                is_target=is_named and not any(f".{name}." in f".{path}." for name in self.modules_to_save),
                rank=self.rank if rank < 0 else self.rank_pattern[keys[0][rank]],
                alpha=self.alpha if alpha < 0 else self.alpha_pattern[keys[1][alpha]],
            )
        return found

    def saves(self, path: str) -> bool:
        """Whether the module at ``path`` is trained whole: the rule of PEFT's ``_set_trainable``."""
        return path.endswith(self.modules_to_save)

    @property
    def scaling(self) -> Scaling:
        """How the factor on an adapter's output is computed."""
        return "alpha/sqrt(r)" if self.use_rslora else "alpha/r"


def _method(values: Mapping[str, Any]) -> type[LowRankSpec]:
    """The method whose fields a config has, the one with most of them; LoRA has none of its own."""
    fitting = [
        method
        for method in adapter_methods().values()
        if all(values.get(name) == value for name, value in method.peft_fields.items())
    ]
    return max(fitting, key=lambda method: len(method.peft_fields))


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
        raise AdapterError(f"A rank in {CONFIG} must be a whole number from 1 to {MAX_RANK}, not {value!r:.80}.")
    return value


def _alpha(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_ALPHA:
        raise AdapterError(
            f"A lora_alpha in {CONFIG} must be a number above 0 and at most {MAX_ALPHA:g}, not {value!r:.80}."
        )
    return float(value)


def _targets(value: Any) -> tuple[str, ...] | str:
    if isinstance(value, str):
        if len(value) > MAX_LENGTH:
            raise AdapterError(f"target_modules in {CONFIG} has a pattern of more than {MAX_LENGTH} characters.")
        return value
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise AdapterError(f"target_modules in {CONFIG} must name the layers that have an adapter.")
    if any(len(name) > MAX_LENGTH for name in value):
        raise AdapterError(f"target_modules in {CONFIG} has a name of more than {MAX_LENGTH} characters.")
    if len(value) > MAX_NAMES:
        raise AdapterError(f"target_modules in {CONFIG} has {len(value):,} names: the limit is {MAX_NAMES:,}.")
    return tuple(value)


def _saved(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules that are trained whole, with those that PEFT adds for the task type."""
    found = values.get("modules_to_save") or []
    if not isinstance(found, list) or not all(map(_is_name, found)):
        raise AdapterError(f"modules_to_save in {CONFIG} must name the modules that are trained whole.")
    if len(found) > MAX_SAVED:
        raise AdapterError(f"modules_to_save in {CONFIG} has {len(found):,} names: the limit is {MAX_SAVED}.")
    added = CLASSIFIERS if values.get("task_type") == CLASSIFICATION else ()
    return tuple(dict.fromkeys((*found, *added)))


def _is_name(value: Any) -> bool:
    """Whether a value is a name of a module, without what has a meaning in regular expressions but the dot."""
    return isinstance(value, str) and len(value) <= MAX_LENGTH and PLAIN.fullmatch(value) is not None


def _patterns(values: Mapping[str, Any], field: str) -> Iterable[tuple[str, Any]]:
    patterns = values.get(field) or {}
    if not isinstance(patterns, dict):
        raise AdapterError(f"{field} in {CONFIG} must map names of layers to numbers.")
    if len(patterns) > MAX_NAMES:
        raise AdapterError(f"{field} in {CONFIG} has {len(patterns):,} names: the limit is {MAX_NAMES:,}.")
    if (count := sum(not PLAIN.fullmatch(key) for key in patterns)) > MAX_PATTERNS:
        raise AdapterError(f"{field} in {CONFIG} has {count:,} patterns: the limit is {MAX_PATTERNS}.")
    if any(len(key) > MAX_LENGTH and not PLAIN.fullmatch(key) for key in patterns):
        raise AdapterError(f"{field} in {CONFIG} has a pattern of more than {MAX_LENGTH} characters.")
    return patterns.items()
