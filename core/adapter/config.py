"""``adapter_config.json``: layers, ranks and alphas of an adapter, interpreted as by PEFT.

Its regular expressions are matched in the reader: some take longer than anybody lives.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.adapter.archive import CONFIG, json_bytes, json_object
from core.errors import AdapterError, LabError, printable
from core.methods.adapted import AdaptedLinear
from core.methods.adapter import MAX_LENGTH, MAX_NAMES, PLAIN, AdapterSpec, PeftConfig
from core.methods.linear import is_transposed
from core.methods.registry import peft_types, written_as
from core.methods.targets import endings
from core.reader.opening import in_reader
from core.reader.process import Limits


@in_reader(LabError, limits=Limits(memory=2**28, cpu=2, wall=30))
def first_matches(
    groups: tuple[tuple[str, ...], ...], texts: tuple[str, ...], what: str, error: type[LabError]
) -> tuple[tuple[int, ...], ...]:
    """For each group and each text, the index of the first expression that matches all of the text; -1 if none does.

    All of them share one limit on time.

    Args:
        groups: regular expressions.
        texts: what they are matched with.
        what: subject of error messages.
        error: class of the errors.

    Raises:
        error: an expression is not valid, or they take too long.
    """
    found = []
    for group in groups:
        compiled = []
        for expression in group:
            try:
                compiled.append(re.compile(expression))
            except (re.error, OverflowError, RecursionError) as problem:
                raise error(f"{what} has {expression!r:.80}, which cannot be used: {problem}.") from problem
        found.append(tuple(next((n for n, one in enumerate(compiled) if one.fullmatch(text)), -1) for text in texts))
    return tuple(found)


PEFT_VERSION = "0.21.0"
"""The version of PEFT whose format is written. PEFT does not require the field in LoRA files."""

HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "fan_in_fan_out",
    "inference_mode",
    "peft_version",
    "revision",
    "task_type",
}
"""Fields of all types that do not affect what a trained adapter computes on a plain network. PEFT corrects
``fan_in_fan_out`` by the type of each layer."""

SUPPORTED = {"modules_to_save", "peft_type", "target_modules"}
"""Fields of all types that are read."""

CLASSIFICATION, CAUSAL = "SEQ_CLS", "CAUSAL_LM"
"""PEFT's task types of networks that classify texts, and of those that continue them."""
CLASSIFIERS = ("classifier", "score")
"""What PEFT adds to ``modules_to_save`` for the first of these."""

MAX_SAVED = 64
"""Maximum number of modules that are trained whole."""

SELECTION = f"The selection of layers in {CONFIG}"


@dataclass(frozen=True)
class LayerConfig:
    """What a config says of one layer."""

    is_target: bool
    """Whether the layer has an adapter."""
    settings: Any
    """Those of the method; see :class:`core.methods.adapter.LayerSettings`."""


@dataclass(frozen=True)
class AdapterConfig:
    """The fields of PEFT's config that affect what an adapter computes."""

    method: type[AdapterSpec]
    """The method whose layers compute the adapter."""
    own: PeftConfig
    """The method's own fields."""
    target_modules: tuple[str, ...] | str
    """Names, each a path or its last components; or one regular expression; or ``all-linear``."""
    modules_to_save: tuple[str, ...] = ()
    """Ends of the paths of modules that are trained whole and saved with the adapter: the head."""
    task_type: str | None = None
    """What PEFT calls the task."""
    fan_in_fan_out: bool = False
    """Whether all adapted layers are transposed. PEFT finds out by itself, but warns where this says otherwise."""

    @classmethod
    def of(
        cls,
        method: AdapterSpec,
        layers: Mapping[str, AdaptedLinear],
        head: Iterable[str] = (),
        task_type: str | None = None,
    ) -> AdapterConfig:
        """The config with which PEFT computes the same as ``layers``.

        Layers are named by their full paths, because ``0`` would also match any other path that ends in ``.0``.

        Args:
            method: the settings of the adapters.
            layers: the adapted layers, by path.
            head: paths of the modules that are trained whole.
            task_type: see the field.
        """
        return cls(
            method=type(method),
            own=method.peft_config(layers),
            target_modules=tuple(sorted(layers)),
            modules_to_save=tuple(head),
            task_type=task_type,
            fan_in_fan_out=bool(layers) and all(is_transposed(layer.linear) for layer in layers.values()),
        )

    @classmethod
    def from_json(cls, content: bytes) -> AdapterConfig:
        """Parse a config file.

        Raises:
            AdapterError: of a type that no method has, out of bounds, or with an unsupported setting.
        """
        values = json_object(content, CONFIG)
        method = _method(values)
        known = HARMLESS | SUPPORTED | method.peft.harmless | method.peft.supported | method.marks.keys()
        for name, value in values.items():
            off = value is None or value is False or value in ("none", "", {}, [])  # 0 is the number of a layer
            if name not in known and not off:
                raise AdapterError(f"The adapter uses {printable(name)}={value!r:.80}, which is not supported.")
        return cls(
            method=method,
            own=method.peft.read(values),
            target_modules=_targets(values.get("target_modules")),
            modules_to_save=_saved(values),
            task_type=next((known for known in (CLASSIFICATION, CAUSAL) if values.get("task_type") == known), None),
            fan_in_fan_out=bool(values.get("fan_in_fan_out")),
        )

    def to_json(self) -> bytes:
        """Serialize in PEFT's format; the same bytes for the same config."""
        return json_bytes(
            {
                # PEFT would look for a name on the Hub, where it may be a different model.
                "base_model_name_or_path": None,
                "fan_in_fan_out": self.fan_in_fan_out,
                "inference_mode": True,
                "peft_type": self.own.peft_type,
                "peft_version": PEFT_VERSION,
                "target_modules": (
                    self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
                ),
                "task_type": self.task_type,
                **({"modules_to_save": list(self.modules_to_save)} if self.modules_to_save else {}),
                **self.own.written(),
                **self.method.marks,
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
        keys = self.own.patterns
        is_all = self.target_modules == "all-linear"
        expression = () if is_all or isinstance(self.target_modules, tuple) else (self.target_modules,)
        matches: Iterable[tuple[int, ...]] = [(-1,) * (len(keys) + 1)] * len(ordered)
        if expression or any(keys):
            # PEFT matches the keys with the end of a path.
            ends = (tuple(rf"(.*\.)?({key})" for key in group) for group in keys)
            groups = first_matches((*ends, expression), ordered, SELECTION, AdapterError)
            matches = zip(*groups, strict=True)
        found = {}
        for path, (*own, target) in zip(ordered, matches, strict=True):
            # PEFT's check_target_module_exists
            is_named = target == 0 if expression else is_all or not names.isdisjoint(endings(path))
            found[path] = LayerConfig(
                is_target=is_named and not any(f".{name}." in f".{path}." for name in self.modules_to_save),
                settings=self.own.at(own),
            )
        return found

    def saves(self, path: str) -> bool:
        """Whether the module at ``path`` is trained whole: the rule of PEFT's ``_set_trainable``."""
        return path.endswith(self.modules_to_save)


def _method(values: Mapping[str, Any]) -> type[AdapterSpec]:
    """The method of a config: of its type, and of all whose marks it has the one with most of them.

    Raises:
        AdapterError: there is none.
    """
    known = written_as(values.get("peft_type"))
    fitting = [method for method in known if all(values.get(name) == mark for name, mark in method.marks.items())]
    if not fitting:
        types = peft_types()
        supported = f"only {' and '.join(types)} {'is' if len(types) == 1 else 'are'} supported"
        raise AdapterError(f"The adapter has the type {values.get('peft_type')!r:.80}; {supported}.")
    return max(fitting, key=lambda method: len(method.marks))


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
