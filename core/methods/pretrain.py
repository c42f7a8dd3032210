"""Pretraining: trains the base of fine-tuning, from random weights or from those of a network that was imported."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.methods.full import FullSpec
from core.methods.method import MethodSpec, Role


class PretrainSpec(MethodSpec):
    """Trains all weights; the result is a base."""

    kind: Literal["pretrain"] = "pretrain"
    title = "Pretraining"
    short = "Pretrain"
    line = "all weights, from random ones or from those that somebody imported"
    role = Role.BASE

    new_rows: bool = Field(
        False,
        exclude_if=lambda rows: not rows,  # as in versions without it
        title="New rows for other classes",
        description="The rows of the head for classes that the base never sees start anew where it is fine-tuned: "
        "pretraining only pushes their logits down.",
    )

    @property
    def facts(self) -> str:
        return "new rows of the head for other classes" if self.new_rows else ""

    def shape(self) -> MethodSpec:
        return FullSpec()
