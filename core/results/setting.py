"""Settings: what was trained, in all but the seed, and what tells one setting from others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from core.data.task_spec import TaskSpec
from core.methods.method import Role
from core.methods.registry import method_order
from core.numbers import exact_text
from core.results.scale import Objective
from core.run_spec import RunSpec

TuningGroup = tuple[str | None, TaskSpec | None, str, Any, int]
"""Base, task, method, its size such as the rank, and the number of epochs: settings of one group differ only in how
they were tuned. How long a setting trains is its budget, and no way of tuning it."""


@dataclass(frozen=True)
class Setting:
    """What rows share that differ in nothing but the seed. What nobody reported is None, 0 or empty."""

    key: str
    """Equal for rows of one setting; see :attr:`core.run_spec.RunSpec.arm`."""
    objective: Objective
    method: str = field(compare=False)
    """Kind of a method of this lab, such as ``lora``, or any other name."""
    label: str = field(compare=False)
    """Short name, as in ``LoRA r=4``."""
    title: str = field(compare=False)
    """The method as people read it, as in ``LoRA``."""
    role: Role = field(compare=False)
    """What its method is for in a comparison."""
    learning_rate: float = field(compare=False)
    epochs: int = field(compare=False)
    size: Any = field(default=None, compare=False)
    """How much its method trains, such as the rank; None for a method without a size."""
    rank: int | None = field(default=None, compare=False)
    """Inner dimension of its low-rank matrices; None without such matrices."""
    alpha: float | None = field(default=None, compare=False)
    """What scales the outputs of its adapters; None for a method without it."""
    alpha_text: str = field(default="", compare=False)
    """The same in words, as in ``alpha 8``."""
    patience: int = field(default=0, compare=False)
    decay: str = field(default="constant", compare=False)
    warmup: float = field(default=0.0, compare=False)
    learns: str = field(default="", compare=False)
    """What one test example is called, or the kind of data, as :mod:`core.wording.tasks` knows it."""
    start: str | None = field(default=None, compare=False)
    """Key of the base; see :attr:`core.run_spec.RunSpec.start`."""
    task: TaskSpec | None = field(default=None, compare=False)
    source: TaskSpec | None = field(default=None, compare=False)
    """The task on which forgetting is measured."""
    texts: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Every reported setting under a short name; empty for those of this lab."""
    spec: RunSpec | None = field(default=None, compare=False)
    """What was trained here, with any seed; None where others did."""

    @property
    def comparison(self) -> tuple[str | None, TaskSpec | None]:
        """Base and task, which settings must share to be compared."""
        return self.start, self.task

    @property
    def group(self) -> TuningGroup:
        """See :data:`TuningGroup`."""
        return self.start, self.task, self.method, self.size, self.epochs

    @property
    def names(self) -> frozenset[str]:
        """Short names of the settings that are those of its method, but for the layers."""
        fields = {"rank", "alpha"} if self.spec is None else type(self.spec.method).model_fields.keys() - {"kind"}
        return frozenset(map(short_name, fields)) - {LAYERS}

    @property
    def all_texts(self) -> Mapping[str, str]:
        """All but the seed under short names, those that are varied most often first."""
        return self.texts if self.spec is None else _texts(self.spec)

    def differs_in_rate(self, other: Setting) -> bool:
        """Whether another setting is the same at any learning rate, this one's included."""
        if self.spec is None or other.spec is None:
            rest = [{name: text for name, text in each.texts.items() if name != RATE} for each in (self, other)]
            return self.group == other.group and rest[0] == rest[1]
        return other.spec.but(optim=other.spec.optim.but(learning_rate=self.learning_rate)).arm == self.key


@lru_cache(maxsize=4096)
def setting_of(spec: RunSpec) -> Setting:
    """The setting of a run of this lab."""
    method, optim = spec.method, spec.optim
    return Setting(
        key=spec.arm,
        objective=spec.objective,
        method=spec.kind,
        label=spec.label,
        title=method.title,
        role=spec.role,
        learning_rate=optim.learning_rate,
        epochs=optim.epochs,
        size=method.size,
        rank=method.inner_rank,
        alpha=method.strength,
        alpha_text=method.setting_text(method.strength_field) if method.strength_field else "",
        patience=optim.patience,
        decay=optim.decay,
        warmup=optim.warmup,
        learns=spec.network.learns,
        start=spec.start,
        task=spec.task,
        source=spec.source,
        spec=spec,
    )


def tuning_groups(settings: Iterable[Setting]) -> list[list[Setting]]:
    """Settings by tuning group, each once, in :func:`order`."""
    groups: dict[TuningGroup, dict[str, Setting]] = {}
    for setting in sorted(settings, key=order):
        groups.setdefault(setting.group, {})[setting.key] = setting
    return [list(own.values()) for own in groups.values()]


ORDER = (Role.REFERENCE, Role.ADAPTER, Role.CONTROL, Role.BASE)
"""Order of settings by the role of their methods."""


def order(setting: Setting) -> tuple[Any, ...]:
    """Sort key: full first, adapters by method, size, epochs, alpha and rate, controls, pretraining last."""
    place = ORDER.index(setting.role), method_order(setting.method)
    size, alpha = setting.size or 0, setting.alpha or 0.0
    return (*place, size, setting.epochs, alpha, setting.learning_rate, setting.key)


def labels_of(settings: Iterable[Setting]) -> dict[str, str]:
    """A name for each setting, by its key; those that would share a name also get what they differ in."""
    everything = {setting.key: setting for setting in settings}
    differing = differing_of(everything.values())
    return {key: full_label(setting, differing[key]) for key, setting in everything.items()}


LAYERS = "layers"
"""Name of the target modules in labels."""

RATE = "lr"
"""Name of the learning rate in labels."""


def differing_of(settings: Iterable[Setting]) -> dict[str, dict[str, str]]:
    """In what each setting differs from others with its short name: texts by name, by the setting's key."""
    by_label: dict[str, dict[str, Setting]] = {}
    for setting in settings:
        by_label.setdefault(setting.label, {})[setting.key] = setting
    found: dict[str, dict[str, str]] = {}
    for sharing in by_label.values():
        if len(sharing) == 1:
            found |= {key: {} for key in sharing}
            continue
        texts = {key: setting.all_texts for key, setting in sharing.items()}
        known = dict.fromkeys(name for own in texts.values() for name in own)
        names = [name for name in known if len({own.get(name) for own in texts.values()}) > 1]
        found |= {key: {name: own.get(name, "none") for name in names} for key, own in texts.items()}
    return found


def full_label(setting: Setting, differing: Mapping[str, str]) -> str:
    """A setting's label with what tells it from others, of :func:`differing_of`."""
    return f"{setting.label}, {joined_settings(differing)}" if differing else setting.label


def joined_settings(texts: Mapping[str, str]) -> str:
    """Settings of :func:`differing_of` in one line, as in ``lr 0.01, epochs 30``."""
    return ", ".join(f"{name} {text}" for name, text in texts.items())


@lru_cache(maxsize=4096)
def _texts(spec: RunSpec) -> dict[str, str]:
    left_out: dict[str, Any] = {"seed": True, "objective": True, "method": {"kind"}} | (
        {"base": True} if spec.own_base else {}
    )
    parts = spec.model_dump(mode="json", exclude=left_out)
    found = {}
    # What only programs can read, such as the config of a network: other fields tell it apart.
    hidden = {name for name, about in type(spec.network).model_fields.items() if not about.repr}
    for part, prefix in (("method", ""), ("optim", ""), ("task", ""), ("source", "source "), ("network", "")):
        for name, value in (parts.pop(part) or {}).items():
            if part == "network" and name in hidden:
                continue
            found[prefix + short_name(name)] = setting_text(name, value)
    return found | {name: setting_text(name, value) for name, value in parts.items()}


def short_name(field: str) -> str:
    """What labels call a field."""
    return {"learning_rate": RATE, "target_modules": LAYERS}.get(field, field.replace("_", " "))


def setting_text(field: str, value: Any) -> str:
    """The value of a field as labels have it."""
    if value is None:
        return "all" if field in ("classes", "shots") else "none"
    if isinstance(value, float):
        return exact_text(value)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
