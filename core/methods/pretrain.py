"""Pretraining: trains the base of fine-tuning, from random weights or from those of a network that was imported."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

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
        title="New rows for other classes",
        description="The rows of the head for classes that the base never sees start anew where it is fine-tuned: "
        "pretraining only pushes their logits down, which every method would first have to undo.",
    )

    @model_serializer(mode="wrap")
    def _without_default_rows(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the field where it is not used, so that specs and copies are those of versions without it."""
        values: dict[str, Any] = handler(self)
        if not self.new_rows:
            values.pop("new_rows", None)
        return values

    @property
    def renews_rows(self) -> bool:
        return self.new_rows

    @property
    def facts(self) -> str:
        return "new rows of the head for other classes" if self.new_rows else ""

    def shape(self) -> MethodSpec:
        return FullSpec()
