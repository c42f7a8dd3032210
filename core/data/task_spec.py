"""What a task is: a dataset seen in one way."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from core.spec import Spec

MAX_CLASSES = 1000
"""Maximum number of classes of a dataset."""


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
        None,
        ge=1,
        le=10_000,
        title="Shots per class",
        description="Training examples per class; empty keeps all. On rotated digits LoRA of rank 4 was 7.5 points "
        "behind full fine-tuning with 10 per class, and 2.8 with 300; on texts, with MiniLM, rank 8 was 6.2 behind "
        "with 10 (12 updates) and 0.6 with 100 (114), seen with five seeds, which can show nothing (docs/studies).",
    )
    length: int = Field(
        128, ge=8, le=8192, title="Longest input", description="Tokens per text; what goes beyond is cut off."
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
