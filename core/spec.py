"""Specs: the complete definition of a run.

Title, description and bounds of each field are defined here once; forms, the command line and errors use them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal, Self, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from core.errors import SpecError

SCHEMA = 1
"""Version of the JSON format of specs."""

MAX_CLASSES = 1000
"""Maximum number of classes of a dataset."""

MAX_CHARACTERS = 65_536
"""Maximum length of a spec in JSON, three times that of the longest spec that the bounds below allow."""

Method = Literal["pretrain", "full", "lora"]
Scaling = Literal["alpha/r", "alpha", "alpha/sqrt(r)"]
Start = Literal["kaiming", "gaussian"]
Device = Literal["auto", "cuda", "mps", "cpu"]
Control = Literal["head", "biases", "scratch"]

SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
STARTS: tuple[Start, ...] = get_args(Start)
DEVICES: tuple[Device, ...] = get_args(Device)


class Role(StrEnum):
    """What a method is for in a comparison."""

    BASE = "base"
    """Trains the network that the others start from."""
    REFERENCE = "reference"
    """Full fine-tuning, with which the others are compared."""
    ADAPTER = "adapter"
    """Trains small weights beside frozen ones, as LoRA does."""
    CONTROL = "control"
    """Shows what a part of the network, or no base at all, would reach."""


METHODS: dict[Method, str] = {"pretrain": "Pretraining", "full": "Full fine-tuning", "lora": "LoRA"}
"""Methods as people read them."""

CONTROLS: dict[Control, str] = {"head": "Head only", "biases": "Biases only", "scratch": "From scratch"}
"""Control runs and their labels. ``head`` trains only the last layer, ``biases`` only the biases (BitFit,
arXiv 2106.10199), and ``scratch`` all weights, starting from random ones instead of the base's."""

LEARNING_RATES: dict[Method, float] = {"pretrain": 0.001, "full": 0.001, "lora": 0.005}
"""Default learning rate per method. LoRA's best rate is usually several times that of full fine-tuning."""

CONTROL_RATES: dict[Control, float] = {"head": 0.005, "biases": 0.01, "scratch": 0.001}
"""Default learning rate per control."""


class Spec(BaseModel):
    """Base class of all specs: frozen, without unknown fields, NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def of(cls, /, **values: Any) -> Self:
        """Create a spec.

        Raises:
            SpecError: a value is invalid; the message is one sentence.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise SpecError(_sentence(cls, error)) from error

    def but(self, /, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated like a new spec.

        Raises:
            SpecError: a value is invalid.
        """
        return type(self).of(**{name: getattr(self, name) for name in type(self).model_fields} | changes)

    def to_json(self) -> str:
        """Serialize to JSON with sorted keys and the schema version."""
        return json.dumps({"schema": SCHEMA, **self.model_dump(mode="json")}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of :meth:`to_json`.

        Raises:
            SpecError: too long, not JSON, of another schema version, or invalid.
        """
        if len(text) > MAX_CHARACTERS:
            raise SpecError(f"This spec has {len(text):,} characters; a spec has at most {MAX_CHARACTERS:,}.")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError("This is not a spec: it is not valid JSON.") from error
        if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
            raise SpecError(f"This spec was not written with schema version {SCHEMA}.")
        return cls.of(**values)


class ModelSpec(Spec):
    """Sizes of the multilayer perceptron."""

    num_features: int = Field(784, ge=1, le=4096, title="Input features", description="Number of pixels per image.")
    num_hidden_1: int = Field(
        128, ge=1, le=4096, title="First hidden layer", description="Width of the first hidden layer."
    )
    num_hidden_2: int = Field(
        256, ge=1, le=4096, title="Second hidden layer", description="Width of the second hidden layer."
    )
    num_classes: int = Field(10, ge=2, le=MAX_CLASSES, title="Classes", description="Number of outputs.")


class TaskSpec(Spec):
    """A dataset seen in one way."""

    dataset: str = Field(
        "digits", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", title="Dataset", description="Name of the dataset."
    )
    classes: tuple[Annotated[int, Field(ge=0, le=MAX_CLASSES - 1)], ...] | None = Field(
        None,
        max_length=MAX_CLASSES,
        title="Classes kept",
        description="Labels to keep; empty keeps all. Labels keep their numbers.",
    )
    rotation: float = Field(
        0.0, ge=-180, le=180, title="Rotation", description="Counter-clockwise rotation of every image, in degrees."
    )
    invert: bool = Field(False, title="Invert", description="Swap black and white.")
    permutation: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        title="Pixel permutation",
        description="Seed of a shuffle of the pixels that is the same for every image; empty for no shuffle.",
    )
    shots: int | None = Field(
        None, ge=1, le=10_000, title="Shots per class", description="Training images per class; empty keeps all."
    )
    validation: float = Field(
        0.1,
        ge=0.02,
        le=0.5,
        title="Validation part",
        description="Fraction of the training part to hold out, for monitoring and model selection.",
    )

    @model_validator(mode="after")
    def _classes_are_a_set(self) -> Self:
        if self.classes is not None and (len(set(self.classes)) != len(self.classes) or len(self.classes) < 2):
            raise ValueError("Classes kept must be at least two different labels.")
        return self


class LoRASpec(Spec):
    """Settings of the LoRA adapters."""

    rank: int = Field(4, ge=1, le=512, title="Rank", description="Inner dimension r of the two matrices A and B.")
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
    target_modules: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        ("all-linear",),
        min_length=1,
        max_length=64,
        title="Layers",
        description="Layers to adapt: full names, last components of names, attention, feed-forward, or all-linear.",
    )


class OptimSpec(Spec):
    """Settings of training with Adam on mini-batches."""

    learning_rate: float = Field(0.001, gt=0, le=1.0, title="Learning rate", description="Learning rate of Adam.")
    batch_size: int = Field(64, ge=1, le=8192, title="Batch size", description="Images per step.")
    epochs: int = Field(10, ge=1, le=200, title="Epochs", description="Passes over the training part.")
    patience: int = Field(
        0,
        ge=0,
        le=200,
        title="Patience",
        description="Stop after this many epochs without a lower validation loss; 0 disables early stopping.",
    )
    keep: Literal["last", "best"] = Field(
        "last", title="Keep", description="Weights to keep: those of the last epoch, or of the best by validation loss."
    )


class RunSpec(Spec):
    """Everything that defines a run: the same spec with the same code gives the same result."""

    method: Method = Field(title="Method", description="pretrain, full or lora.")
    model: ModelSpec = Field(default=ModelSpec(), title="Network")
    task: TaskSpec = Field(default=TaskSpec(), title="Task")
    source: TaskSpec | None = Field(None, title="Source task", description="The task that the base was trained on.")
    base: str | None = Field(
        None, min_length=1, max_length=64, title="Base", description="The pretrain run whose network is fine-tuned."
    )
    lora: LoRASpec | None = Field(None, title="LoRA")
    optim: OptimSpec = Field(default=OptimSpec(), title="Training")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed", description="Seed of initial weights and data order.")
    device: Device = Field("auto", title="Device", description="Device to train on; auto picks the fastest one.")
    control: Control | None = Field(
        None,
        title="Control",
        description="Train only the last layer (head), only the biases, or everything from random weights (scratch).",
    )
    own_base: bool = Field(
        False,
        title="A base for each seed",
        description="Start each seed from a base that was pretrained with that seed, so that both vary together.",
    )

    @model_serializer(mode="wrap")
    def _omit_defaults_of_new_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # So that older specs, which lack these fields, keep their JSON and their arms.
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if value or name not in ("control", "own_base")}

    @model_validator(mode="after")
    def _parts_fit_the_method(self) -> Self:
        if self.method == "pretrain" and (self.base or self.source or self.lora):
            raise ValueError("A pretrain run starts from random weights: it has no base, source or LoRA settings.")
        if self.method != "pretrain" and not (self.base and self.source):
            raise ValueError("Fine-tuning needs a base: choose a finished pretrain run.")
        if (self.method == "lora") != (self.lora is not None):
            raise ValueError("LoRA settings are required for the method lora, and allowed only there.")
        if self.control and self.method != "full":
            raise ValueError("A control is a kind of full fine-tuning: choose the method full.")
        if self.own_base and self.method == "pretrain":
            raise ValueError("A pretrain run does not start from a base, so it cannot have one for each seed.")
        return self

    @property
    def arm(self) -> str:
        """Key of the arm: equal for runs that differ only in the seed (and in the base, if each seed has its own)."""
        return _arm(self)

    @property
    def start(self) -> str | None:
        """Key of the base: equal for arms that start from the same base for every seed; see ``own_base``."""
        return "a base for each seed" if self.own_base else self.base

    @property
    def kind(self) -> str:
        """Name of the method or control."""
        return self.control or self.method

    @property
    def role(self) -> Role:
        """What the method is for in a comparison."""
        if self.control:
            return Role.CONTROL
        return {"pretrain": Role.BASE, "full": Role.REFERENCE, "lora": Role.ADAPTER}[self.method]

    @property
    def label(self) -> str:
        """Short name of the arm, as in ``LoRA r=4``."""
        if self.lora is not None:
            return f"LoRA r={self.lora.rank}"
        if self.control is not None:
            return CONTROLS[self.control]
        return {"pretrain": "Pretrain", "full": "Full"}[self.method]


@lru_cache(maxsize=4096)
def _arm(spec: RunSpec) -> str:
    """The key of an arm; cached, because pages group hundreds of runs by it on every rerun."""
    values = spec.model_dump(mode="json", exclude={"seed", "base"} if spec.own_base else {"seed"})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Bounds:
    """Metadata of a field, for forms and the command line."""

    title: str
    description: str
    default: Any
    low: float | None
    high: float | None


def bounds(spec: type[Spec], field: str) -> Bounds:
    """Title, description, default and limits of a field.

    Exclusive limits are returned as they are; a form must exclude them itself.
    """
    info = spec.model_fields[field]
    low = high = None
    for rule in info.metadata:
        low = rule.ge if isinstance(rule, Ge) else rule.gt if isinstance(rule, Gt) else low
        high = rule.le if isinstance(rule, Le) else rule.lt if isinstance(rule, Lt) else high
    return Bounds(info.title or field, info.description or "", info.default, low, high)  # type: ignore[arg-type]


def _sentence(spec: type[Spec], error: ValidationError) -> str:
    """The first problem of a validation error, as one readable sentence."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    names = [str(part) for part in first["loc"]]
    title = _name(names[-1]) if names else spec.__name__
    owner: Any = spec
    for name in names:
        info = getattr(owner, "model_fields", {}).get(name)
        if info is not None:
            title, owner = info.title or name, _spec_in(info.annotation)
    given = first.get("input")
    context = first.get("ctx", {})
    match first["type"]:
        case "greater_than_equal":
            rule = f"must be at least {context['ge']:g}"
        case "greater_than":
            rule = f"must be more than {context['gt']:g}"
        case "less_than_equal":
            rule = f"must be at most {context['le']:g}"
        case "finite_number":
            rule = "must be a finite number"
        case "missing":
            return f"{title} is missing."
        case "extra_forbidden":
            return f"{_name(names[-1])} is not a setting of {owner.__name__}."
        case "literal_error":
            rule = f"must be {context['expected']}"
        case "too_long":
            return f"{title} takes at most {context['max_length']}: remove some."
        case "too_short":
            return f"{title} takes at least {context['min_length']}: add some."
        case "string_too_long":
            rule = f"must have at most {context['max_length']} characters"
        case "string_too_short":
            return f"{title} must not be empty."
        case "string_pattern_mismatch":
            rule = "must be a name of lower-case letters, digits and hyphens"
        case _:
            message = first["msg"]
            rule = f"is invalid: {message[0].lower()}{message[1:]}"
    return f"{title} {rule}, not {_short(given)}."


def _spec_in(annotation: Any) -> Any:
    """The spec class in a field's type, such as ``TaskSpec | None``; the type itself if there is none."""
    options = (annotation, *get_args(annotation))
    return next((o for o in options if isinstance(o, type) and issubclass(o, Spec)), annotation)


def _short(value: object) -> str:
    """The repr of a value, shortened for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _name(name: str) -> str:
    """A setting's name for a message; quoted and shortened if it is not an identifier."""
    return name if name.isidentifier() and len(name) <= 60 else _short(name)
